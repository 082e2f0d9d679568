package kernel

import "math"

// AttentionGrad is the gradient of [Attention] for Batch prompts. It keeps
// scores of a block of queries and keys only, and computes them again where
// there are several blocks of keys.
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

const (
	gradQueries = 128 // queries of a block
	gradKeys    = 256 // keys of a block
)

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
	if len(t.Q) == t.Batch*t.NQ*c && len(t.K) == t.Batch*t.NK*c && len(t.V) == t.Batch*t.NK*c {
		Parallel(t.Batch*t.Heads, func(i int) { t.head(im, i/t.Heads, i%t.Heads) })
		return
	}
	// Prompts add to the same rows: in order.
	Parallel(t.Heads, func(h int) {
		for p := range t.Batch {
			t.head(im, p, h)
		}
	})
}

// head does one head of one prompt.
func (t *AttentionGrad) head(im *impl, p, h int) {
	c, hd := t.Heads*t.HeadDim, t.HeadDim
	part := func(x []float32, rows int) []float32 {
		at := h * hd
		if len(x) > rows*c {
			at += p * rows * c
		}
		return x[at:]
	}
	q, dq := part(t.Q, t.NQ), part(t.DQ, t.NQ)
	k, dk := part(t.K, t.NK), part(t.DK, t.NK)
	v, dv := part(t.V, t.NK), part(t.DV, t.NK)
	out, dout := t.Out[p*t.NQ*c+h*hd:], t.DOut[p*t.NQ*c+h*hd:]

	bq, bk := min(t.NQ, gradQueries), min(t.NK, gradKeys)
	a := arenas.get()
	s := newGradScratch(im, a, bq, bk, hd)
	scale := float32(1 / math.Sqrt(float64(hd)))
	for i := 0; i < t.NQ; i += bq {
		n := min(bq, t.NQ-i)
		qb, db := q[i*c:], dout[i*c:]
		s.begin(n, out[i*c:], db, c)
		for j := 0; j < t.NK; j += bk {
			m := min(bk, t.NK-j)
			s.score(qb, c, n, k[j*c:], c, m, scale)
			s.meet(n, m)
		}
		for j := 0; j < t.NK; j += bk {
			m := min(bk, t.NK-j)
			if t.NK > bk {
				s.score(qb, c, n, k[j*c:], c, m, scale)
			}
			s.weigh(n, m)
			s.values(dv[j*c:], c, db, c, n, m)
			s.slopes(db, c, n, v[j*c:], c, m)
			s.queries(dq[i*c:], c, k[j*c:], c, n, m, scale)
			s.keys(dk[j*c:], c, qb, c, n, m)
		}
	}
	arenas.put(a)
}

// gradScratch is the working memory of the gradient of one block of queries
// and keys of one head.
type gradScratch struct {
	im           *impl
	hd           int
	s, d, st     []float32 // scores, then weights; slopes; either transposed
	pack         []float32 // a packed operand
	top, sum, dd []float32 // of each query: largest score, sum of exponentials, out·dout
}

func newGradScratch(im *impl, a *arena, bq, bk, hd int) *gradScratch {
	pack := max(im.padded(bk)*hd, im.padded(hd)*max(bk, bq))
	a.reset(3*bq*bk + pack + 3*bq)
	return &gradScratch{
		im: im, hd: hd, s: a.take(bq * bk), d: a.take(bq * bk), st: a.take(bq * bk), pack: a.take(pack),
		top: a.take(bq), sum: a.take(bq), dd: a.take(bq),
	}
}

// begin starts a block of n queries.
func (s *gradScratch) begin(n int, out, dout []float32, ld int) {
	for i := range n {
		s.top[i], s.sum[i] = float32(math.Inf(-1)), 0
		var d float64
		for j, v := range out[i*ld:][:s.hd] {
			d += float64(v) * float64(dout[i*ld+j])
		}
		s.dd[i] = float32(d)
	}
}

// score sets the scores [n, m] of queries and keys, in units of log 2.
func (s *gradScratch) score(q []float32, ldq, n int, k []float32, ldk, m int, scale float32) {
	p := packInto(s.im, s.pack[:s.im.padded(m)*s.hd], k, m, s.hd, ldk, false)
	GemmSerial(s.s, m, q, ldq, n, &p, Epilogue{})
	s.im.scale(s.s[:n*m], s.s[:n*m], scale*log2e)
}

// meet takes the scores into the largest and the sums. The scores stay.
func (s *gradScratch) meet(n, m int) {
	for i := range n {
		row := s.s[i*m:][:m]
		top := s.top[i]
		for _, v := range row {
			top = max(top, v)
		}
		e := s.d[:m]
		for j, v := range row {
			e[j] = v - top
		}
		s.im.exp2(e, e)
		var sum float32
		for _, v := range e {
			sum += v
		}
		if s.sum[i] > 0 {
			sum += s.sum[i] * exp2(s.top[i]-top)
		}
		s.top[i], s.sum[i] = top, sum
	}
}

// weigh turns scores into weights.
func (s *gradScratch) weigh(n, m int) {
	for i := range n {
		row, top := s.s[i*m:][:m], s.top[i]
		for j, v := range row {
			row[j] = v - top
		}
		s.im.exp2(row, row)
		s.im.scale(row, row, 1/s.sum[i])
	}
}

// values adds weightsᵀ·dout to dv.
func (s *gradScratch) values(dv []float32, ld int, dout []float32, ldd, n, m int) {
	s.im.transpose(s.st, n, s.s, m, n, m)
	p := packInto(s.im, s.pack[:s.im.padded(s.hd)*n], dout, s.hd, n, ldd, true)
	GemmSerial(dv, ld, s.st, n, m, &p, Epilogue{Add: dv, LdAdd: ld})
}

// slopes sets the gradient of the scores, before their scale.
func (s *gradScratch) slopes(dout []float32, ldd, n int, v []float32, ldv, m int) {
	p := packInto(s.im, s.pack[:s.im.padded(m)*s.hd], v, m, s.hd, ldv, false)
	GemmSerial(s.d, m, dout, ldd, n, &p, Epilogue{})
	for i := range n {
		w, row, dd := s.s[i*m:][:m], s.d[i*m:][:m], s.dd[i]
		for j := range row {
			row[j] = w[j] * (row[j] - dd)
		}
	}
}

// queries adds slopes·k*scale to dq, after which the slopes are scaled.
func (s *gradScratch) queries(dq []float32, ld int, k []float32, ldk, n, m int, scale float32) {
	s.im.scale(s.d[:n*m], s.d[:n*m], scale)
	p := packInto(s.im, s.pack[:s.im.padded(s.hd)*m], k, s.hd, m, ldk, true)
	GemmSerial(dq, ld, s.d, m, n, &p, Epilogue{Add: dq, LdAdd: ld})
}

// keys adds slopesᵀ·q to dk; the slopes are scaled already.
func (s *gradScratch) keys(dk []float32, ld int, q []float32, ldq, n, m int) {
	s.im.transpose(s.st, n, s.d, m, n, m)
	p := packInto(s.im, s.pack[:s.im.padded(s.hd)*n], q, s.hd, n, ldq, true)
	GemmSerial(dk, ld, s.st, n, m, &p, Epilogue{Add: dk, LdAdd: ld})
}
