package vit

import (
	"slices"
	"strconv"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
)

// Picture names the encoder's input, [ImageSize*ImageSize, 3]: normalised
// colours, padded with 0 at the right and the bottom.
const Picture = "picture"

// eps is the epsilon of every norm of the encoder, the neck's included.
// Source: build_sam.py, norm_layer; common.py, LayerNorm2d.
const eps = 1e-6

// Encoder is the image encoder: its shape and its weights. It is immutable
// and safe for any number of goroutines.
type Encoder struct {
	cfg          Config
	weights      layer.Set
	patch        layer.Linear
	pos          *graph.Weight
	blocks       []block
	conv1, conv2 layer.Linear
	norm1, norm2 layer.Norm
}

type block struct {
	norm1, norm2          layer.Norm
	qkv, proj, lin1, lin2 layer.Linear
	relH, relW            *graph.Weight
	adapter               *adapter
}

// adapter is AdaptFormer's branch.
type adapter struct{ down, up layer.Linear }

// New returns an encoder of the bound weights, which are read when a backend
// prepares its graph.
func New(c Config, p *Params) (*Encoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Global, c.Adapted = slices.Clone(c.Global), slices.Clone(c.Adapted)
	e := &Encoder{cfg: c}
	s := &e.weights
	e.patch = s.Linear(&p.PatchProj, &p.PatchBias)
	e.pos = s.Weight(&p.PosEmbed)
	for i := range p.Blocks {
		b := &p.Blocks[i]
		e.blocks = append(e.blocks, block{
			norm1: s.Norm(&b.Norm1W, &b.Norm1B, eps),
			norm2: s.Norm(&b.Norm2W, &b.Norm2B, eps),
			qkv:   s.Linear(&b.QKVW, &b.QKVB),
			proj:  s.Linear(&b.ProjW, &b.ProjB),
			lin1:  s.Linear(&b.Lin1W, &b.Lin1B),
			lin2:  s.Linear(&b.Lin2W, &b.Lin2B),
			relH:  s.Weight(&b.RelPosH),
			relW:  s.Weight(&b.RelPosW),
		})
		if a := b.Adapter; a != nil {
			e.blocks[i].adapter = &adapter{s.Linear(&a.DownW, &a.DownB), s.Linear(&a.UpW, &a.UpB)}
		}
	}
	e.conv1 = s.Linear(&p.NeckConv1, nil)
	e.norm1 = s.Norm(&p.NeckNorm1W, &p.NeckNorm1B, eps)
	e.conv2 = s.Linear(&p.NeckConv2, nil)
	e.norm2 = s.Norm(&p.NeckNorm2W, &p.NeckNorm2B, eps)
	return e, nil
}

// Config returns the encoder's shape; it is the caller's to change.
func (e *Encoder) Config() Config {
	c := e.cfg
	c.Global, c.Adapted = slices.Clone(c.Global), slices.Clone(c.Adapted)
	return c
}

// Name is the architecture's.
func (e *Encoder) Name() string { return "vit" }

// ImageSize is the side of the square input picture in pixels.
func (e *Encoder) ImageSize() int { return e.cfg.ImageSize }

// Grid is the number of the embedding's cells along a side.
func (e *Encoder) Grid() int { return e.cfg.Grid() }

// Channels is the number of the embedding's channels.
func (e *Encoder) Channels() int { return e.cfg.Out }

// Colours are the mean and the standard deviation of red, green and blue, 0 to
// 255, that Segment Anything was trained with.
//
// Source: build_sam.py (segment-anything dca509f).
func (e *Encoder) Colours() (mean, std [3]float32) {
	return [3]float32{123.675, 116.28, 103.53}, [3]float32{58.395, 57.12, 57.375}
}

// Input is [Picture].
func (e *Encoder) Input() string { return Picture }

// Weights are the encoder's weights.
func (e *Encoder) Weights() *layer.Set { return &e.weights }

// Build adds the encoder to b and returns the embedding, [Grid*Grid, Out].
//
// Its stages are "patch_embed" (positions added), "block0", "block1", ...,
// and "neck".
func (e *Encoder) Build(b *graph.Builder) *G.Node { return e.BuildFrom(b, 0, e.BuildTo(b, 0)) }

// BuildTo adds what lies before block n, and returns what that block reads,
// [Grid*Grid, Width].
func (e *Encoder) BuildTo(b *graph.Builder, n int) *G.Node {
	c := e.cfg
	x := b.Input(Picture, c.ImageSize*c.ImageSize, 3)
	x = e.patch.Conv(b, op.Conv{Batch: 1, H: c.ImageSize, W: c.ImageSize, Stride: c.Patch}, x)
	x = b.Stage("patch_embed", b.Apply(op.Add{}, x, b.Weight(e.pos)))
	for i := range n {
		x = b.Stage("block"+strconv.Itoa(i), e.block(b, i, x))
	}
	return x
}

// BuildFrom adds block n, what lies behind it and the neck, and returns the
// embedding. x is what BuildTo returned.
func (e *Encoder) BuildFrom(b *graph.Builder, n int, x *G.Node) *G.Node {
	g := e.cfg.Grid()
	for i := n; i < len(e.blocks); i++ {
		x = b.Stage("block"+strconv.Itoa(i), e.block(b, i, x))
	}
	x = e.norm1.Apply(b, e.conv1.Apply(b, x))
	x = e.conv2.Conv(b, op.Conv{Batch: 1, H: g, W: g, Stride: 1, Pad: 1}, x)
	return b.Stage("neck", e.norm2.Apply(b, x))
}

// Products are the weights of each block's linear layers: qkv, proj, lin1 and
// lin2.
func (e *Encoder) Products() [][]*graph.Weight {
	all := make([][]*graph.Weight, len(e.blocks))
	for i, b := range e.blocks {
		all[i] = []*graph.Weight{b.qkv.W, b.proj.W, b.lin1.W, b.lin2.W}
	}
	return all
}

// QKV is the weight of block i that makes queries, keys and values, [3*A,
// Width].
func (e *Encoder) QKV(i int) *graph.Weight { return e.blocks[i].qkv.W }

func (e *Encoder) block(b *graph.Builder, i int, x *G.Node) *G.Node {
	c, k := e.cfg, &e.blocks[i]
	at := op.RelPosAttention{H: c.Grid(), W: c.Grid(), Window: c.Window, Heads: c.Heads, HeadDim: c.HeadDim}
	if c.IsGlobal(i) {
		at.Window = 0
	}
	qkv := k.qkv.Apply(b, k.norm1.Apply(b, x))
	// Upstream pads the map with zeros after the norm: their projection is the bias.
	a := b.Apply(at, qkv, b.Weight(k.relH), b.Weight(k.relW), b.Weight(k.qkv.B))
	x = b.Apply(op.Add{}, k.proj.Apply(b, a), x)
	y := k.norm2.Apply(b, x)
	h := b.Apply(op.GELU{}, k.lin1.Apply(b, y))
	x = b.Apply(op.Add{}, k.lin2.Apply(b, h), x)
	if k.adapter != nil {
		// AdaptFormer adds its branch and, once more, what the perceptron reads.
		h = b.Apply(op.ReLU{}, k.adapter.down.Apply(b, y))
		x = b.Apply(op.Add{}, b.Apply(op.Add{}, k.adapter.up.Apply(b, h), y), x)
	}
	return x
}
