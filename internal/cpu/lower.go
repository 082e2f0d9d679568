package cpu

import (
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// project is a value that multiplies x with a fixed weight, as the patterns
// see it.
type project struct{ x, w, bias *value } // bias is nil without one

// projects reports whether v is a linear layer with fixed weights.
func (v *value) projects() (project, bool) {
	if _, ok := v.op.(op.Linear); !ok || !v.in[1].fixed() {
		return project{}, false
	}
	p := project{x: v.in[0], w: v.in[1]}
	if len(v.in) > 2 {
		if p.bias = v.in[2]; !p.bias.fixed() {
			return project{}, false
		}
	}
	return p, true
}

// sum reports whether v is x + y.
func (v *value) sum() (x, y *value, ok bool) {
	if _, ok := v.op.(op.Add); !ok {
		return nil, nil, false
	}
	return v.in[0], v.in[1], true
}

// projectAhead takes the known part out of projections: W(x+p) = Wx + Wp,
// where Wp is computed once if p is a parameter, and added in the product's
// epilogue. It does so where nobody else reads the sum x+p, which then is not
// made.
func (l *lowered) projectAhead() {
	other := map[*value]bool{} // read by something else
	for _, v := range l.order {
		_, ok := v.projects()
		for i, x := range v.in {
			other[x] = other[x] || !ok || i > 0
		}
	}
	l.each(func(v *value) {
		at, ok := v.projects()
		if !ok || at.x.keep || other[at.x] || at.w.format != graph.Float32 {
			return
		}
		x, p, ok := at.x.sum()
		if !ok || !p.parameter() {
			return
		}
		n, k := v.shape[1], at.x.shape[1]
		v.op = linear{N: n, K: k, Bias: at.bias != nil, Add: true}
		v.in = []*value{x, packed(at.w, n, k)}
		if at.bias != nil {
			v.in = append(v.in, at.bias)
		}
		v.in = append(v.in, projected(at.w, p, n, k))
	})
}

// choose makes the steps of an op whose weights are fixed, so that they are
// packed ahead. Ops whose weights change run as they are.
func choose(v *value) {
	switch o := v.op.(type) {
	case op.Linear:
		if l, ok := v.projects(); ok {
			n, k := v.shape[1], l.x.shape[1]
			v.op = linear{N: n, K: k, Format: l.w.format, Bias: l.bias != nil}
			v.in[1] = packedAs(l.w, n, k)
		}
	case op.Conv:
		if v.in[1].fixed() {
			chooseConv(v, o)
		}
	case op.Upscale2x2:
		if w, b := v.in[1], v.in[2]; w.fixed() && b.fixed() {
			v.op = upscale{Batch: o.Batch, H: o.H, W: o.W, In: w.shape[0], Out: w.shape[1]}
			v.in = []*value{v.in[0], packedQuarters(w, w.shape[0], w.shape[1]), fourTimes(b, w.shape[1], 1)}
		}
	}
}

// fuseEpilogues makes activations and sums part of the product before them,
// if nobody else reads its result.
func (l *lowered) fuseEpilogues() {
	uses := l.uses()
	l.each(func(v *value) {
		if len(v.in) == 0 || uses[v.in[0]] != 1 {
			return
		}
		x := v.in[0]
		switch v.op.(type) {
		case op.GELU:
			if c, ok := x.op.(conv3x3); ok && c.Act == kernel.ActNone {
				c.Act = kernel.ActGELU
				v.op, v.in = c, x.in
			}
			if p, ok := x.op.(linear); ok && p.Act == kernel.ActNone && !p.Add {
				p.Act = kernel.ActGELU
				v.op, v.in = p, x.in
			}
			if u, ok := x.op.(upscale); ok && !u.GELU {
				u.GELU = true
				v.op, v.in = u, x.in
			}
		case op.ReLU:
			if c, ok := x.op.(conv3x3); ok && c.Act == kernel.ActNone {
				c.Act = kernel.ActReLU
				v.op, v.in = c, x.in
			}
			if p, ok := x.op.(linear); ok && p.Act == kernel.ActNone && !p.Add {
				p.Act = kernel.ActReLU
				v.op, v.in = p, x.in
			}
			if c, ok := x.op.(winograd); ok && !c.ReLU {
				c.ReLU = true
				v.op, v.in = c, x.in
			}
		case op.Add:
			if p, ok := x.op.(linear); ok && !p.Add {
				p.Add = true
				v.op, v.in = p, append(append([]*value(nil), x.in...), v.in[1])
			}
		}
	})
}

// inPlace is the index of the input that v may overwrite, or -1.
func (v *value) inPlace() int {
	if p, ok := v.op.(graph.InPlacer); ok {
		return p.InPlace()
	}
	return -1
}
