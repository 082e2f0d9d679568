package maskdec

import (
	"strconv"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
)

// Image is the picture's side of the decoder before it meets a token: the
// embedding with the dense prompt added, as rows or in panels (op.Panels) or
// both, and its projections for the first block, if they are made ahead.
type Image struct {
	Rows   *G.Node // [Grid*Grid, Channels] for all prompts, or that many rows for each
	Panels *G.Node // the same
	K      *G.Node // [Grid*Grid, CrossDim]: keys of the first attention of tokens to picture
	V      *G.Node // [Grid*Grid, CrossDim]: its values
	Q      *G.Node // panels of [Grid*Grid, CrossDim]: queries of the first attention of picture to tokens

	queries *G.Node // Q as rows, if they are in the graph
}

// Image adds the projections of rows, the embedding plus a dense prompt that
// all prompts share, [Grid*Grid, Channels].
func (d *Decoder) Image(b *graph.Builder, rows *G.Node) Image {
	first := &d.layers[0]
	const name = "transformer.layers.0"
	k, q := &first.tokenToImage, &first.imageToToken
	panels := op.Panels{Rows: d.cfg.Grid * d.cfg.Grid}
	queries := d.positioned(b, name+".cross_attn_image_to_token.q_proj", q, q.q, rows)
	return Image{
		Rows:    rows,
		Panels:  b.Apply(panels, rows),
		K:       d.positioned(b, name+".cross_attn_token_to_image.k_proj", k, k.k, rows),
		V:       k.v.Apply(b, name+".cross_attn_token_to_image.v_proj", rows, kernel.ActNone, nil),
		Q:       b.Apply(panels, queries),
		queries: queries,
	}
}

// ImageInputs adds inputs of these names for the parts of an [Image] that all
// prompts share, from another graph.
func (d *Decoder) ImageInputs(b *graph.Builder, panels, k, v, q string) Image {
	c := d.cfg
	n := c.Grid * c.Grid
	padded := kernel.PackedLen(n, 1)
	return Image{
		Panels: b.Input(panels, padded, c.Channels),
		K:      b.Input(k, n, c.CrossDim), V: b.Input(v, n, c.CrossDim), Q: b.Input(q, padded, c.CrossDim),
	}
}

// positioned is the projection of keys plus positions.
func (d *Decoder) positioned(b *graph.Builder, name string, a *crossAttention, l layer.Linear, keys *G.Node) *G.Node {
	pos := b.Weight(name+".positions", a.positions, d.cfg.Grid*d.cfg.Grid, d.cfg.CrossDim)
	return l.Apply(b, name, keys, kernel.ActNone, pos)
}

// Batch says how many prompts a graph decodes at once.
type Batch struct {
	Prompts int
	Tokens  int   // sparse tokens of each prompt
	Masks   []int // which mask tokens to decode
	// Plain builds each layer as nodes of its own, whose results are stages.
	// It is slower for few tokens; prompts of many tokens are decoded so in
	// any case.
	Plain bool
}

// plain reports whether the batch is decoded layer by layer. Bringing tokens
// to the width of the map costs Heads*rows columns in each product with it,
// projecting the map CrossDim columns, but its passes over the map are fewer:
// at the published shapes both take the same time with 32 tokens.
func (d *Decoder) plain(n Batch) bool {
	return n.Plain || d.cfg.Heads*(1+d.cfg.MaskTokens+n.Tokens) > max(2*d.cfg.CrossDim, 128)
}

// Masks adds the decoding of a batch of prompts. sparse is [Prompts*Tokens,
// Channels], nil if Tokens is 0. It returns the low-resolution logits,
// [Prompts*len(Masks), MaskSize*MaskSize], and the quality of all mask
// tokens, [Prompts, MaskTokens].
//
// Its stages are "tokens" (after the transformer) and, if the batch is
// decoded layer by layer, "keys" and "upscaled". The input [Floor], if it is
// positive, leaves out the masks of prompts of which none has a quality above
// it; layer by layer all are computed.
func (d *Decoder) Masks(b *graph.Builder, n Batch, img Image, sparse *G.Node) (logits, iou *G.Node) {
	c := d.cfg
	floor := b.Input(Floor, 1)
	in := []*G.Node{b.Weight("output_tokens", d.tokens, 1+c.MaskTokens, c.Channels)}
	if n.Tokens > 0 {
		in = append(in, sparse)
	}
	s := state{d: d, b: b, n: n.Prompts, rows: 1 + c.MaskTokens + n.Tokens}
	s.tokens = b.Apply(op.Tokens{Batch: n.Prompts, N: n.Tokens}, in...)
	s.positions = s.tokens
	plain := d.plain(n)
	outputs := []int{0} // the tokens that are read in the end
	for _, m := range n.Masks {
		outputs = append(outputs, 1+m)
	}
	if plain {
		s.transform(img)
	} else {
		s.transformFused(img, outputs)
	}
	s.tokens = b.Stage("tokens", d.finalNorm.Apply(b, "transformer.norm_final_attn", s.tokens))
	output := func(i int) *G.Node {
		at := outputs[i]
		if !plain {
			at = i
		}
		return b.Apply(op.Pick{Rows: s.rows, Which: []int{at}}, s.tokens)
	}
	iou = s.mlp("iou_prediction_head", d.iou, output(0))
	var hyper []*G.Node
	for i, m := range n.Masks {
		hyper = append(hyper, s.mlp("output_hypernetworks_mlps."+strconv.Itoa(m), d.hyper[m], output(1+i)))
	}
	if plain {
		b.Stage("keys", s.keys)
		return s.masks(hyper), iou
	}
	return s.masksFused(n.Masks, hyper, iou, floor), iou
}

// transform adds the two-way transformer, up to its last norm.
func (s *state) transform(img Image) {
	if s.keys = img.Rows; s.keys == nil {
		s.keys = s.b.Apply(op.FromPanels{Rows: s.cells()}, img.Panels)
	}
	for i := range s.d.layers {
		k, v, q := img.K, img.V, img.queries
		if i > 0 {
			k, v, q = nil, nil, nil
		}
		s.block(i, k, v, q)
	}
	s.tokens = s.tokenToImage("transformer.final_attn_token_to_image", &s.d.final, nil, nil)
}

// state is the decoder's graph while it grows.
type state struct {
	d         *Decoder
	b         *graph.Builder
	n         int     // prompts
	rows      int     // tokens of a prompt
	tokens    *G.Node // [n*rows, Channels]
	positions *G.Node // the tokens at the start, which serve as their positions
	keys      *G.Node // [n*Grid*Grid, Channels], or one for all prompts; fused: panels
}

// cells is the number of rows of a map.
func (s *state) cells() int { return s.d.cfg.Grid * s.d.cfg.Grid }

// block adds a two-way block. k, v and q are projections of the keys that
// exist already, or nil.
func (s *state) block(i int, k, v, q *G.Node) {
	l, name := &s.d.layers[i], blockName(i)
	s.amongTokens(i)
	s.tokens = s.tokenToImage(name+".cross_attn_token_to_image", &l.tokenToImage, k, v)
	s.perceptron(i)
	s.keys = l.norm4.Apply(s.b, name+".norm4", s.imageToToken(name+".cross_attn_image_to_token", &l.imageToToken, q))
}

func blockName(i int) string { return "transformer.layers." + strconv.Itoa(i) }

// amongTokens adds the attention among the tokens that begins block i.
func (s *state) amongTokens(i int) {
	l, name := &s.d.layers[i], blockName(i)
	if i == 0 {
		// The first block has neither positions nor a residual here.
		s.tokens = s.selfAttention(name+".self_attn", &l.self, s.tokens, nil)
	} else {
		s.tokens = s.selfAttention(name+".self_attn", &l.self, s.positioned(), s.tokens)
	}
	s.tokens = l.norm1.Apply(s.b, name+".norm1", s.tokens)
}

// perceptron adds what the tokens go through after they looked at the
// picture, in block i.
func (s *state) perceptron(i int) {
	l, name := &s.d.layers[i], blockName(i)
	s.tokens = l.norm2.Apply(s.b, name+".norm2", s.tokens)
	h := l.lin1.Apply(s.b, name+".mlp.lin1", s.tokens, kernel.ActReLU, nil)
	s.tokens = l.norm3.Apply(s.b, name+".norm3", l.lin2.Apply(s.b, name+".mlp.lin2", h, kernel.ActNone, s.tokens))
}

// positioned is the tokens plus their positions.
func (s *state) positioned() *G.Node { return s.b.Apply(op.Add{}, s.tokens, s.positions) }

func (s *state) attend(queries, keys int, inner int, q, k, v *G.Node) *G.Node {
	h := s.d.cfg.Heads
	return s.b.Apply(op.Attention{Batch: s.n, Heads: h, HeadDim: inner / h, NQ: queries, NK: keys}, q, k, v)
}

func (s *state) selfAttention(name string, a *attention, qk, residual *G.Node) *G.Node {
	q := a.q.Apply(s.b, name+".q_proj", qk, kernel.ActNone, nil)
	k := a.k.Apply(s.b, name+".k_proj", qk, kernel.ActNone, nil)
	v := a.v.Apply(s.b, name+".v_proj", s.tokens, kernel.ActNone, nil)
	x := s.attend(s.rows, s.rows, s.d.cfg.SelfDim, q, k, v)
	return a.out.Apply(s.b, name+".out_proj", x, kernel.ActNone, residual)
}

func (s *state) tokenToImage(name string, a *crossAttention, k, v *G.Node) *G.Node {
	c := s.d.cfg
	q := a.q.Apply(s.b, name+".q_proj", s.positioned(), kernel.ActNone, nil)
	if k == nil {
		k = s.d.positioned(s.b, name+".k_proj", a, a.k, s.keys)
		v = a.v.Apply(s.b, name+".v_proj", s.keys, kernel.ActNone, nil)
	}
	x := s.attend(s.rows, c.Grid*c.Grid, c.CrossDim, q, k, v)
	return a.out.Apply(s.b, name+".out_proj", x, kernel.ActNone, s.tokens)
}

func (s *state) imageToToken(name string, a *crossAttention, q *G.Node) *G.Node {
	c := s.d.cfg
	if q == nil {
		q = s.d.positioned(s.b, name+".q_proj", a, a.q, s.keys)
	}
	k := a.k.Apply(s.b, name+".k_proj", s.positioned(), kernel.ActNone, nil)
	v := a.v.Apply(s.b, name+".v_proj", s.tokens, kernel.ActNone, nil)
	x := s.attend(c.Grid*c.Grid, s.rows, c.CrossDim, q, k, v)
	return a.out.Apply(s.b, name+".out_proj", x, kernel.ActNone, s.keys)
}

func (s *state) masks(hyper []*G.Node) *G.Node {
	d, g := s.d, s.d.cfg.Grid
	x := s.upscale("output_upscaling.0", &d.up1, s.keys, g, false)
	x = d.upNorm.ApplyGELU(s.b, "output_upscaling.1", x)
	x = s.b.Stage("upscaled", s.upscale("output_upscaling.3", &d.up2, x, 2*g, true))
	return s.b.Apply(op.Masks{Batch: s.n}, append([]*G.Node{x}, hyper...)...)
}

func (s *state) upscale(name string, u *upscale, x *G.Node, grid int, gelu bool) *G.Node {
	k := op.Upscale2x2{Batch: s.n, H: grid, W: grid, In: u.in, Out: u.out, GELU: gelu}
	return s.b.Apply(k, x, s.b.Weight(name+".weight", u.w, len(u.w)), s.b.Weight(name+".bias", u.b, len(u.b)))
}

func (s *state) mlp(name string, layers []layer.Linear, x *G.Node) *G.Node {
	for i, l := range layers {
		act := kernel.ActReLU
		if i == len(layers)-1 {
			act = kernel.ActNone
		}
		x = l.Apply(s.b, name+".layers."+strconv.Itoa(i), x, act, nil)
	}
	return x
}
