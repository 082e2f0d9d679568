package tinyvit

import (
	"fmt"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/vit"
)

// Epsilons: torch's default, and that of the neck's LayerNorm2d.
const (
	eps     = 1e-5
	epsNeck = 1e-6
)

// Encoder is the image encoder: its shape and its weights. It is immutable
// and safe for any number of goroutines.
type Encoder struct {
	cfg            Config
	weights        layer.Set
	patch1, patch2 layer.Linear
	convs          []convBlock3
	blocks         [Stages][]block // of the stages but the first
	down           [Stages - 1]convBlock3
	neck1, neck2   layer.Linear
	norm1, norm2   layer.Norm
}

// convBlock3 is three convolutions with their norms folded.
type convBlock3 struct{ conv1, conv2, conv3 layer.Linear }

type block struct {
	norm, mlp      layer.Norm
	qkv            layer.Linear
	pad            *graph.Weight
	biases         *graph.Weight
	proj, fc1, fc2 layer.Linear
	local          layer.Linear
}

// New returns an encoder of the bound weights, which are read when a backend
// prepares its graph.
func New(c Config, p *Params) (*Encoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	e := &Encoder{cfg: c}
	s := &e.weights
	three := func(p *ConvBlockParams) convBlock3 {
		return convBlock3{folded(s, &p.Conv1), folded(s, &p.Conv2), folded(s, &p.Conv3)}
	}
	e.patch1, e.patch2 = folded(s, &p.Patch1), folded(s, &p.Patch2)
	for i := range p.Stage0.Blocks {
		e.convs = append(e.convs, three(&p.Stage0.Blocks[i]))
	}
	e.down[0] = three(&p.Stage0.Downsample)
	for i, blocks := range [][]BlockParams{p.Stage1.Blocks, p.Stage2.Blocks, p.Stage3.Blocks} {
		for k := range blocks {
			b := &blocks[k]
			qkv, pad := headsApart(s, b, c.Stages[i+1].Heads)
			e.blocks[i+1] = append(e.blocks[i+1], block{
				norm: s.Norm(&b.Norm.W, &b.Norm.B, eps), qkv: qkv, pad: pad, biases: s.Weight(&b.Biases), proj: s.Linear(&b.Proj.W, &b.Proj.B),
				local: folded(s, &b.Local),
				mlp:   s.Norm(&b.MLP.W, &b.MLP.B, eps), fc1: s.Linear(&b.FC1.W, &b.FC1.B), fc2: s.Linear(&b.FC2.W, &b.FC2.B),
			})
		}
	}
	e.down[1], e.down[2] = three(&p.Stage1.Downsample), three(&p.Stage2.Downsample)
	e.neck1, e.norm1 = s.Linear(&p.Neck1, nil), s.Norm(&p.Norm1.W, &p.Norm1.B, epsNeck)
	e.neck2, e.norm2 = s.Linear(&p.Neck2, nil), s.Norm(&p.Norm2.W, &p.Norm2.B, epsNeck)
	return e, nil
}

// Config is the encoder's shape.
func (e *Encoder) Config() Config { return e.cfg }

// Name is the architecture's.
func (e *Encoder) Name() string { return "tinyvit" }

// ImageSize is the side of the square input picture in pixels.
func (e *Encoder) ImageSize() int { return e.cfg.ImageSize }

// Grid is the number of the embedding's cells along a side.
func (e *Encoder) Grid() int { return e.cfg.Grid() }

// Channels is the number of the embedding's channels.
func (e *Encoder) Channels() int { return e.cfg.Out }

// Colours are the mean and the standard deviation of red, green and blue, 0 to
// 255, which are Segment Anything's.
//
// Source: build_sam.py (MobileSAM 34bbbfd).
func (e *Encoder) Colours() (mean, std [3]float32) {
	return [3]float32{123.675, 116.28, 103.53}, [3]float32{58.395, 57.12, 57.375}
}

// Input is [vit.Picture].
func (e *Encoder) Input() string { return vit.Picture }

// Weights are the encoder's weights.
func (e *Encoder) Weights() *layer.Set { return &e.weights }

// Build adds the encoder to b and returns the embedding, [Grid*Grid, Out]. Its
// input is [vit.Picture].
//
// Its stages are "patch", "layer0" to "layer3", and "neck".
func (e *Encoder) Build(b *graph.Builder) *G.Node {
	c := e.cfg
	m := maps{b}
	side := c.ImageSize
	x := b.Input(vit.Picture, side*side, 3)
	x = b.Apply(op.GELU{}, e.patch1.Conv(b, op.Conv{Batch: 1, H: side, W: side, Stride: 2, Pad: 1}, x))
	x = b.Stage("patch", e.patch2.Conv(b, op.Conv{Batch: 1, H: side / 2, W: side / 2, Stride: 2, Pad: 1}, x))
	for i := range c.Stages {
		side = c.Side(i)
		if i == 0 {
			for k := range e.convs {
				x = b.Apply(op.GELU{}, b.Apply(op.Add{}, m.three(&e.convs[k], x, side, 1), x))
			}
		}
		for k := range e.blocks[i] {
			x = m.block(&e.blocks[i][k], x, side, c.Stages[i])
		}
		if i < Stages-1 {
			x = m.three(&e.down[i], x, side, stride(c.Stages[i+1].Width))
		}
		b.Stage(fmt.Sprint("layer", i), x)
	}
	x = e.norm1.Apply(b, e.neck1.Apply(b, x))
	x = e.neck2.Conv(b, op.Conv{Batch: 1, H: side, W: side, Stride: 1, Pad: 1}, x)
	return b.Stage("neck", e.norm2.Apply(b, x))
}

// maps is the graph while it grows.
type maps struct{ b *graph.Builder }

// three adds three convolutions of x [side*side, C], with activations after
// the first two.
func (m maps) three(k *convBlock3, x *G.Node, side, stride int) *G.Node {
	b := m.b
	x = b.Apply(op.GELU{}, k.conv1.Apply(b, x))
	return k.conv3.Apply(b, b.Apply(op.GELU{}, m.depthwise(k.conv2, x, side, stride)))
}

func (m maps) depthwise(l layer.Linear, x *G.Node, side, stride int) *G.Node {
	return m.b.Apply(op.Depthwise{H: side, W: side, Stride: stride}, x, m.b.Weight(l.W), m.b.Weight(l.B))
}

// block adds a block with attention over windows.
func (m maps) block(k *block, x *G.Node, side int, s Stage) *G.Node {
	b := m.b
	at := op.OffsetAttention{H: side, W: side, Window: s.Window, Heads: s.Heads, HeadDim: s.Width / s.Heads}
	a := b.Apply(at, k.qkv.Apply(b, k.norm.Apply(b, x)), b.Weight(k.biases), b.Weight(k.pad))
	x = b.Apply(op.Add{}, k.proj.Apply(b, a), x)
	x = m.depthwise(k.local, x, side, 1) // neither a residual nor an activation
	h := b.Apply(op.GELU{}, k.fc1.Apply(b, k.mlp.Apply(b, x)))
	return b.Apply(op.Add{}, k.fc2.Apply(b, h), x)
}
