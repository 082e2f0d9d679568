package instance

import (
	"errors"
	"fmt"
	"strconv"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/weights"
)

// eps is the epsilon of every norm: torch's default.
const eps = 1e-5

// Stats says with which mean and variance the decoder's batch norms work.
type Stats uint8

const (
	// BatchStats are those of the picture in hand. micro-sam and patho-sam never
	// call eval() on the decoder, so this is what their instances come from,
	// with a batch of one picture.
	BatchStats Stats = iota
	// RunningStats are those that were gathered in training, and do not depend
	// on the picture.
	RunningStats
)

// Decoder is the instance decoder: its shape and its weights. It is immutable
// and safe for any number of goroutines.
type Decoder struct {
	cfg      Config
	weights  layer.Set
	deconv   [Levels]deconv
	base     block
	blocks   [Levels - 1]block
	samplers [Levels - 1]sampler
	up       sampler
	head     block
	out      layer.Linear
}

type deconv struct {
	sampler sampler
	conv    layer.Linear
	norm    *batchNorm
}

type batchNorm struct{ gamma, beta, mean, variance *graph.Weight }

type sampler struct {
	layer.Linear
	transposed bool
}

// block is two convolutions, each behind a norm; nil: one without weights.
type block struct {
	firstNorm, secondNorm *batchNorm
	first, second         layer.Linear
}

// New returns a decoder of the bound weights, which are read when a backend
// prepares its graph. It returns an error that wraps [weights.ErrMissing] if a
// layer that enlarges maps, or a batch norm of a block, lacks the weights that
// c asks for.
func New(c Config, p *Params) (*Decoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	d := &Decoder{cfg: c}
	s := &d.weights
	conv := func(p *ConvParams) layer.Linear { return s.Linear(&p.W, &p.B) }
	var missing []error
	need := func(all ...*weights.Param) {
		for _, w := range all {
			if !w.Present() {
				missing = append(missing, fmt.Errorf("instance: bind %s: %w", w.Name(), weights.ErrMissing))
			}
		}
	}
	sample := func(p *SamplerParams) sampler {
		at := p.Bilinear
		if c.Transposed {
			at = p.Transposed
		}
		need(&at.W, &at.B)
		return sampler{conv(at), c.Transposed}
	}
	norm := func(p *BatchNormParams) *batchNorm {
		if p == nil {
			return nil
		}
		need(&p.W, &p.B, &p.Mean, &p.Variance)
		return &batchNorm{s.Weight(&p.W), s.Weight(&p.B), s.Weight(&p.Mean), s.Weight(&p.Variance)}
	}
	pair := func(p *BlockParams) block {
		return block{norm(p.FirstNorm), norm(p.SecondNorm), conv(&p.First), conv(&p.Second)}
	}
	for i, p := range []*DeconvParams{&p.Deconv1, &p.Deconv2, &p.Deconv3, &p.Deconv4} {
		d.deconv[i] = deconv{sample(&p.Sampler), conv(&p.Conv), norm(&p.Norm)}
	}
	d.base, d.head, d.up, d.out = pair(&p.Base), pair(&p.Head), sample(&p.Up), conv(&p.Out)
	for i := range Levels - 1 {
		d.samplers[i], d.blocks[i] = sample(&p.Samplers[i]), pair(&p.Blocks[i].Block)
	}
	if err := errors.Join(missing...); err != nil {
		return nil, err
	}
	return d, nil
}

// Config is the decoder's shape.
func (d *Decoder) Config() Config { return d.cfg }

// Weights are the decoder's weights.
func (d *Decoder) Weights() *layer.Set { return &d.weights }

// At returns the decoder, of the same weights, for embeddings of another side.
func (d *Decoder) At(grid int) (*Decoder, error) {
	out := *d
	out.cfg.Grid = grid
	return &out, out.cfg.Validate()
}

// Norm is a batch norm in a graph: its gathered statistics, which are no
// parameters, and the map that it normalises.
type Norm struct {
	Mean, Variance *graph.Weight
	In             *G.Node
}

// Statistics are the weights that [RunningStats] reads and no gradient changes:
// mean and variance of each batch norm, in turn.
func (d *Decoder) Statistics() (all []*graph.Weight) {
	add := func(norms ...*batchNorm) {
		for _, n := range norms {
			if n != nil {
				all = append(all, n.mean, n.variance)
			}
		}
	}
	for _, k := range d.deconv {
		add(k.norm)
	}
	for _, k := range append([]block{d.base, d.head}, d.blocks[:]...) {
		add(k.firstNorm, k.secondNorm)
	}
	return all
}

// Build adds the decoder of the embedding z [Grid*Grid, Embed] to b and returns
// its maps between 0 and 1, [Side*Side, Out].
//
// Its stages are "z9", "z6", "z3", "z0", the levels on the embedding's side,
// and "logits", the maps before the sigmoid.
func (d *Decoder) Build(b *graph.Builder, z *G.Node, s Stats) *G.Node {
	out, _ := d.BuildNorms(b, z, s)
	return out
}

// BuildNorms is Build that also returns the batch norms that it added.
func (d *Decoder) BuildNorms(b *graph.Builder, z *G.Node, s Stats) (*G.Node, []Norm) {
	m := &maps{b: b, stats: s}
	side := d.cfg.Grid
	var levels [Levels]*G.Node
	at := z
	for i := range levels {
		at = b.Stage("z"+strconv.Itoa(9-3*i), m.deconv(&d.deconv[i], at, side<<i))
		levels[i] = at
	}
	x := m.block(&d.base, z, side)
	for i := range d.blocks {
		x = m.sample(&d.samplers[i], x, side<<i)
		x = m.block(&d.blocks[i], b.Apply(op.Skip{}, x, levels[i]), side<<(i+1))
	}
	x = m.sample(&d.up, x, side<<(Levels-1))
	x = m.block(&d.head, b.Apply(op.Skip{Whole: true}, x, levels[Levels-1]), side<<Levels)
	return b.Apply(op.Sigmoid{}, b.Stage("logits", d.out.Apply(b, x))), m.norms
}

// maps is the graph while it grows.
type maps struct {
	b     *graph.Builder
	stats Stats
	norms []Norm
}

// sample doubles the sides of x, [side*side, C].
func (m *maps) sample(s *sampler, x *G.Node, side int) *G.Node {
	if s.transposed {
		return m.b.Apply(op.Upscale2x2{Batch: 1, H: side, W: side}, x, m.b.Weight(s.W), m.b.Weight(s.B))
	}
	// Upstream enlarges first. A product over the channels and a mean over
	// pixels, whose shares sum up to 1, can be had in either order; this one
	// has a fourth of the products.
	return m.b.Apply(op.Bilinear2x{H: side, W: side}, s.Apply(m.b, x))
}

func (m *maps) conv(l layer.Linear, x *G.Node, side int) *G.Node {
	return l.Conv(m.b, op.Conv{Batch: 1, H: side, W: side, Stride: 1, Pad: 1, Winograd: true}, x)
}

// deconv doubles the sides of x, [side*side, C].
func (m *maps) deconv(d *deconv, x *G.Node, side int) *G.Node {
	x = m.conv(d.conv, m.sample(&d.sampler, x, side), 2*side)
	return m.b.Apply(op.ReLU{}, m.norm(d.norm, x))
}

func (m *maps) norm(n *batchNorm, x *G.Node) *G.Node {
	b := m.b
	if n == nil {
		return b.Apply(op.ChannelNorm{Eps: eps}, x)
	}
	m.norms = append(m.norms, Norm{n.mean, n.variance, x})
	if m.stats == RunningStats {
		return b.Apply(op.BatchNorm{Eps: eps}, x, b.Weight(n.gamma), b.Weight(n.beta), b.Weight(n.mean), b.Weight(n.variance))
	}
	return b.Apply(op.ChannelNorm{Eps: eps}, x, b.Weight(n.gamma), b.Weight(n.beta))
}

// block adds two convolutions with their norms, which stand before them.
func (m *maps) block(k *block, x *G.Node, side int) *G.Node {
	x = m.b.Apply(op.ReLU{}, m.conv(k.first, m.norm(k.firstNorm, x), side))
	return m.b.Apply(op.ReLU{}, m.conv(k.second, m.norm(k.secondNorm, x), side))
}
