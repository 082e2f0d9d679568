package kernel

// AttentionGrad is the gradient of [Attention] for Batch prompts. No more scores
// than those of a block of queries and keys exist at a time.
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
		if t.shared() {
			clear(s.rows)
		}
	}
	need("attention grad: out", len(t.Out), t.Batch*t.NQ*c)
	need("attention grad: dout", len(t.DOut), t.Batch*t.NQ*c)
	prompts := 1 // of a task
	if t.shared() {
		prompts = t.Batch // in order
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

// shared reports whether prompts add to the same rows.
func (t *AttentionGrad) shared() bool {
	c := t.Batch * t.Heads * t.HeadDim
	return len(t.Q) != t.NQ*c || len(t.K) != t.NK*c || len(t.V) != t.NK*c
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
	copyRows(g.q, hd, part(t.Q, t.NQ), c, t.NQ, hd)
	copyRows(g.k, hd, part(t.K, t.NK), c, t.NK, hd)
	copyRows(g.v, hd, part(t.V, t.NK), c, t.NK, hd)
	out, do := t.Out[p*t.NQ*c+h*hd:], t.DOut[p*t.NQ*c+h*hd:]
	copyRows(g.do, hd, do, c, t.NQ, hd)
	g.dots(0, t.NQ, out, do, c)
	g.run()
	give := func(dst []float32, rows int, src []float32, wide int) {
		dst = part(dst, rows)
		if !t.shared() {
			copyRows(dst, c, src, wide, rows, hd)
			return
		}
		for i := range rows {
			g.im.add(dst[i*c:][:hd], dst[i*c:][:hd], src[i*wide:])
		}
	}
	give(t.DQ, t.NQ, g.dq, hd)
	give(t.DK, t.NK, g.dk, g.wide)
	give(t.DV, t.NK, g.dv, g.wide)
}
