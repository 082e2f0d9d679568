package kernel

import "math"

// RelPosGrad is the gradient of [RelPosAttention]. No more scores than those
// of a block of queries and keys exist at a time.
//
// QKV, Grid, RelH, RelW and Pad are what RelPosAttention got, Out is what it
// gave, DOut its gradient. DQKV, DRelH, DRelW and DPad have the lengths of
// QKV, RelH, RelW and Pad and are overwritten; DPad may be nil. The query's
// part of DPad is 0: the original drops what padding tokens ask for.
type RelPosGrad struct {
	Grid                     Grid
	QKV, RelH, RelW, Pad     []float32
	Out, DOut                []float32
	DQKV, DRelH, DRelW, DPad []float32
}

// windowGroups is how many sums of the tables' gradients a head has at most.
const windowGroups = 8

// Run computes the gradients.
func (t *RelPosGrad) Run() { t.run(active) }

func (t *RelPosGrad) run(im *impl) {
	g := t.Grid
	c, hd := g.Heads*g.HeadDim, g.HeadDim
	sh, sw := g.H, g.W
	if g.Window > 0 {
		sh, sw = g.Window, g.Window
	}
	need("attention grad: qkv", len(t.QKV), g.H*g.W*3*c)
	need("attention grad: dqkv", len(t.DQKV), g.H*g.W*3*c)
	need("attention grad: out", len(t.Out), g.H*g.W*c)
	need("attention grad: dout", len(t.DOut), g.H*g.W*c)
	for _, n := range []int{len(t.RelH), len(t.DRelH)} {
		need("attention grad: relH", n, (2*sh-1)*hd)
	}
	for _, n := range []int{len(t.RelW), len(t.DRelW)} {
		need("attention grad: relW", n, (2*sw-1)*hd)
	}
	winX := (g.W + sw - 1) / sw
	windows := winX * ((g.H + sh - 1) / sh)
	groups := min(windows, windowGroups)
	// Sums of a head's group of windows: relH, relW, pad's key and value.
	part := (2*sh-1)*hd + (2*sw-1)*hd + 2*hd
	sums := make([]float32, g.Heads*groups*part)
	Parallel(g.Heads*groups, func(i int) {
		h, grp := i/groups, i%groups
		w := newRelPosWindow(im, t, sh, sw, h, sums[i*part:][:part])
		for k := grp; k < windows; k += groups {
			w.run(k/winX*sh, k%winX*sw)
		}
		arenas.put(w.arena)
	})
	clear(t.DRelH)
	clear(t.DRelW)
	clear(t.DPad)
	for i := range g.Heads * groups {
		s, h := sums[i*part:][:part], i/groups
		add := func(dst []float32) {
			im.add(dst, dst, s[:len(dst)])
			s = s[len(dst):]
		}
		add(t.DRelH[:(2*sh-1)*hd])
		add(t.DRelW[:(2*sw-1)*hd])
		if t.DPad != nil {
			add(t.DPad[c+h*hd:][:hd])
			add(t.DPad[2*c+h*hd:][:hd])
		}
	}
}

// relPosWindow is the working memory of one head's windows.
type relPosWindow struct {
	*RelPosGrad
	im         *impl
	arena      *arena
	s          *gradScratch
	sh, sw, h  int
	sum        []float32
	at         []int     // of each query: its token in the picture, its place in the window
	q, out, do []float32 // [queries, hd]
	dq         []float32
	k, v       []float32 // [sh*sw, hd]
	dk, dv     []float32
	rh, rw     []float32 // [block, 2*sh-1] and [block, 2*sw-1]: products with the tables
	pack       []float32
	turned     []float32
}

func newRelPosWindow(im *impl, t *RelPosGrad, sh, sw, h int, sum []float32) *relPosWindow {
	hd, n := t.Grid.HeadDim, sh*sw
	long := max(2*sh-1, 2*sw-1)
	bq, bk := min(n, gradQueries), min(n, gradKeys)
	pack := max(im.padded(long)*hd, im.padded(hd)*max(long, bq))
	buf := make([]float32, 8*n*hd+2*bq*long+pack+bq*long)
	take := func(n int) []float32 {
		x := buf[:n:n]
		buf = buf[n:]
		return x
	}
	a := arenas.get()
	return &relPosWindow{
		RelPosGrad: t, im: im, arena: a, s: newGradScratch(im, a, bq, bk, hd), sh: sh, sw: sw, h: h, sum: sum,
		q: take(n * hd), out: take(n * hd), do: take(n * hd), dq: take(n * hd),
		k: take(n * hd), v: take(n * hd), dk: take(n * hd), dv: take(n * hd),
		rh: take(bq * long), rw: take(bq * long), turned: take(bq * long), pack: take(pack),
	}
}

// run does the window whose first token is (x0, y0).
func (w *relPosWindow) run(y0, x0 int) {
	g, hd, n := w.Grid, w.Grid.HeadDim, w.sh*w.sw
	c := g.Heads * hd
	w.gather(y0, x0)
	clear(w.dk)
	clear(w.dv)
	clear(w.dq)
	scale := float32(1 / math.Sqrt(float64(hd)))
	queries := len(w.at) / 2
	for i := 0; i < queries; i += gradQueries {
		m := min(gradQueries, queries-i)
		qb, db := w.q[i*hd:], w.do[i*hd:]
		w.product(w.rh, qb, w.RelH, m, 2*w.sh-1)
		w.product(w.rw, qb, w.RelW, m, 2*w.sw-1)
		w.s.begin(m, w.out[i*hd:], db, hd)
		for j := 0; j < n; j += gradKeys {
			l := min(gradKeys, n-j)
			w.score(i, m, j, l, scale)
			w.s.meet(m, l)
		}
		// From here on the slopes of the products take their places, but where
		// scores are computed again they are still needed: keep them apart.
		dh, dw := make([]float32, m*(2*w.sh-1)), make([]float32, m*(2*w.sw-1))
		for j := 0; j < n; j += gradKeys {
			l := min(gradKeys, n-j)
			if n > gradKeys {
				w.score(i, m, j, l, scale)
			}
			w.s.weigh(m, l)
			w.s.values(w.dv[j*hd:], hd, db, hd, m, l)
			w.s.slopes(db, hd, m, w.v[j*hd:], hd, l)
			w.spread(dh, dw, i, m, j, l)
			w.s.queries(w.dq[i*hd:], hd, w.k[j*hd:], hd, m, l, scale)
			w.s.keys(w.dk[j*hd:], hd, qb, hd, m, l)
		}
		at := w.table(w.sum, dh, w.RelH, i, m, 2*w.sh-1)
		w.table(at, dw, w.RelW, i, m, 2*w.sw-1)
	}
	for i := range queries {
		copy(w.DQKV[w.at[2*i]*3*c+w.h*hd:][:hd], w.dq[i*hd:])
	}
	dpad := w.sum[len(w.sum)-2*hd:]
	for i := range n {
		y, x := y0+i/w.sw, x0+i%w.sw
		dk, dv := dpad[:hd], dpad[hd:]
		if y < g.H && x < g.W {
			row := w.DQKV[(y*g.W+x)*3*c+w.h*hd:]
			copy(row[c:][:hd], w.dk[i*hd:])
			copy(row[2*c:][:hd], w.dv[i*hd:])
			continue
		}
		for d := range hd {
			dk[d] += w.dk[i*hd+d]
			dv[d] += w.dv[i*hd+d]
		}
	}
}

// gather copies the window's tokens to rows that lie together.
func (w *relPosWindow) gather(y0, x0 int) {
	g, hd := w.Grid, w.Grid.HeadDim
	c := g.Heads * hd
	w.at = w.at[:0]
	for i := range w.sh * w.sw {
		y, x := y0+i/w.sw, x0+i%w.sw
		k, v := w.k[i*hd:][:hd], w.v[i*hd:][:hd]
		if y >= g.H || x >= g.W {
			clear(k)
			clear(v)
			if w.Pad != nil {
				copy(k, w.Pad[c+w.h*hd:])
				copy(v, w.Pad[2*c+w.h*hd:])
			}
			continue
		}
		at := y*g.W + x
		row := w.QKV[at*3*c+w.h*hd:]
		copy(k, row[c:])
		copy(v, row[2*c:])
		q := len(w.at) / 2 * hd
		copy(w.q[q:][:hd], row)
		copy(w.out[q:][:hd], w.Out[at*c+w.h*hd:])
		copy(w.do[q:][:hd], w.DOut[at*c+w.h*hd:])
		w.at = append(w.at, at, i)
	}
}

// product sets dst [m, n] to the products of queries with a table's rows.
func (w *relPosWindow) product(dst, q, table []float32, m, n int) {
	hd := w.Grid.HeadDim
	p := packInto(w.im, w.pack[:w.im.padded(n)*hd], table, n, hd, hd, false)
	GemmSerial(dst, n, q, hd, m, &p, Epilogue{})
}

// score sets the scores of queries [i, i+m) and keys [j, j+l).
func (w *relPosWindow) score(i, m, j, l int, scale float32) {
	hd := w.Grid.HeadDim
	w.s.score(w.q[i*hd:], hd, m, w.k[j*hd:], hd, l, scale)
	for a := range m {
		row := w.s.s[a*l:][:l]
		qy, qx := w.at[2*(i+a)+1]/w.sw, w.at[2*(i+a)+1]%w.sw
		rh, rw := w.rh[a*(2*w.sh-1):], w.rw[a*(2*w.sw-1):]
		ky, kx := j/w.sw, j%w.sw
		for b := range row {
			row[b] += log2e * (rh[qy-ky+w.sh-1] + rw[qx-kx+w.sw-1])
			if kx++; kx == w.sw {
				ky, kx = ky+1, 0
			}
		}
	}
}

// spread adds the slopes of the scores to those of the products with the
// tables.
func (w *relPosWindow) spread(dh, dw []float32, i, m, j, l int) {
	for a := range m {
		row := w.s.d[a*l:][:l]
		qy, qx := w.at[2*(i+a)+1]/w.sw, w.at[2*(i+a)+1]%w.sw
		h, v := dh[a*(2*w.sh-1):], dw[a*(2*w.sw-1):]
		ky, kx := j/w.sw, j%w.sw
		for _, s := range row {
			h[qy-ky+w.sh-1] += s
			v[qx-kx+w.sw-1] += s
			if kx++; kx == w.sw {
				ky, kx = ky+1, 0
			}
		}
	}
}

// table adds the gradient of a table [n, hd] to sum and that of its queries
// to dq, and returns what follows the table in sum.
func (w *relPosWindow) table(sum, d, table []float32, i, m, n int) []float32 {
	hd := w.Grid.HeadDim
	p := packInto(w.im, w.pack[:w.im.padded(hd)*n], table, hd, n, hd, true)
	dq := w.dq[i*hd:]
	GemmSerial(dq, hd, d, n, m, &p, Epilogue{Add: dq, LdAdd: hd})
	w.im.transpose(w.turned, m, d, n, m, n)
	p = packInto(w.im, w.pack[:w.im.padded(hd)*m], w.q[i*hd:], hd, m, hd, true)
	GemmSerial(sum, hd, w.turned, m, n, &p, Epilogue{Add: sum, LdAdd: hd})
	return sum[n*hd:]
}
