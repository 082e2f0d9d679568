package kernel

// AttentionGrad is the gradient of [Attention] for Batch prompts. No
// more scores than those of a block of queries and keys exist at a time.
//
// Rows are [n, Heads*HeadDim]. Q has Batch*NQ rows, or NQ that all prompts
// share; K and V have Batch*NK or NK. Out and DOut are the attention's result
// and its gradient, Batch*NQ rows. DQ, DK and DV have the lengths of Q, K and
// V and are overwritten.
type AttentionGrad struct {
	Batch, Heads, HeadDim, NQ, NK int

	Q, K, V, Out, DOut []float32
	DQ, DK, DV         []float32
}

// Run computes DQ, DK and DV.
func (t *AttentionGrad) Run() { t.run(active) }

func (t *AttentionGrad) run(im *impl) {
	c := t.Heads * t.HeadDim
	for _, s := range []struct {
		name     string
		rows, at []float32
		n        int
	}{{"q", t.DQ, t.Q, t.NQ}, {"k", t.DK, t.K, t.NK}, {"v", t.DV, t.V, t.NK}} {
		if len(s.at) != s.n*c && len(s.at) != t.Batch*s.n*c || len(s.rows) != len(s.at) {
			panic("kernel: attention grad: " + s.name + " does not fit")
		}
		clear(s.rows)
	}
	need("attention grad: out", len(t.Out), t.Batch*t.NQ*c)
	need("attention grad: dout", len(t.DOut), t.Batch*t.NQ*c)
	prompts := 1 // of a task
	if len(t.Q) != t.Batch*t.NQ*c || len(t.K) != t.Batch*t.NK*c || len(t.V) != t.Batch*t.NK*c {
		prompts = t.Batch // they add to the same rows: in order
	}
	Parallel(t.Batch/prompts*t.Heads, func(i int) {
		a := arenas.get()
		g := newHeadGrad(im, a, t.HeadDim, t.NK, 1, t.NQ, nil, nil)
		for p := range prompts {
			t.head(g, i/t.Heads*prompts+p, i%t.Heads)
		}
		arenas.put(a)
	})
}

// head does one head of one prompt.
func (t *AttentionGrad) head(g *headGrad, p, h int) {
	c, hd := t.Heads*t.HeadDim, t.HeadDim
	part := func(x []float32, rows int) []float32 {
		at := h * hd
		if len(x) > rows*c {
			at += p * rows * c
		}
		return x[at:]
	}
	q, out, do := part(t.Q, t.NQ), t.Out[p*t.NQ*c+h*hd:], t.DOut[p*t.NQ*c+h*hd:]
	for i := range t.NQ {
		g.query(i, q[i*c:], out[i*c:], do[i*c:])
	}
	k, v := part(t.K, t.NK), part(t.V, t.NK)
	for i := range t.NK {
		copy(g.k[i*hd:][:hd], k[i*c:])
		copy(g.v[i*hd:][:hd], v[i*c:])
	}
	g.run()
	add := func(dst []float32, rows int, src []float32, wide int) {
		dst = part(dst, rows)
		for i := range rows {
			to := dst[i*c:][:hd]
			for j, v := range src[i*wide:][:hd] {
				to[j] += v
			}
		}
	}
	add(t.DQ, t.NQ, g.dq, hd)
	add(t.DK, t.NK, g.dk, g.wide)
	add(t.DV, t.NK, g.dv, g.wide)
}
