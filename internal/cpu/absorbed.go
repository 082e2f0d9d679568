package cpu

import (
	"slices"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// absorbGradients replaces the attentions between a map and few tokens whose
// gradients are asked for, and those gradients, by steps that project the
// tokens to the map's width in place of the map: see [kernel.Absorbed]. It is
// to training what fuseDecoder is to inference, whose weights do not change.
func (l *lowered) absorbGradients() {
	a := &absorber{readers: map[*value][]*value{}}
	for _, v := range l.order {
		for _, x := range v.in {
			a.readers[x] = append(a.readers[x], v)
		}
	}
	for _, g := range slices.Clone(l.order) {
		if o, ok := g.op.(op.AttentionGrad); ok && o.Batch == 1 && len(g.in) == 5 {
			if a.attends(g.in[4], g) && !a.tokenToImage(g, o.Attention) {
				a.imageToToken(g, o.Attention)
			}
		}
	}
	l.sort()
}

// absorber is the search for what absorbGradients replaces.
type absorber struct{ readers map[*value][]*value }

// attends reports whether y is the attention of which g is the gradient.
func (a *absorber) attends(y, g *value) bool {
	_, ok := y.op.(op.Attention)
	return ok && !y.keep && slices.Equal(y.in, g.in[1:4])
}

// only reports whether v is read by these alone.
func (a *absorber) only(v *value, by ...*value) bool {
	return !v.keep && !slices.ContainsFunc(a.readers[v], func(r *value) bool { return !slices.Contains(by, r) })
}

// cheaper reports whether the tokens are better brought to the width of the
// map: products with it then have a column for each head and token, in place
// of one for each channel of the heads. At the published shapes a step with 7
// tokens takes two thirds of the time, and with 16 the same.
func cheaper(at op.Attention, tokens int) bool { return tokens < at.HeadDim }

// layer is a linear layer with a bias as it is learned.
type layer struct{ x, w, bias *value }

func layerOf(v *value) (layer, bool) {
	if _, ok := v.op.(op.Linear); !ok || len(v.in) != 3 || v.keep {
		return layer{}, false
	}
	return layer{v.in[0], v.in[1], v.in[2]}, true
}

// located reports whether v is a map plus its positions, which have no
// gradient.
func located(v *value) (x, positions *value, ok bool) {
	if x, positions, ok = v.sum(); !ok || !x.shape.Eq(positions.shape) {
		return nil, nil, false
	}
	_, smooth := positions.op.(graph.Differ)
	return x, positions, positions.op != nil && !smooth || positions.fixed()
}

// slopes are the gradients that follow from that of a layer's result.
type slopes struct {
	x       *value   // of its input
	w, bias []*value // of its weights; empty where nobody asks
}

// slopesOf returns what is made of part, the gradient of the result of layer
// y, and whether it is only that.
func (a *absorber) slopesOf(part *value, y layer) (s slopes, ok bool) {
	for _, r := range a.readers[part] {
		switch r.op.(type) {
		case op.LinearGradX:
			if r.in[0] != part || r.in[1] != y.w || s.x != nil {
				return s, false
			}
			s.x = r
		case op.LinearGradW:
			if r.in[0] != part || r.in[1] != y.x {
				return s, false
			}
			s.w = append(s.w, r)
		case op.SumBlocks:
			if r.shape.TotalSize() != y.bias.shape.TotalSize() {
				return s, false
			}
			s.bias = append(s.bias, r)
		default:
			return s, false
		}
	}
	return s, !part.keep
}

// parts are those of the gradient g of an attention: of queries, keys and
// values, nil where nobody asks.
func (a *absorber) parts(g *value) (p [3]*value, ok bool) {
	nq, nk := g.in[1].shape.TotalSize(), g.in[2].shape.TotalSize()
	for _, r := range a.readers[g] {
		part, is := r.op.(op.Part)
		i := slices.Index([]int{0, nq, nq + nk}, part.At)
		if !is || i < 0 || p[i] != nil || !r.shape.Eq(g.in[1+i].shape) {
			return p, false
		}
		p[i] = r
	}
	return p, !g.keep
}

// sumWith returns the sum of x and another value, if that is x's only reader.
func (a *absorber) sumWith(x *value) (sum, other *value) {
	if x.keep || len(a.readers[x]) != 1 {
		return nil, nil
	}
	sum = a.readers[x][0]
	if _, ok := sum.op.(op.Sum); !ok || sum.in[0] == sum.in[1] {
		return nil, nil
	}
	if sum.in[0] == x {
		return sum, sum.in[1]
	}
	return sum, sum.in[0]
}

// become makes v the result of op.
func (v *value) become(o instruction, in ...*value) { v.op, v.in = o, in }

// partOf is a stretch of x.
func partOf(x *value, at int, dims ...int) *value {
	return &value{op: op.Part{At: at, Dims: dims}, in: []*value{x}, shape: dims}
}

// tokenToImage replaces an attention of the tokens to a map and its gradient
// g, if it is one.
func (a *absorber) tokenToImage(g *value, at op.Attention) bool {
	dy, q, k, v, y := g.in[0], g.in[1], g.in[2], g.in[3], g.in[4]
	key, ok1 := layerOf(k)
	val, ok2 := layerOf(v)
	if !ok1 || !ok2 || !a.only(k, y, g) || !a.only(v, y, g) || !cheaper(at, at.NQ) {
		return false
	}
	x, positions, ok := located(key.x)
	if !ok || val.x != x || x.shape[0] != at.NK {
		return false
	}
	p, ok := a.parts(g)
	if !ok || p[1] == nil || p[2] == nil {
		return false
	}
	dk, ok1 := a.slopesOf(p[1], key)
	dv, ok2 := a.slopesOf(p[2], val)
	if !ok1 || !ok2 || dk.x == nil || dv.x == nil {
		return false
	}
	sum, other := a.sumWith(dv.x)
	if sum == nil {
		return false
	}
	n, c := x.shape[0], x.shape[1]
	t := crossing{kernel.Absorbed{Cells: n, Channels: c, Heads: at.Heads, HeadDim: at.HeadDim, Tokens: at.NQ}}
	m := at.Heads * at.NQ
	reads := t.absorb(q, key.w, c)
	both := &value{op: tokenToImage{t}, in: []*value{x, positions, reads}, shape: tensor.Shape{m*c + t.TokenToImageLen()}}
	found, weights := partOf(both, 0, m, c), partOf(both, m*c, t.TokenToImageLen())
	y.become(projectHeads{crossing: t, Bias: true}, found, val.w, val.bias)
	grad := &value{op: tokenToImageGrad{t}, in: []*value{t.absorb(dy, val.w, c), x, positions, reads, found, weights}, shape: tensor.Shape{n*c + m*c}}
	dreads := partOf(grad, n*c, m, c)
	if p[0] != nil {
		p[0].become(projectHeads{crossing: t}, dreads, key.w)
	}
	for _, w := range dk.w {
		w.become(absorbGrad{t}, q, dreads)
	}
	for _, b := range dk.bias { // weights sum to 1, whatever all scores of a token have in common
		b.become(zeros{})
	}
	for _, w := range dv.w {
		w.become(absorbGrad{t}, dy, found)
	}
	for _, b := range dv.bias { // the same for its values
		b.become(op.SumBlocks{Dims: b.shape}, dy)
	}
	// Both ways to the map are one step, and there is nothing to add.
	dk.x.become(op.Part{Dims: dk.x.shape}, grad)
	sum.become(op.Part{Dims: sum.shape}, other)
	return true
}

// imageToToken replaces an attention of a map to the tokens, its projection,
// the sum with the map, and its gradient g, if it is one.
func (a *absorber) imageToToken(g *value, at op.Attention) {
	dy, q, k, v, y := g.in[0], g.in[1], g.in[2], g.in[3], g.in[4]
	query, ok := layerOf(q)
	if !ok || !a.only(q, y, g) || !cheaper(at, at.NK) {
		return
	}
	x, positions, ok := located(query.x)
	if !ok || x.shape[0] != at.NQ {
		return
	}
	next, out, ok := a.updated(y, x)
	if !ok {
		return
	}
	if _, ok := dy.op.(op.LinearGradX); !ok || dy.in[1] != out.w || !a.only(dy, g) {
		return
	}
	dnext := dy.in[0]
	var dout []*value // of the projection's weight
	for _, r := range a.readers[y] {
		_, linear := r.op.(op.Linear)
		_, grad := r.op.(op.LinearGradW)
		switch {
		case r == g || linear:
		case grad && r.in[0] == dnext && r.in[1] == y:
			dout = append(dout, r)
		default:
			return
		}
	}
	p, ok := a.parts(g)
	if !ok || p[0] == nil {
		return
	}
	dq, ok := a.slopesOf(p[0], query)
	if !ok || dq.x == nil {
		return
	}
	n, c := x.shape[0], x.shape[1]
	t := crossing{kernel.Absorbed{Cells: n, Channels: c, Heads: at.Heads, HeadDim: at.HeadDim, Tokens: at.NK}}
	m := at.Heads * at.NK
	turned := &value{op: turn{}, in: []*value{out.w}, shape: tensor.Shape{out.w.shape[1], out.w.shape[0]}}
	keys, known := t.absorb(k, query.w, c), t.absorb(k, query.bias, 1)
	values := t.absorb(v, turned, c)
	// A softmax sums to 1 for each head: the bias goes with the values of one.
	values.op, values.in = absorbRows{crossing: t, Bias: true}, append(values.in, out.bias)
	both := &value{op: imageToToken{t}, in: []*value{x, positions, keys, known, values}, shape: tensor.Shape{n*c + t.ImageToTokenLen()}}
	weights := partOf(both, n*c, t.ImageToTokenLen())
	next.become(op.Part{Dims: next.shape}, both)
	grad := &value{op: imageToTokenGrad{t}, in: []*value{dnext, x, positions, keys, values, weights}, shape: tensor.Shape{n*c + 2*m*c + m}}
	dkeys, dvalues, dknown := partOf(grad, n*c, m, c), partOf(grad, n*c+m*c, m, c), partOf(grad, n*c+2*m*c, m, 1)
	dq.x.become(op.Part{Dims: dq.x.shape}, grad)
	for _, w := range dq.w {
		w.become(absorbGrad{t}, k, dkeys)
	}
	for _, b := range dq.bias {
		b.become(absorbGrad{t}, k, dknown)
	}
	if p[1] != nil {
		bias := &value{op: projectHeads{crossing: t}, in: []*value{dknown, query.bias}, shape: k.shape}
		p[1].become(projectHeads{crossing: t, Add: true}, dkeys, query.w, bias)
	}
	if p[2] != nil {
		p[2].become(projectHeads{crossing: t}, dvalues, turned)
	}
	for _, w := range dout {
		w.become(turn{}, &value{op: absorbGrad{t}, in: []*value{v, dvalues}, shape: turned.shape})
	}
}

// updated returns the sum of the map x and a projection of what its attention
// y found, and the projection.
func (a *absorber) updated(y, x *value) (sum *value, out layer, ok bool) {
	var o *value
	for _, r := range a.readers[y] {
		if _, is := r.op.(op.Linear); is {
			if o != nil {
				return nil, out, false
			}
			o = r
		}
	}
	if o == nil || len(a.readers[o]) != 1 {
		return nil, out, false
	}
	if out, ok = layerOf(o); !ok || out.x != y {
		return nil, out, false
	}
	sum = a.readers[o][0]
	if first, second, is := sum.sum(); !is || first != o || second != x || !x.shape.Eq(sum.shape) {
		return nil, out, false
	}
	return sum, out, true
}
