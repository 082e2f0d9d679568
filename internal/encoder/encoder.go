// Package encoder holds the kinds of image encoders behind one interface: a
// ViT, or MobileSAM's TinyViT.
//
//	shape, err := encoder.ShapeOf(checkpoint)
//	p := encoder.NewParams(shape)
//	err = weights.Bind(checkpoint, &struct {
//		Encoder any `weight:"image_encoder"`
//	}{p})
//	enc, err := encoder.New(shape, p)
package encoder

import (
	"fmt"
	"reflect"

	"gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/vit/tinyvit"
	"github.com/slidesam/sam/weights"
)

// Encoder is an image encoder of any kind, as a model asks for it.
type Encoder interface {
	Name() string
	ImageSize() int
	Grid() int
	Channels() int
	Colours() (mean, std [3]float32)
	Input() string
	Build(b *graph.Builder) *gorgonia.Node
	Weights() *layer.Set
}

// Shape is that of an encoder: of a ViT, or of a TinyViT and its [Outline].
type Shape struct {
	ViT  vit.Config
	Tiny *tinyvit.Config
}

// Outline is what the other networks know of a TinyViT.
func Outline(t tinyvit.Config) vit.Config {
	return vit.Config{ImageSize: t.ImageSize, Patch: t.ImageSize / t.Grid(), Out: t.Out}
}

// Validate returns an error if no encoder can have this shape.
func (s Shape) Validate() error {
	if s.Tiny == nil {
		return s.ViT.Validate()
	}
	if err := s.Tiny.Validate(); err != nil {
		return err
	}
	if want := Outline(*s.Tiny); !reflect.DeepEqual(s.ViT, want) {
		return fmt.Errorf("encoder %+v, want %+v for this TinyViT", s.ViT, want)
	}
	return nil
}

// ShapeOf reads the shape from a checkpoint's tensors, whichever kind they are.
func ShapeOf(ck *weights.Checkpoint) (Shape, error) {
	if !tinyvit.Is(ck) {
		c, err := vit.ConfigOf(ck)
		return Shape{ViT: c}, err
	}
	t, err := tinyvit.ConfigOf(ck)
	if err != nil {
		return Shape{}, err
	}
	return Shape{Outline(t), &t}, nil
}

// NewParams returns the weights that an encoder of this shape needs, not yet
// bound to tensors: a field that [weights.Bind] fills.
func NewParams(s Shape) any {
	if s.Tiny != nil {
		return tinyvit.NewParams(*s.Tiny)
	}
	return vit.NewParams(s.ViT)
}

// New returns the encoder of weights that NewParams returned and that are
// bound.
func New(s Shape, params any) (Encoder, error) {
	if s.Tiny != nil {
		return tinyvit.New(*s.Tiny, params.(*tinyvit.Params))
	}
	return vit.New(s.ViT, params.(*vit.Params))
}
