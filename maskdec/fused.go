package maskdec

import (
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
)

// Floor is the name of the input [1] that leaves out masks by their quality.
const Floor = "quality_floor"

// absorbed are the weights of a cross-attention whose tokens are brought to
// the width of the picture's map, so that the map is not projected: products
// of a row x of the map with W·x are products of x with the tokens times W.
type absorbed struct {
	in  []float32 // for each head, the map's projection to queries or keys: packed [Channels, HeadDim]
	out []float32 // what leads back: the map's output projection, packed [Channels, HeadDim] for each head, or its values', [HeadDim, Channels]
	at  []float32 // panels of [Grid*Grid, CrossDim]: the projected positions with the projection's bias
}

// readCross reads a cross-attention of the tokens to the picture, or with
// fromImage of the picture to the tokens.
func readCross(r *layer.Reader, p *AttentionParams, heads int, fromImage bool) crossAttention {
	a := crossAttention{attention: readAttention(r, p)}
	in := &p.K
	if fromImage {
		in = &p.Q
	}
	hd := in.W.Shape[0] / heads
	c := in.W.Shape[1]
	r.Use(&in.W, func(w []float32) {
		for h := range heads {
			a.absorbed.in = append(a.absorbed.in, kernel.PackKN(w[h*hd*c:(h+1)*hd*c], hd, c).Data()...)
		}
	})
	if fromImage {
		r.Use(&p.Out.W, func(w []float32) { // [Channels, CrossDim]
			one := make([]float32, c*hd)
			for h := range heads {
				for i := range c {
					copy(one[i*hd:(i+1)*hd], w[(i*heads+h)*hd:])
				}
				a.absorbed.out = append(a.absorbed.out, kernel.Pack(one, c, hd).Data()...)
			}
		})
	} else {
		r.Use(&p.V.W, func(w []float32) {
			for h := range heads {
				a.absorbed.out = append(a.absorbed.out, kernel.Pack(w[h*hd*c:(h+1)*hd*c], hd, c).Data()...)
			}
		})
	}
	r.Bytes += int64(4 * (len(a.absorbed.in) + len(a.absorbed.out)))
	return a
}

// locate keeps positions [cells, N], projected by l, with l's bias.
func (a *absorbed) locate(l layer.Linear, positions []float32) {
	sum := make([]float32, len(positions))
	for i, v := range positions {
		sum[i] = v
		if l.B != nil {
			sum[i] += l.B[i%l.N]
		}
	}
	n := len(positions) / l.N
	a.at = make([]float32, kernel.PackedLen(n, l.N))
	kernel.PackPanels(a.at, sum, n, l.N)
}

// fused is the transformer's graph while it grows: each attention of the
// picture to the tokens waits for the tokens' next look at the picture, which
// is in the same pass over the map.
type fused struct {
	*state
	next *toTokens // nil: the map is up to date
}

// toTokens is an attention of the picture to the tokens, and the norm after
// it, ready to be computed.
type toTokens struct {
	name                 string
	l                    *twoWay
	known                *G.Node // complete queries, or nil
	keys, keysX, valuesX *G.Node
	rows                 int // tokens of a prompt
}

// transformFused is transform with one pass over the map for each block. Only
// the tokens outputs look at the picture in the end: nobody reads the others,
// and they are dropped.
func (s *state) transformFused(img Image, outputs []int) {
	f := fused{state: s}
	if s.keys = img.Panels; s.keys == nil {
		s.keys = s.b.Apply(op.Panels{Rows: s.cells()}, img.Rows)
	}
	for i := range s.d.layers {
		l, name := &s.d.layers[i], blockName(i)
		s.amongTokens(i)
		if i == 0 && img.K != nil {
			s.tokens = s.tokenToImage(name+".cross_attn_token_to_image", &l.tokenToImage, img.K, img.V)
		} else {
			f.look(name+".cross_attn_token_to_image", &l.tokenToImage)
		}
		s.perceptron(i)
		f.prepare(i, img.Q)
	}
	pick := op.Pick{Rows: s.rows, Which: outputs}
	s.tokens, s.positions, s.rows = s.b.Apply(pick, s.tokens), s.b.Apply(pick, s.positions), len(outputs)
	f.look("transformer.final_attn_token_to_image", &s.d.final)
}

// absorb brings the tokens' heads to the map's width by weights w.
func (f *fused) absorb(name string, w []float32, x *G.Node, bias []float32) *G.Node {
	c := f.d.cfg
	in := []*G.Node{x, f.b.Weight(name+".heads", w, len(w))}
	if bias != nil {
		in = append(in, f.b.Weight(name+".bias", bias, len(bias)))
	}
	k := op.Absorb{Batch: f.n, Tokens: f.rows, Heads: c.Heads, HeadDim: c.CrossDim / c.Heads, C: c.Channels, Bias: bias != nil}
	return f.b.Apply(k, in...)
}

// prepare makes the attention of the picture to the tokens that ends block i
// the next one. Its values are those that the output projection makes of the
// tokens' values, so that what the attention finds is added to the map as it
// is. A softmax sums to 1 for each head: the bias goes with one of them.
func (f *fused) prepare(i int, known *G.Node) {
	l, name := &f.d.layers[i], blockName(i)+".cross_attn_image_to_token"
	a := &l.imageToToken
	t := &toTokens{name: blockName(i), l: l, rows: f.rows}
	t.keys = a.k.Apply(f.b, name+".k_proj", f.positioned(), kernel.ActNone, nil)
	v := a.v.Apply(f.b, name+".v_proj", f.tokens, kernel.ActNone, nil)
	t.valuesX = f.absorb(name+".out_proj", a.absorbed.out, v, a.out.B)
	if i == 0 && known != nil {
		t.known = known
	} else {
		t.keysX = f.absorb(name+".q_proj", a.absorbed.in, t.keys, nil)
	}
	f.next = t
}

// look adds the attention of the tokens to the picture, after the attention
// that waits.
func (f *fused) look(name string, a *crossAttention) {
	c, b := f.d.cfg, f.b
	cells, hd := f.cells(), c.CrossDim/c.Heads
	panels := func(name string, x []float32) *G.Node {
		return b.Weight(name, x, kernel.PackedLen(cells, 1), c.CrossDim)
	}
	q := a.q.Apply(b, name+".q_proj", f.positioned(), kernel.ActNone, nil)
	k := op.TwoWay{Batch: f.n, Cells: cells, Heads: c.Heads, HeadDim: hd, Tokens: f.rows, Readers: f.rows, Look: f.next == nil}
	in := []*G.Node{f.keys, panels(name+".k_proj.panels", a.absorbed.at), q, f.absorb(name+".k_proj", a.absorbed.in, q, nil)}
	if t := f.next; t != nil {
		k.Eps, k.Known, k.Tokens = t.l.norm4.Eps, t.known != nil, t.rows
		queries := t.known
		if queries == nil {
			queries = panels(t.name+".cross_attn_image_to_token.q_proj.panels", t.l.imageToToken.absorbed.at)
		}
		norm := t.l.norm4
		in = append(in, queries, t.keys, t.valuesX,
			b.Weight(t.name+".norm4.weight", norm.Gamma, len(norm.Gamma)), b.Weight(t.name+".norm4.bias", norm.Beta, len(norm.Beta)))
		if !k.Known {
			in = append(in, t.keysX)
		}
	}
	found := b.Apply(k, in...)
	if f.next != nil {
		f.keys, f.next = found, nil
	}
	w := a.absorbed.out
	x := b.Apply(op.PerHead{Batch: f.n, Tokens: f.rows, Heads: c.Heads, HeadDim: hd}, found,
		b.Weight(name+".v_proj.heads", w, len(w)), b.Weight(name+".v_proj.bias", a.v.B, len(a.v.B)))
	f.tokens = a.out.Apply(b, name+".out_proj", x, kernel.ActNone, f.tokens)
}

// masksFused is masks in one pass over the map.
func (s *state) masksFused(which []int, hyper []*G.Node, iou, floor *G.Node) *G.Node {
	d, b := s.d, s.b
	weight := func(name string, w []float32, shape ...int) *G.Node {
		return b.Weight("output_upscaling."+name, w, shape...)
	}
	lanes := kernel.PanelLanes()
	k := op.MaskHead{Batch: s.n, H: d.cfg.Grid, W: d.cfg.Grid, Up1: d.up1.out, Up2: d.up2.out, Eps: d.upNorm.Eps, Which: which}
	in := []*G.Node{
		s.keys, weight("0.weight", d.up1.tiles, len(d.up1.tiles)), weight("0.bias", d.up1.lanes, 4*d.up1.out, lanes),
		weight("1.weight", d.upNorm.Gamma, len(d.upNorm.Gamma)), weight("1.bias", d.upNorm.Beta, len(d.upNorm.Beta)),
		weight("3.weight", d.up2.tiles, len(d.up2.tiles)), weight("3.bias", d.up2.lanes, 4*d.up2.out, lanes), iou, floor,
	}
	return b.Apply(k, append(in, hyper...)...)
}
