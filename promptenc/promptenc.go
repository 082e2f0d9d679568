// Package promptenc is Segment Anything's prompt encoder as gorgonia nodes:
// points and boxes become sparse tokens, a mask becomes a dense map.
//
//	enc, err := promptenc.New(cfg, params)
//	b := graph.NewBuilder()
//	sparse := enc.Sparse(b, batch, tokens) // fills from input "points"
//	dense := enc.Dense(b, batch)           // fills from input "mask"
//
// Source: prompt_encoder.py (segment-anything dca509f).
package promptenc

import (
	"errors"
	"fmt"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/weights"
)

// ErrConfig is returned for a configuration that no prompt encoder can have.
var ErrConfig = errors.New("promptenc: bad configuration")

// Names of the inputs that the encoder's nodes read.
const (
	// Points is [batch*tokens, 3]: rows (x, y, kind) in pixels of the square
	// input picture.
	Points = "points"
	// Mask is [batch*MaskSize*MaskSize, 1]: low-resolution logits.
	Mask = "mask"
)

// Kinds of a sparse token, the third column of the input Points.
const (
	Padding     float32 = -1 // stands for no point, its position is ignored
	Background  float32 = 0
	Foreground  float32 = 1
	TopLeft     float32 = 2
	BottomRight float32 = 3
)

// eps is the epsilon of the mask convolutions' norms.
// Source: common.py, LayerNorm2d.
const eps = 1e-6

// Config is the shape of a prompt encoder.
type Config struct {
	ImageSize    int // pixels of a side of the square input picture
	Grid         int // cells of a side of the embedding
	Channels     int // channels of a token and of the embedding
	MaskChannels int // channels of a mask before the last convolution
}

// MaskSize is the side of the masks that the encoder reads: four times the
// grid's.
func (c Config) MaskSize() int { return 4 * c.Grid }

// Validate returns an error that wraps [ErrConfig] if no prompt encoder can
// have this shape.
func (c Config) Validate() error {
	switch {
	case c.ImageSize < 1 || c.Grid < 1 || c.Grid > c.ImageSize:
		return fmt.Errorf("%w: Grid %d for ImageSize %d", ErrConfig, c.Grid, c.ImageSize)
	case c.Channels < 2 || c.Channels%2 != 0 || c.Channels > 1<<14:
		return fmt.Errorf("%w: Channels is %d, want an even number from 2 to %d", ErrConfig, c.Channels, 1<<14)
	case c.MaskChannels < 4 || c.MaskChannels%4 != 0 || c.MaskChannels > 1<<14:
		return fmt.Errorf("%w: MaskChannels is %d, want a multiple of 4 up to %d", ErrConfig, c.MaskChannels, 1<<14)
	}
	return nil
}

// ConfigOf reads the shape from the tensors of a checkpoint whose image
// encoder has the given picture size and grid.
func ConfigOf(ck *weights.Checkpoint, imageSize, grid int) (Config, error) {
	const name = "prompt_encoder.mask_downscaling.6.weight"
	s, ok := ck.Shape(name)
	if !ok || len(s) != 4 {
		return Config{}, fmt.Errorf("promptenc: read configuration: %s: shape %v, want rank 4", name, s)
	}
	c := Config{ImageSize: imageSize, Grid: grid, Channels: s[0], MaskChannels: s[1]}
	return c, c.Validate()
}

// Params are the prompt encoder's weights by their checkpoint names.
type Params struct {
	Gaussian  weights.Param `weight:"pe_layer.positional_encoding_gaussian_matrix"` // [2, Channels/2]
	Points    []PointParams `weight:"point_embeddings"`
	NotAPoint weights.Param `weight:"not_a_point_embed.weight"` // [1, Channels]
	NoMask    weights.Param `weight:"no_mask_embed.weight"`     // [1, Channels]
	Conv1W    weights.Param `weight:"mask_downscaling.0.weight"`
	Conv1B    weights.Param `weight:"mask_downscaling.0.bias"`
	Norm1W    weights.Param `weight:"mask_downscaling.1.weight"`
	Norm1B    weights.Param `weight:"mask_downscaling.1.bias"`
	Conv2W    weights.Param `weight:"mask_downscaling.3.weight"`
	Conv2B    weights.Param `weight:"mask_downscaling.3.bias"`
	Norm2W    weights.Param `weight:"mask_downscaling.4.weight"`
	Norm2B    weights.Param `weight:"mask_downscaling.4.bias"`
	Conv3W    weights.Param `weight:"mask_downscaling.6.weight"`
	Conv3B    weights.Param `weight:"mask_downscaling.6.bias"`
}

// PointParams is the embedding of one kind of point.
type PointParams struct {
	W weights.Param `weight:"weight"` // [1, Channels]
}

func param(shape ...int) weights.Param { return weights.Param{Shape: shape} }

// NewParams returns the weights that an encoder of this shape needs, not yet
// bound to tensors.
func NewParams(c Config) *Params {
	m := c.MaskChannels
	p := &Params{
		Gaussian: param(2, c.Channels/2), NotAPoint: param(1, c.Channels), NoMask: param(1, c.Channels),
		Conv1W: param(m/4, 1, 2, 2), Conv1B: param(m / 4), Norm1W: param(m / 4), Norm1B: param(m / 4),
		Conv2W: param(m, m/4, 2, 2), Conv2B: param(m), Norm2W: param(m), Norm2B: param(m),
		Conv3W: param(c.Channels, m, 1, 1), Conv3B: param(c.Channels),
	}
	for i := 0; i < 4; i++ {
		p.Points = append(p.Points, PointParams{param(1, c.Channels)})
	}
	return p
}

// Encoder is the prompt encoder: its shape and its weights. It is immutable
// and safe for any number of goroutines.
type Encoder struct {
	cfg                 Config
	weights             layer.Set
	gaussian            *graph.Weight
	table               []*graph.Weight // padding, then the four kinds
	noMask              *graph.Weight
	conv1, conv2, conv3 layer.Linear
	norm1, norm2        layer.Norm
}

// New returns an encoder of the bound weights, which are read when a backend
// prepares its graphs.
func New(c Config, p *Params) (*Encoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	e := &Encoder{cfg: c}
	s := &e.weights
	e.gaussian = s.Weight(&p.Gaussian)
	e.table = append(e.table, s.Weight(&p.NotAPoint))
	for i := range p.Points {
		e.table = append(e.table, s.Weight(&p.Points[i].W))
	}
	e.noMask = s.Weight(&p.NoMask)
	e.conv1, e.norm1 = s.Linear(&p.Conv1W, &p.Conv1B), s.Norm(&p.Norm1W, &p.Norm1B, eps)
	e.conv2, e.norm2 = s.Linear(&p.Conv2W, &p.Conv2B), s.Norm(&p.Norm2W, &p.Norm2B, eps)
	e.conv3 = s.Linear(&p.Conv3W, &p.Conv3B)
	return e, nil
}

// Config is the encoder's shape.
func (e *Encoder) Config() Config { return e.cfg }

// Weights are the encoder's weights.
func (e *Encoder) Weights() *layer.Set { return &e.weights }

// Positions adds the encoding of the embedding's cells, [Grid*Grid, Channels],
// to b.
func (e *Encoder) Positions(b *graph.Builder) *G.Node {
	return b.Apply(op.DensePositions{H: e.cfg.Grid, W: e.cfg.Grid}, b.Weight(e.gaussian))
}

// NoMask adds the dense embedding of a prompt without a mask, [1, Channels],
// the same for each cell, to b.
func (e *Encoder) NoMask(b *graph.Builder) *G.Node { return b.Weight(e.noMask) }

// Sparse adds the encoding of batch prompts of n points each to b. Its input
// is [Points]; it returns [batch*n, Channels], the stage "sparse".
func (e *Encoder) Sparse(b *graph.Builder, batch, n int) *G.Node {
	var table []*G.Node
	for _, w := range e.table {
		table = append(table, b.Weight(w))
	}
	pts := b.Input(Points, batch*n, 3)
	return b.Stage("sparse", b.Apply(op.Points{Size: e.cfg.ImageSize}, pts, b.Weight(e.gaussian), b.Apply(op.Rows{}, table...)))
}

// Dense adds the encoding of batch masks to b. Its input is [Mask]; it
// returns [batch*Grid*Grid, Channels], the stage "dense".
func (e *Encoder) Dense(b *graph.Builder, batch int) *G.Node {
	s := e.cfg.MaskSize()
	x := b.Input(Mask, batch*s*s, 1)
	x = e.conv1.Conv(b, op.Conv{Batch: batch, H: s, W: s, Stride: 2}, x)
	x = b.Apply(op.GELU{}, e.norm1.Apply(b, x))
	x = e.conv2.Conv(b, op.Conv{Batch: batch, H: s / 2, W: s / 2, Stride: 2}, x)
	x = b.Apply(op.GELU{}, e.norm2.Apply(b, x))
	return b.Stage("dense", e.conv3.Apply(b, x))
}
