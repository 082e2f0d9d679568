package kernel

import "math"

const (
	gradQueries  = 128 // queries in hand at a time
	gradKeys     = 256 // most keys that are one block
	gradKeysPart = 128 // keys of a block where there are more
)

// headGrad computes the gradient of the attention of one head, from queries
// and keys that lie together. As in the forward kernel the lanes of vectors
// are queries. No more scores than those of a block of queries with a block of
// keys exist at a time; they are computed again where there are several blocks
// of keys.
//
// The keys are sh rows of sw. Rows of dk and dv are wide apart, the width of
// whole panels, so that products need no edge.
type headGrad struct {
	im             *impl
	hd, wide       int
	sh, sw         int
	parts          []rect // blocks of keys
	relH, relW     []float32
	nq             int
	q, do, dq      []float32 // [nq, hd]
	dot            []float32 // of each query: out·do
	place          []int     // of each query: its place among the keys, for relative positions
	k, v           []float32 // [sh*sw, hd]
	dk, dv         []float32 // [sh*sw, wide]
	dRelH, dRelW   []float32 // sums, which run adds to
	kp, vp         []float32 // tiles of k and v, block by block
	qp, dop, dqp   []float32 // panels [hd, w] of a block of queries: scaled; scaled; so far
	qb, dob        []float32 // its rows as panels of hd columns
	m, l, dd       []float32 // of each of its queries: largest score, sum, -dot/l
	next, corr     []float32 // panels [w]
	rh, rw         []float32 // relative positions: panels [sh, w] and [sw, w]
	drh, drw       []float32 // their slopes
	s, d, t        []float32 // weights, slopes [keys, w]; either as [queries, keys]
	ones           []float32
	long, turned   []float32 // products of queries with a table, and their transpose
	tableH, tableW Packed    // [hd, 2*sh-1], [hd, 2*sw-1]: for products with queries
	backH, backW   Packed    // the same for products with slopes
	pack           []float32
}

// newHeadGrad returns the working memory for up to nq queries, taken from a.
// Tables of relative positions are [2*sh-1, hd] and [2*sw-1, hd], or nil.
func newHeadGrad(im *impl, a *arena, hd, sh, sw, nq int, relH, relW []float32) *headGrad {
	g := &headGrad{im: im, hd: hd, wide: im.padded(hd), sh: sh, sw: sw, relH: relH, relW: relW, nq: nq}
	n := sh * sw
	most := n
	if n > gradKeys {
		most = gradKeysPart
	}
	g.parts = keyBlocks(sh, sw, most)
	block := 0
	for _, b := range g.parts {
		block = max(block, b.rows*b.cols)
	}
	b := im.padded(min(nq, gradQueries))
	var rows [2]int // of the tables
	if relH != nil {
		rows = [2]int{2*sh - 1, 2*sw - 1}
	}
	longest := max(rows[0], rows[1])
	type piece struct {
		to *[]float32
		n  int
	}
	pieces := []piece{
		{&g.q, nq * hd}, {&g.do, nq * hd}, {&g.dq, nq * hd}, {&g.dot, nq}, {&g.k, n * hd}, {&g.v, n * hd},
		{&g.dk, n * g.wide}, {&g.dv, n * g.wide}, {&g.kp, n * hd}, {&g.vp, n * hd},
		{&g.qp, b * hd}, {&g.dop, b * hd}, {&g.dqp, b * hd}, {&g.qb, b * g.wide}, {&g.dob, b * g.wide},
		{&g.m, b}, {&g.l, b}, {&g.dd, b}, {&g.next, im.nr}, {&g.corr, im.nr},
		{&g.s, b * block}, {&g.d, b * block}, {&g.t, b * block},
	}
	var h, w, bh, bw []float32
	if relH != nil {
		pieces = append(pieces, []piece{
			{&g.rh, b * sh}, {&g.rw, b * sw}, {&g.drh, b * sh}, {&g.drw, b * sw}, {&g.ones, sw},
			{&g.long, b * longest}, {&g.turned, b * longest}, {&g.pack, b * g.wide},
			{&h, im.padded(rows[0]) * hd}, {&w, im.padded(rows[1]) * hd}, {&bh, rows[0] * g.wide}, {&bw, rows[1] * g.wide},
		}...)
	}
	total := 0
	for _, p := range pieces {
		total += p.n + cacheLine
	}
	a.reset(total)
	for _, p := range pieces {
		*p.to = a.take(p.n)
	}
	if relH != nil {
		for i := range g.ones {
			g.ones[i] = 1
		}
		g.tableH, g.tableW = packInto(im, h, relH, rows[0], hd, hd, false), packInto(im, w, relW, rows[1], hd, hd, false)
		g.backH, g.backW = packInto(im, bh, relH, hd, rows[0], hd, true), packInto(im, bw, relW, hd, rows[1], hd, true)
	}
	return g
}

// keyBlocks cuts sh rows of sw keys into blocks of up to most: some rows, or
// part of one long row.
func keyBlocks(sh, sw, most int) (b []rect) {
	cols, rows := min(sw, most), max(1, most/sw)
	for y := 0; y < sh; y += rows {
		for x := 0; x < sw; x += cols {
			b = append(b, rect{y, min(rows, sh-y), x, min(cols, sw-x)})
		}
	}
	return b
}

// dots works out dot of queries [i, i+n) from what the attention gave for
// them; rows of out and of do, the slope of that, are ld apart.
func (g *headGrad) dots(i, n int, out, do []float32, ld int) {
	for j := range n {
		o, d := out[j*ld:][:g.hd], do[j*ld:][:g.hd]
		var sum float64
		for c, v := range o {
			sum += float64(v) * float64(d[c])
		}
		g.dot[i+j] = float32(sum)
	}
}

// run computes dq, dk and dv from q, do, dot, k and v.
func (g *headGrad) run() {
	clear(g.dk)
	clear(g.dv)
	for _, b := range g.parts {
		at := (b.y*g.sw + b.x) * g.hd
		g.im.packTiles(g.kp[at:], g.k[at:], b.rows*b.cols, g.hd)
		g.im.packTiles(g.vp[at:], g.v[at:], b.rows*b.cols, g.hd)
	}
	for i := 0; i < g.nq; i += gradQueries {
		g.queries(i, min(gradQueries, g.nq-i))
	}
	g.im.scale(g.dk, g.dk, g.scale())
}

func (g *headGrad) scale() float32 { return float32(1 / math.Sqrt(float64(g.hd))) }

// queries takes queries [i0, i0+n) into account.
func (g *headGrad) queries(i0, n int) {
	g.begin(i0, n)
	g.measure(n)
	g.divide(i0, n)
	for _, b := range g.parts {
		g.block(b, n)
	}
	g.end(i0, n)
}

// panels calls f for each panel of n queries: its first, width and lanes.
func (g *headGrad) panels(n int, f func(i, w, lanes int)) {
	for i := 0; i < n; i += g.im.nr {
		w := g.im.panelWidth(n - i)
		f(i, w, min(w, n-i))
	}
}

// begin packs queries and slopes and works out the relative positions.
func (g *headGrad) begin(i0, n int) {
	im, hd := g.im, g.hd
	packPanels(im, g.qp, g.q[i0*hd:], n, hd)
	packPanels(im, g.dop, g.do[i0*hd:], n, hd)
	all := im.padded(n)
	im.scale(g.qp[:all*hd], g.qp[:all*hd], g.scale()*log2e)
	g.rows(g.qb, g.q[i0*hd:], n, nil)
	clear(g.dqp[:all*hd])
	if g.relH == nil {
		return
	}
	clear(g.drh[:all*g.sh])
	clear(g.drw[:all*g.sw])
	g.positions(g.rh, &g.tableH, i0, n, g.sh, func(place int) int { return place / g.sw })
	g.positions(g.rw, &g.tableW, i0, n, g.sw, func(place int) int { return place % g.sw })
}

// rows packs n rows [n, hd] of queries as the second operand of a product
// that sums over queries, each times its factor.
func (g *headGrad) rows(dst, src []float32, n int, factor []float32) {
	im, hd := g.im, g.hd
	all := im.padded(n)
	clear(dst[:all*g.wide])
	for c := 0; c < hd; c += im.nr {
		w := im.panelWidth(hd - c)
		cols := min(w, hd-c)
		if factor == nil {
			copyRows(dst[c*all:], w, src[c:], hd, n, cols)
			continue
		}
		for i := range n {
			im.scale(dst[c*all+i*w:][:cols], src[i*hd+c:][:cols], factor[i])
		}
	}
}

// positions sets dst to panels [size, w] of what relative positions add to
// the scores of queries [i0, i0+n).
func (g *headGrad) positions(dst []float32, table *Packed, i0, n, size int, at func(place int) int) {
	long := 2*size - 1
	GemmSerial(g.long, long, g.q[i0*g.hd:], g.hd, n, table, Epilogue{})
	clear(dst[:g.im.padded(n)*size])
	g.panels(n, func(i, w, lanes int) {
		for j := range lanes {
			row := g.long[(i+j)*long:][at(g.place[i0+i+j]):][:size]
			for k := range size {
				dst[i*size+k*w+j] = row[size-1-k] * log2e
			}
		}
	})
}

// scores sets s [keys, w] to the scores of a panel of queries, relative
// positions included, and raises m to the largest.
func (g *headGrad) scores(s []float32, b rect, i, w int, m []float32) {
	n, at := b.rows*b.cols, (b.y*g.sw+b.x)*g.hd
	g.im.tiles(n, g.hd, w, g.kp[at:], g.qp[i*g.hd:], s, nil, 0)
	if g.relH != nil {
		g.im.biasMax(s, g.rw[i*g.sw+b.x*w:], g.rh[i*g.sh+b.y*w:], m, b.rows, b.cols, w)
	} else {
		g.im.maxRows(s, m, n, w)
	}
}

// measure finds the largest score and the sum of the weights of each query.
// If there is one block of keys, its weights stay in s.
func (g *headGrad) measure(n int) {
	im := g.im
	g.panels(n, func(i, w, _ int) {
		m, l := g.m[i:][:w], g.l[i:][:w]
		next, corr := g.next[:w], g.corr[:w]
		for j := range w {
			m[j], l[j] = float32(math.Inf(-1)), 0
		}
		for _, b := range g.parts {
			keys := b.rows * b.cols
			s := g.s[i*keys:][:keys*w]
			copy(next, m)
			g.scores(s, b, i, w, next)
			for j, v := range next {
				corr[j] = m[j] - v
			}
			im.exp2(corr, corr)
			im.mulRows(l, corr, 1, w)
			im.expSum(s, next, l, keys, w)
			copy(m, next)
		}
	})
}

// divide takes the sums into the slopes: weights are used undivided.
func (g *headGrad) divide(i0, n int) {
	im, hd := g.im, g.hd
	g.panels(n, func(i, w, lanes int) {
		l, dd := g.l[i:][:w], g.dd[i:][:w]
		clear(dd)
		for j := range w {
			l[j] = 1 / l[j]
		}
		for j := range lanes {
			dd[j] = -g.dot[i0+i+j] * l[j]
		}
		im.mulRows(g.dop[i*hd:][:hd*w], l, hd, w)
	})
	g.rows(g.dob, g.do[i0*hd:], n, g.l)
}

// block takes a block of keys into account.
func (g *headGrad) block(b rect, n int) {
	im, hd := g.im, g.hd
	keys, first := b.rows*b.cols, b.y*g.sw+b.x
	g.panels(n, func(i, w, _ int) {
		s, d := g.s[i*keys:][:keys*w], g.d[i*keys:][:keys*w]
		if len(g.parts) > 1 {
			copy(g.next[:w], g.m[i:])
			g.scores(s, b, i, w, g.next[:w])
			im.expSum(s, g.m[i:][:w], g.corr[:w], keys, w)
		}
		im.tiles(keys, hd, w, g.vp[first*hd:], g.dop[i*hd:], d, g.dd[i:][:w], 0)
		im.mul(d, d, s)
		dq := g.dqp[i*hd:]
		for c := 0; c < hd; {
			r := im.share(hd - c)
			im.tileOf(r, w)(keys, g.k[first*hd+c:], hd, d, dq[c*w:], w, dq[c*w:], w)
			c += r
		}
		if g.relH != nil {
			for y := range b.rows {
				row := d[y*b.cols*w:][:b.cols*w]
				dw, dh := g.drw[i*g.sw+b.x*w:][:len(row)], g.drh[i*g.sh+(b.y+y)*w:][:w]
				im.add(dw, dw, row)
				im.tileOf(1, w)(b.cols, g.ones, 1, row, dh, w, dh, w)
			}
		}
	})
	g.keys(g.dv, g.dob, g.s, n, first, keys)
	g.keys(g.dk, g.qb, g.d, n, first, keys)
}

// keys adds the product of x, panels [keys, w], with rows of queries to the
// keys [first, first+keys) of dst.
func (g *headGrad) keys(dst, rows, x []float32, n, first, keys int) {
	im, all := g.im, g.im.padded(n)
	g.panels(n, func(i, w, _ int) { im.transpose(g.t[i*keys:], keys, x[i*keys:], w, keys, w) })
	for j := 0; j < keys; {
		r := im.share(keys - j)
		for c := 0; c < g.hd; c += im.nr {
			sum := dst[(first+j)*g.wide+c:]
			im.tileOf(r, im.panelWidth(g.hd-c))(all, g.t[j:], keys, rows[c*all:], sum, g.wide, sum, g.wide)
		}
		j += r
	}
}

// end stores the queries' gradients and those of the tables.
func (g *headGrad) end(i0, n int) {
	im, hd := g.im, g.hd
	all := im.padded(n)
	im.scale(g.dqp[:all*hd], g.dqp[:all*hd], g.scale())
	g.panels(n, func(i, w, lanes int) { im.transpose(g.dq[(i0+i)*hd:], hd, g.dqp[i*hd:], w, hd, lanes) })
	if g.relH != nil {
		rows := packInto(im, g.pack[:g.wide*n], g.q[i0*hd:], hd, n, hd, true)
		g.table(g.dRelH, g.drh, &g.backH, &rows, i0, n, g.sh, func(place int) int { return place / g.sw })
		g.table(g.dRelW, g.drw, &g.backW, &rows, i0, n, g.sw, func(place int) int { return place % g.sw })
	}
}

// table adds the gradient of a table to sum, and that of its queries to dq.
func (g *headGrad) table(sum, slopes []float32, back, rows *Packed, i0, n, size int, at func(place int) int) {
	long, hd := 2*size-1, g.hd
	d := g.long[:n*long]
	clear(d)
	g.panels(n, func(i, w, lanes int) {
		for j := range lanes {
			row := d[(i+j)*long:][at(g.place[i0+i+j]):][:size]
			for k := range size {
				row[size-1-k] = slopes[i*size+k*w+j]
			}
		}
	})
	dq := g.dq[i0*hd:]
	GemmSerial(dq, hd, d, long, n, back, Epilogue{Add: dq, LdAdd: hd})
	g.im.transpose(g.turned, n, d, long, n, long)
	GemmSerial(sum, hd, g.turned, n, long, rows, Epilogue{Add: sum, LdAdd: hd})
}
