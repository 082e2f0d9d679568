package kernel

import (
	"fmt"
	"math"
)

// Attention sets dst [nq, heads*headDim] to softmax(q·kᵀ/sqrt(headDim))·v,
// head by head: q [nq, heads*headDim], k and v [nk, heads*headDim], the heads
// side by side. dst must not overlap the others.
func Attention(dst, q, k, v []float32, heads, headDim, nq, nk int) {
	plainAttention(active, dst, q, k, v, heads, headDim, nq, nk)
}

func plainAttention(im *impl, dst, q, k, v []float32, heads, headDim, nq, nk int) {
	c := heads * headDim
	if heads <= 0 || headDim <= 0 || nk <= 0 {
		panic(fmt.Sprintf("kernel: attention: %d heads of %d, %d keys", heads, headDim, nk))
	}
	need("attention: dst", len(dst), nq*c)
	need("attention: q", len(q), nq*c)
	need("attention: k", len(k), nk*c)
	need("attention: v", len(v), nk*c)
	if nq <= 0 {
		return
	}
	t := attnTasks.get()
	*t = attnTask{
		im: im, dst: dst, q: q, k: k, v: v, ldq: c, ldk: c, ldo: c, hd: headDim,
		h: nk, w: 1, sh: nk, sw: 1, nq: nq, plain: true,
	}
	t.qTasks = (nq + queriesPerTask - 1) / queriesPerTask
	t.heads = heads
	run(heads*t.qTasks, t)
	t.free()
}

// Grid is the shape of an encoder block's attention: H x W tokens, cut into
// windows of Window x Window, or not cut if Window is 0.
type Grid struct{ H, W, Window, Heads, HeadDim int }

// RelPosAttention sets dst [H*W, Heads*HeadDim] to the attention of SAM's
// image encoder, with decomposed relative positions:
//
//	softmax(q·kᵀ/sqrt(HeadDim) + q·RelH[qy-ky+SH-1] + q·RelW[qx-kx+SW-1])·v
//
// Tokens are in picture order throughout. qkv [H*W, 3*Heads*HeadDim] holds q,
// k and v, each [Heads, HeadDim]. relH is [2*SH-1, HeadDim] and relW
// [2*SW-1, HeadDim], where SH and SW are Window, or H and W without windows;
// both nil: no relative positions.
//
// The original pads the picture with zeros to a whole number of windows before
// the projection to q, k and v: pad [3*Heads*HeadDim], the bias of that
// projection (nil: zeros), is what the padding tokens have. They are keys and
// values like any other. dst must not overlap the others.
//
// Scores exist only for a block of keys and a panel of queries at a time; the
// softmax is kept up to date block by block.
//
// Source: image_encoder.py, Attention, window_partition and
// add_decomposed_rel_pos (segment-anything dca509f). Relative positions:
// MViTv2, arXiv:2112.01526.
func RelPosAttention(dst, qkv []float32, g Grid, relH, relW, pad []float32) {
	relPosAttention(active, dst, qkv, g, relH, relW, pad)
}

func relPosAttention(im *impl, dst, qkv []float32, g Grid, relH, relW, pad []float32) {
	c := g.Heads * g.HeadDim
	if g.H <= 0 || g.W <= 0 || g.Window < 0 || g.Heads <= 0 || g.HeadDim <= 0 {
		panic(fmt.Sprintf("kernel: attention: grid %+v", g))
	}
	t := attnTasks.get()
	*t = attnTask{
		im: im, dst: dst, q: qkv, k: qkv[min(c, len(qkv)):], v: qkv[min(2*c, len(qkv)):],
		ldq: 3 * c, ldk: 3 * c, ldo: c, heads: g.Heads, hd: g.HeadDim,
		h: g.H, w: g.W, sh: g.H, sw: g.W, relH: relH, relW: relW,
	}
	if g.Window > 0 {
		t.sh, t.sw = g.Window, g.Window
	}
	need("attention: dst", len(dst), g.H*g.W*c)
	need("attention: qkv", len(qkv), g.H*g.W*3*c)
	if (relH == nil) != (relW == nil) {
		panic("kernel: attention: relative positions for one axis only")
	}
	if relH != nil {
		need("attention: relH", len(relH), (2*t.sh-1)*g.HeadDim)
		need("attention: relW", len(relW), (2*t.sw-1)*g.HeadDim)
	}
	if pad != nil {
		need("attention: pad", len(pad), 3*c)
		t.padK, t.padV = pad[c:2*c], pad[2*c:3*c]
	}
	t.winX = (g.W + t.sw - 1) / t.sw
	t.winY = (g.H + t.sh - 1) / t.sh
	t.qTasks = (t.sh*t.sw + queriesPerTask - 1) / queriesPerTask
	run(t.winX*t.winY*g.Heads*t.qTasks, t)
	t.free()
}

const (
	queriesPerTask = 512 // queries of one head that a task takes
	keysPerBlock   = 128 // keys whose scores exist at a time
)

// attnTask is one attention. A piece of it is a head, a window and up to
// queriesPerTask of the window's queries.
type attnTask struct {
	im            *impl
	dst           []float32
	q, k, v       []float32
	ldq, ldk, ldo int
	heads, hd     int

	h, w       int // tokens of the picture that keys come from
	sh, sw     int // tokens of a window; h, w if there are no windows
	winY, winX int
	relH, relW []float32
	padK, padV []float32

	plain  bool // queries are a list of nq, apart from the keys
	nq     int
	qTasks int
}

var attnTasks freeList[attnTask]

func (t *attnTask) free() {
	*t = attnTask{}
	attnTasks.put(t)
}

// A piece is the state of a running piece of an attnTask.
type piece struct {
	*attnTask
	head   int
	y0, x0 int // the window's first token
	qx     int // queries in a row of the window
	q0, n  int // first query in the window, number of queries

	qp         []float32 // queries: panels [hd, w]
	op         []float32 // results so far: panels [hd, w]
	rh, rw     []float32 // relative positions: panels [sh, w] and [sw, w]
	m, l       []float32 // maximum and sum so far: panels [w]
	kp         []float32 // block of keys: panels of mr, transposed
	vp         []float32 // block of values [keys, hd]
	s          []float32 // scores [keys, w]
	tmp        []float32
	mNew, corr []float32
}

func (t *attnTask) run(i int) {
	p := piece{attnTask: t}
	qTask := i % t.qTasks
	i /= t.qTasks
	p.head = i % t.heads
	i /= t.heads
	total := t.nq
	p.qx = 1
	if !t.plain {
		p.y0, p.x0 = i/t.winX*t.sh, i%t.winX*t.sw
		p.qx = min(t.sw, t.w-p.x0)
		total = p.qx * min(t.sh, t.h-p.y0)
	}
	p.q0 = qTask * queriesPerTask
	p.n = min(queriesPerTask, total-p.q0)
	if p.n <= 0 {
		return // a window at the edge has fewer queries
	}
	a := arenas.get()
	p.scratch(a)
	p.queries()
	p.keys()
	p.results()
	arenas.put(a)
}

func (p *piece) scratch(a *arena) {
	im, hd := p.im, p.hd
	n := im.padded(p.n)
	block := p.blockKeys()
	rh, rw := 0, 0
	tmp := max(block, im.nr) * hd
	if p.relH != nil {
		rh, rw = p.sh*n, p.sw*n
		tmp = max(tmp, (2*max(p.sh, p.sw)-1)*(hd+im.nr))
	}
	a.reset(2*n*hd + rh + rw + 2*n + 2*block*hd + block*im.nr + tmp + 2*im.nr)
	p.qp, p.op = a.take(n*hd), a.take(n*hd)
	p.rh, p.rw = a.take(rh), a.take(rw)
	p.m, p.l = a.take(n), a.take(n)
	p.kp, p.vp = a.take(block*hd), a.take(block*hd)
	p.s, p.tmp = a.take(block*im.nr), a.take(tmp)
	p.mNew, p.corr = a.take(im.nr), a.take(im.nr)
}

// blockKeys returns the keys of a full block: whole rows of the window, or
// part of one long row.
func (p *piece) blockKeys() int {
	if p.sw >= keysPerBlock {
		return keysPerBlock
	}
	return min(p.sh, keysPerBlock/p.sw) * p.sw
}

// queryAt returns the query's row in q and dst, and its place in the window.
func (p *piece) queryAt(i int) (row, y, x int) {
	i += p.q0
	if p.plain {
		return i, 0, 0
	}
	y, x = i/p.qx, i%p.qx
	return (p.y0+y)*p.w + p.x0 + x, y, x
}

// queries packs the queries, unscaled, works out their relative positions,
// and scales them. Scores carry a factor of log2(e), so that the softmax can
// use powers of 2.
func (p *piece) queries() {
	im, hd := p.im, p.hd
	scale := float32(log2e / math.Sqrt(float64(hd)))
	for i := 0; i < p.n; i += im.nr {
		w := im.panelWidth(p.n - i)
		lanes := min(w, p.n-i)
		for j := range lanes {
			row, _, _ := p.queryAt(i + j)
			copy(p.tmp[j*hd:][:hd], p.q[row*p.ldq+p.head*hd:])
		}
		clear(p.tmp[lanes*hd : w*hd])
		panel := p.qp[i*hd:][:hd*w]
		im.transpose(panel, w, p.tmp, hd, w, hd)
		if p.relH != nil {
			p.relPos(p.rh[i*p.sh:], p.relH, panel, i, w, lanes, p.sh, true)
			p.relPos(p.rw[i*p.sw:], p.relW, panel, i, w, lanes, p.sw, false)
		}
		im.scale(panel, panel, scale)
	}
	negInf := float32(math.Inf(-1))
	for i := range p.m {
		p.m[i], p.l[i] = negInf, 0
	}
}

// relPos sets dst [size, w] to the products of a panel of queries with the
// rows of table that their distances to key rows (or columns) 0 .. size-1
// select.
func (p *piece) relPos(dst, table, panel []float32, q0, w, lanes, size int, rows bool) {
	im, hd := p.im, p.hd
	// Only these places occur among the panel's queries.
	first, last := size, 0
	for j := range lanes {
		at := p.place(q0+j, rows)
		first, last = min(first, at), max(last, at)
	}
	n := last - first + size // rows first .. last+size-1 of the table
	packed, prod := p.tmp[:n*hd], p.tmp[n*hd:][:n*w]
	for i := 0; i < n; i += im.mr {
		r := min(im.mr, n-i)
		im.transpose(packed[i*hd:], r, table[(first+i)*hd:], hd, r, hd)
		im.tileOf(r, w)(hd, packed[i*hd:], r, panel, prod[i*w:], w, 0)
	}
	clear(dst[:size*w])
	for j := range lanes {
		at := p.place(q0+j, rows) - first + size - 1
		for k := range size {
			dst[k*w+j] = prod[(at-k)*w+j] * log2e
		}
	}
}

func (p *piece) place(i int, rows bool) int {
	_, y, x := p.queryAt(i)
	if rows {
		return y
	}
	return x
}

// keys goes through the window's keys block by block.
func (p *piece) keys() {
	if p.sw >= keysPerBlock {
		for y := range p.sh {
			for x := 0; x < p.sw; x += keysPerBlock {
				p.block(y, 1, x, min(keysPerBlock, p.sw-x))
			}
		}
		return
	}
	step := keysPerBlock / p.sw
	for y := 0; y < p.sh; y += step {
		p.block(y, min(step, p.sh-y), 0, p.sw)
	}
}

// block takes the keys of rows [ky, ky+rows), columns [kx, kx+cols) of the
// window into account.
func (p *piece) block(ky, rows, kx, cols int) {
	im, hd := p.im, p.hd
	n := rows * cols
	p.packKeys(ky, rows, kx, cols)
	first := ky == 0 && kx == 0
	for i := 0; i < p.n; i += im.nr {
		w := im.panelWidth(p.n - i)
		panel := p.qp[i*hd:][:hd*w]
		s := p.s[:n*w]
		for j := 0; j < n; j += im.mr {
			r := min(im.mr, n-j)
			im.tileOf(r, w)(hd, p.kp[j*hd:], r, panel, s[j*w:], w, 0)
		}
		m, l, o := p.m[i:][:w], p.l[i:][:w], p.op[i*hd:][:hd*w]
		mNew, corr := p.mNew[:w], p.corr[:w]
		copy(mNew, m)
		if p.relH != nil {
			im.biasMax(s, p.rw[i*p.sw+kx*w:], p.rh[i*p.sh+ky*w:], mNew, rows, cols, w)
		} else {
			im.maxRows(s, mNew, n, w)
		}
		acc := 0
		if !first {
			acc = 1
			p.rescale(o, m, mNew, l, corr, w)
		}
		im.expSum(s, mNew, l, n, w)
		copy(m, mNew)
		for d := 0; d < hd; d += im.mr {
			r := min(im.mr, hd-d)
			im.tileOf(r, w)(n, p.vp[d:], hd, s, o[d*w:], w, acc)
		}
	}
}

// rescale brings the sums so far to the new maximum.
func (p *piece) rescale(o, m, mNew, l, corr []float32, w int) {
	same := true
	for j, v := range mNew {
		corr[j] = m[j] - v
		same = same && m[j] == v
	}
	if same {
		return
	}
	p.im.exp2(corr, corr)
	p.im.mulRows(l, corr, 1, w)
	p.im.mulRows(o, corr, p.hd, w)
}

// packKeys packs the block's keys and values.
func (p *piece) packKeys(ky, rows, kx, cols int) {
	im, hd := p.im, p.hd
	at := p.head * hd
	i := 0
	for y := ky; y < ky+rows; y++ {
		for x := kx; x < kx+cols; x++ {
			k, v := p.tmp[i*hd:][:hd], p.vp[i*hd:][:hd]
			i++
			switch ty, tx := p.y0+y, p.x0+x; {
			case ty < p.h && tx < p.w:
				row := (ty*p.w + tx) * p.ldk
				copy(k, p.k[row+at:])
				copy(v, p.v[row+at:])
			case p.padK != nil:
				copy(k, p.padK[at:])
				copy(v, p.padV[at:])
			default:
				clear(k)
				clear(v)
			}
		}
	}
	for j := 0; j < i; j += im.mr {
		r := min(im.mr, i-j)
		im.transpose(p.kp[j*hd:], r, p.tmp[j*hd:], hd, r, hd)
	}
}

// results divides by the sums and stores.
func (p *piece) results() {
	im, hd := p.im, p.hd
	for i := 0; i < p.n; i += im.nr {
		w := im.panelWidth(p.n - i)
		lanes := min(w, p.n-i)
		o, inv := p.op[i*hd:][:hd*w], p.corr[:w]
		for j, v := range p.l[i:][:w] {
			inv[j] = 1 / v
		}
		im.mulRows(o, inv, hd, w)
		im.transpose(p.tmp, hd, o, w, hd, w)
		for j := range lanes {
			row, _, _ := p.queryAt(i + j)
			copy(p.dst[row*p.ldo+p.head*hd:][:hd], p.tmp[j*hd:])
		}
	}
}
