package kernel

import "math"

// A piece is the state of a running piece of an attnTask.
type piece struct {
	*attnTask
	head   int
	last   int // the piece's last head
	y0, x0 int // the window's first token
	qx     int // queries in a row of the window
	q0, n  int // first query in the window, number of queries

	qp         []float32 // queries: panels [hd, w]
	op         []float32 // results so far: panels [hd, w]
	rh, rw     []float32 // relative positions: panels [sh, w] and [sw, w]
	m, l       []float32 // maximum and sum so far: panels [w]
	kp         []float32 // block of keys: panels of up to mr, transposed
	vp         []float32 // block of values [keys, hd]
	s          []float32 // scores [keys, w]
	tmp        []float32
	mNew, corr []float32
}

// attend does piece i.
func (t *attnTask) attend(i int) {
	p := piece{attnTask: t}
	qTask := i % t.qTasks
	i /= t.qTasks
	head := i % t.hTasks * t.perTask
	i /= t.hTasks
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
	p.last = min(head+t.perTask, t.heads) - 1
	for p.head = head; p.head <= p.last; p.head++ {
		p.queries()
		p.keys()
		p.results()
	}
	arenas.put(a)
}

func (p *piece) scratch(a *arena) {
	im, hd := p.im, p.hd
	n := im.padded(p.n)
	block := p.blockKeys()
	rh, rw := 0, 0
	tmp := max(max(block, im.nr)*hd, im.nr*im.nr)
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

// rowsInOrder reports whether queries [i, i+n) are rows one after the other,
// and which is the first.
func (p *piece) rowsInOrder(i, n int) (row int, ok bool) {
	first, _, _ := p.queryAt(i)
	last, _, _ := p.queryAt(i + n - 1)
	return first, last-first == n-1
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
		panel := p.qp[i*hd:][:hd*w]
		if row, ok := p.rowsInOrder(i, lanes); ok && lanes == w {
			im.transpose(panel, w, p.q[row*p.ldq+p.head*hd:], p.ldq, w, hd)
		} else {
			for j := range lanes {
				row, _, _ := p.queryAt(i + j)
				copy(p.tmp[j*hd:][:hd], p.q[row*p.ldq+p.head*hd:])
			}
			clear(p.tmp[lanes*hd : w*hd])
			im.transpose(panel, w, p.tmp, hd, w, hd)
		}
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
		im.tileOf(r, w)(hd, packed[i*hd:], r, panel, prod[i*w:], w, nil, 0)
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
	blocks := p.blocks()
	for i := range blocks {
		b := p.attnTask.block(i)
		n := b.rows * b.cols
		at := p.head * p.hd
		first := b.y*p.sw + b.x
		// What to fetch in the meantime: another block, or the next head's first.
		next, head := rect{}, p.head
		kp, vp, ldv := p.kp, p.vp, p.hd
		switch {
		case p.kAll != nil:
			at = (p.head*p.sh*p.sw + first) * p.hd
			kp, vp = p.kAll[at:][:n*p.hd], p.vAll[at:][:n*p.hd]
		case p.plain:
			if p.panels {
				kp = p.k[first*p.ldk:]
			} else {
				p.transposeKeys(kp, p.k[first*p.ldk+at:], p.ldk, n)
			}
			vp, ldv = p.v[first*p.ldk+at:], p.ldk
		default:
			p.packKeys(b)
			if i+1 < blocks {
				next = p.attnTask.block(i + 1)
			} else if p.head < p.last {
				next, head = p.attnTask.block(0), p.head+1
			}
		}
		p.block(b, kp, vp, ldv, next, head)
	}
}

// fetch brings part i of n of a block of keys near, and of the queries if they
// are another head's.
func (p *piece) fetch(b rect, head, i, n int) {
	keys := b.rows * b.cols
	for j, end := keys*i/n, keys*(i+1)/n; j < end; {
		y, x := j/b.cols, j%b.cols
		run := min(b.cols-x, end-j)
		j += run
		ty, tx := p.y0+b.y+y, p.x0+b.x+x
		run = min(run, p.w-tx)
		if ty >= p.h || run <= 0 {
			continue // padding
		}
		at := (ty*p.w+tx)*p.ldk + head*p.hd
		p.im.prefetch(p.k[at:], p.ldk, run, p.hd)
		p.im.prefetch(p.v[at:], p.ldk, run, p.hd)
	}
	if head == p.head {
		return
	}
	for j := p.n * i / n; j < p.n*(i+1)/n; j++ {
		row, _, _ := p.queryAt(j)
		p.im.prefetch(p.q[row*p.ldq+head*p.hd:], p.ldq, 1, p.hd)
	}
}

// block takes the keys of block b into account, and fetches those of block
// next of a head in the meantime.
func (p *piece) block(b rect, kp, vp []float32, ldv int, next rect, head int) {
	im, hd := p.im, p.hd
	n := b.rows * b.cols
	first := b.y == 0 && b.x == 0
	for i := 0; i < p.n; i += im.nr {
		p.fetch(next, head, i/im.nr, (p.n+im.nr-1)/im.nr)
		w := im.panelWidth(p.n - i)
		panel := p.qp[i*hd:][:hd*w]
		s := p.s[:n*w]
		if p.panels {
			p.scorePanels(s, kp, panel, p.sh*p.sw-b.y*p.sw-b.x, n, w)
		}
		for j := 0; j < n && !p.panels; {
			r := im.share(n - j)
			im.tileOf(r, w)(hd, kp[j*hd:], r, panel, s[j*w:], w, nil, 0)
			j += r
		}
		m, l, o := p.m[i:][:w], p.l[i:][:w], p.op[i*hd:][:hd*w]
		mNew, corr := p.mNew[:w], p.corr[:w]
		copy(mNew, m)
		if p.bias != nil {
			p.addBias(s, b, i, w)
		}
		if p.relH != nil {
			im.biasMax(s, p.rw[i*p.sw+b.x*w:], p.rh[i*p.sh+b.y*w:], mNew, b.rows, b.cols, w)
		} else {
			im.maxRows(s, mNew, n, w)
		}
		if !first {
			p.rescale(o, m, mNew, l, corr, w)
		}
		im.expSum(s, mNew, l, n, w)
		copy(m, mNew)
		for d := 0; d < hd; {
			r := im.share(hd - d)
			sum := o[d*w:]
			var before []float32
			if !first {
				before = sum
			}
			im.tileOf(r, w)(n, vp[d:], ldv, s, sum, w, before, w)
			d += r
		}
	}
}

// scorePanels sets s [n, w] to the products of the first n keys of panels with a
// panel of queries. left keys are in the panels.
func (p *piece) scorePanels(s, panels, queries []float32, left, n, w int) {
	im, hd := p.im, p.hd
	for j := 0; j < n; {
		wide := im.panelWidth(left - j)
		keys, t := panels[j*p.ldk+p.head*hd*wide:], p.tmp[:w*wide]
		for i := 0; i < w; {
			r := im.height(w - i)
			im.tileOf(r, wide)(hd, queries[i:], w, keys, t[i*wide:], wide, nil, 0)
			i += r
		}
		im.turn(s[j*w:], w, t, wide, w, min(wide, n-j))
		j += wide
	}
}

// addBias adds the biases of offsets to the scores s [keys, w] of block b for
// the queries from q0 on.
func (p *piece) addBias(s []float32, b rect, q0, w int) {
	table := p.bias[p.head*p.sh*p.sw:][:p.sh*p.sw]
	lanes := min(w, p.n-q0)
	for j := range lanes {
		_, qy, qx := p.queryAt(q0 + j)
		at := j
		for y := b.y; y < b.y+b.rows; y++ {
			row := table[max(qy-y, y-qy)*p.sw:][:p.sw]
			for x := b.x; x < b.x+b.cols; x++ {
				s[at] += float32(row[max(qx-x, x-qx)] * log2e)
				at += w
			}
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

// packKeys packs the block's keys and values, padding tokens among them.
func (p *piece) packKeys(b rect) {
	hd := p.hd
	at := p.head * hd
	i := 0
	for y := b.y; y < b.y+b.rows; y++ {
		for x := b.x; x < b.x+b.cols; x++ {
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
	p.transposeKeys(p.kp, p.tmp, hd, i)
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
		if row, ok := p.rowsInOrder(i, lanes); ok {
			im.transpose(p.dst[row*p.ldo+p.head*hd:], p.ldo, o, w, hd, lanes)
			continue
		}
		im.transpose(p.tmp, hd, o, w, hd, w)
		for j := range lanes {
			row, _, _ := p.queryAt(i + j)
			copy(p.dst[row*p.ldo+p.head*hd:][:hd], p.tmp[j*hd:])
		}
	}
}
