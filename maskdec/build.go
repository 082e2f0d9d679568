package maskdec

import (
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
)

// Floor is the name of the input [1] that leaves out masks by their quality.
const Floor = "quality_floor"

// Image is the picture's side of the decoder before it meets a token.
type Image struct {
	Rows      *G.Node // [Grid*Grid, Channels] for all prompts, or that many rows for each: the embedding with the dense prompt added
	Positions *G.Node // [Grid*Grid, Channels]: the encoding of the cells

	// The projections of Rows for the first block, if they are made ahead.
	K *G.Node // [Grid*Grid, CrossDim]: keys of the first attention of tokens to picture
	V *G.Node // [Grid*Grid, CrossDim]: its values
	Q *G.Node // [Grid*Grid, CrossDim]: queries of the first attention of picture to tokens
}

// Image adds the projections of rows, the embedding plus a dense prompt that
// all prompts share, [Grid*Grid, Channels].
func (d *Decoder) Image(b *graph.Builder, rows, positions *G.Node) Image {
	first := &d.layers[0]
	at := b.Apply(op.Add{}, rows, positions)
	return Image{
		Rows: rows, Positions: positions,
		K: first.tokenToImage.k.Apply(b, at),
		V: first.tokenToImage.v.Apply(b, rows),
		Q: first.imageToToken.q.Apply(b, at),
	}
}

// ImageInputs adds inputs of these names for the parts of an [Image] that all
// prompts share, from another graph.
func (d *Decoder) ImageInputs(b *graph.Builder, positions *G.Node, rows, k, v, q string) Image {
	c := d.cfg
	n := c.Grid * c.Grid
	return Image{
		Rows: b.Input(rows, n, c.Channels), Positions: positions,
		K: b.Input(k, n, c.CrossDim), V: b.Input(v, n, c.CrossDim), Q: b.Input(q, n, c.CrossDim),
	}
}

// Batch says how many prompts a graph decodes at once.
type Batch struct {
	Prompts int
	Tokens  int   // sparse tokens of each prompt
	Masks   []int // which mask tokens to decode
	// Floor adds the input [Floor], which leaves out the masks of prompts of
	// which none has a quality above it, if it is positive.
	Floor bool
}

// Masks adds the decoding of a batch of prompts. sparse is [Prompts*Tokens,
// Channels], nil if Tokens is 0. It returns the low-resolution logits,
// [Prompts*len(Masks), MaskSize*MaskSize], and the quality of all mask
// tokens, [Prompts, MaskTokens].
//
// Its stages are "tokens" and "keys" (after the transformer) and "upscaled".
func (d *Decoder) Masks(b *graph.Builder, n Batch, img Image, sparse *G.Node) (logits, iou *G.Node) {
	c := d.cfg
	in := []*G.Node{b.Apply(op.Rows{}, b.Weight(d.iouToken), b.Weight(d.maskTokens))}
	if n.Tokens > 0 {
		in = append(in, sparse)
	}
	s := state{d: d, b: b, n: n.Prompts, rows: 1 + c.MaskTokens + n.Tokens, img: img, keys: img.Rows}
	s.tokens = b.Apply(op.Tokens{Batch: n.Prompts, N: n.Tokens}, in...)
	s.positions = s.tokens
	for i := range d.layers {
		s.block(i)
	}
	s.tokens = s.tokenToImage(&d.final, nil, nil)
	s.tokens = b.Stage("tokens", d.finalNorm.Apply(b, s.tokens))
	b.Stage("keys", s.keys)
	output := func(row int) *G.Node { return b.Apply(op.Pick{Rows: s.rows, Which: []int{row}}, s.tokens) }
	iou = s.mlp(d.iou, output(0))
	var hyper []*G.Node
	for _, m := range n.Masks {
		hyper = append(hyper, s.mlp(d.hyper[m], output(1+m)))
	}
	logits = s.masks(hyper)
	if n.Floor {
		logits = b.Apply(op.Floor{Which: n.Masks}, logits, iou, b.Input(Floor, 1))
	}
	return logits, iou
}

// state is the decoder's graph while it grows.
type state struct {
	d         *Decoder
	b         *graph.Builder
	n         int // prompts
	rows      int // tokens of a prompt
	img       Image
	tokens    *G.Node // [n*rows, Channels]
	positions *G.Node // the tokens at the start, which serve as their positions
	keys      *G.Node // [n*Grid*Grid, Channels], or one for all prompts
	at, of    *G.Node // the picture's rows plus their positions, and the keys that they are of
}

// cells is the number of rows of a map.
func (s *state) cells() int { return s.d.cfg.Grid * s.d.cfg.Grid }

// add adds y to x.
func (s *state) add(x, y *G.Node) *G.Node { return s.b.Apply(op.Add{}, x, y) }

// block adds a two-way block.
func (s *state) block(i int) {
	l, b := &s.d.layers[i], s.b
	var k, v, q *G.Node
	if i == 0 {
		k, v, q = s.img.K, s.img.V, s.img.Q
		// The first block has neither positions nor a residual here.
		s.tokens = s.selfAttention(&l.self, s.tokens)
	} else {
		s.tokens = s.add(s.selfAttention(&l.self, s.positioned()), s.tokens)
	}
	s.tokens = l.norm1.Apply(b, s.tokens)
	s.tokens = l.norm2.Apply(b, s.tokenToImage(&l.tokenToImage, k, v))
	h := b.Apply(op.ReLU{}, l.lin1.Apply(b, s.tokens))
	s.tokens = l.norm3.Apply(b, s.add(l.lin2.Apply(b, h), s.tokens))
	s.keys = l.norm4.Apply(b, s.imageToToken(&l.imageToToken, q))
}

// positioned is the tokens plus their positions.
func (s *state) positioned() *G.Node { return s.add(s.tokens, s.positions) }

// located is the picture's rows plus their positions.
func (s *state) located() *G.Node {
	if s.of != s.keys {
		s.at, s.of = s.add(s.keys, s.img.Positions), s.keys
	}
	return s.at
}

func (s *state) attend(queries, keys int, inner int, q, k, v *G.Node) *G.Node {
	h := s.d.cfg.Heads
	return s.b.Apply(op.Attention{Batch: s.n, Heads: h, HeadDim: inner / h, NQ: queries, NK: keys}, q, k, v)
}

func (s *state) selfAttention(a *attention, qk *G.Node) *G.Node {
	q, k, v := a.q.Apply(s.b, qk), a.k.Apply(s.b, qk), a.v.Apply(s.b, s.tokens)
	return a.out.Apply(s.b, s.attend(s.rows, s.rows, s.d.cfg.SelfDim, q, k, v))
}

// tokenToImage adds the attention of the tokens to the picture. k and v are
// projections of the picture that exist already, or nil.
func (s *state) tokenToImage(a *attention, k, v *G.Node) *G.Node {
	q := a.q.Apply(s.b, s.positioned())
	if k == nil {
		k, v = a.k.Apply(s.b, s.located()), a.v.Apply(s.b, s.keys)
	}
	x := s.attend(s.rows, s.cells(), s.d.cfg.CrossDim, q, k, v)
	return s.add(a.out.Apply(s.b, x), s.tokens)
}

// imageToToken adds the attention of the picture to the tokens. q is the
// projection of the picture if it exists already, or nil.
func (s *state) imageToToken(a *attention, q *G.Node) *G.Node {
	if q == nil {
		q = a.q.Apply(s.b, s.located())
	}
	k, v := a.k.Apply(s.b, s.positioned()), a.v.Apply(s.b, s.tokens)
	x := s.attend(s.cells(), s.rows, s.d.cfg.CrossDim, q, k, v)
	return s.add(a.out.Apply(s.b, x), s.keys)
}

func (s *state) masks(hyper []*G.Node) *G.Node {
	d, b, g := s.d, s.b, s.d.cfg.Grid
	x := s.upscale(d.up1, s.keys, g)
	x = b.Apply(op.GELU{}, d.upNorm.Apply(b, x))
	x = b.Stage("upscaled", b.Apply(op.GELU{}, s.upscale(d.up2, x, 2*g)))
	return b.Apply(op.Masks{Batch: s.n}, append([]*G.Node{x}, hyper...)...)
}

func (s *state) upscale(l layer.Linear, x *G.Node, grid int) *G.Node {
	return s.b.Apply(op.Upscale2x2{Batch: s.n, H: grid, W: grid}, x, s.b.Weight(l.W), s.b.Weight(l.B))
}

func (s *state) mlp(layers []layer.Linear, x *G.Node) *G.Node {
	for i, l := range layers {
		if x = l.Apply(s.b, x); i < len(layers)-1 {
			x = s.b.Apply(op.ReLU{}, x)
		}
	}
	return x
}
