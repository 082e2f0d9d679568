package sam

import (
	"gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/vit/tinyvit"
	"github.com/slidesam/sam/weights"
)

// imageEncoder is an image encoder of any kind: a graph from the input
// [vit.Picture] to an embedding, [Grid*Grid, Out].
type imageEncoder interface {
	Build(b *graph.Builder) *gorgonia.Node
	Weights() *layer.Set
}

// encoderParams are the weights of an image encoder: one of the two.
type encoderParams struct {
	vit  *vit.Params
	tiny *tinyvit.Params
}

func newEncoderParams(c Config) encoderParams {
	if c.TinyViT != nil {
		return encoderParams{tiny: tinyvit.NewParams(*c.TinyViT)}
	}
	return encoderParams{vit: vit.NewParams(c.Encoder)}
}

// build returns the encoder of bound weights.
func (p encoderParams) build(c Config) (imageEncoder, error) {
	if p.tiny != nil {
		return tinyvit.New(*c.TinyViT, p.tiny)
	}
	return vit.New(c.Encoder, p.vit)
}

// specs are the weights of the image encoder.
func (p encoderParams) specs(c Config) []weights.Spec {
	if p.tiny != nil {
		return tinyvit.Specs(*c.TinyViT, "image_encoder.")
	}
	return weights.Specs(&struct {
		E *vit.Params `weight:"image_encoder"`
	}{p.vit})
}

// bindEncoder binds the weights of an image encoder alone.
func (p encoderParams) bindEncoder(ck *weights.Checkpoint) error {
	if p.tiny != nil {
		return weights.Bind(ck, &struct {
			E *tinyvit.Params `weight:"image_encoder"`
		}{p.tiny})
	}
	return weights.Bind(ck, &struct {
		E *vit.Params `weight:"image_encoder"`
	}{p.vit})
}
