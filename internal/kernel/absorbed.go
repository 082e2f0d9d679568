package kernel

import (
	"fmt"
	"math"
)

// Absorbed is the attention between a map and few tokens, and its gradient,
// without a projection of the map: as in [TwoWay] the tokens are brought to the
// map's width instead, for each head by itself. A row of an absorbed matrix
// belongs to one head and one token, the tokens of a head together.
//
// Products with the map then have Heads*Tokens columns or that inner length,
// where those of its projections have as many as the heads have channels, and
// gradients of the projections' weights need no pass over the map.
//
// Source: transformer.py, TwoWayAttentionBlock (segment-anything dca509f).
type Absorbed struct {
	Cells, Channels        int // the map is [Cells, Channels]
	Heads, HeadDim, Tokens int
}

const (
	absorbedCells  = 128 // rows of the map in hand at a time
	absorbedGroups = 8   // most partial sums over the map
	absorbedGap    = 16  // more than a power of 2 between transposed rows, for the caches' sake
)

// rows is how many rows an absorbed matrix has.
func (a *Absorbed) rows() int { return a.Heads * a.Tokens }

func (a *Absorbed) scale() float32 { return float32(1 / math.Sqrt(float64(a.HeadDim))) }

func (a *Absorbed) check(what string, maps, absorbed [][]float32) {
	if a.Cells <= 0 || a.Channels <= 0 || a.Heads <= 0 || a.HeadDim <= 0 || a.Tokens <= 0 {
		panic(fmt.Sprintf("kernel: %s: %+v", what, *a))
	}
	for _, m := range maps {
		need(what+": map", len(m), a.Cells*a.Channels)
	}
	for _, m := range absorbed {
		need(what+": absorbed", len(m), a.rows()*a.Channels)
	}
}

// blocks is how many blocks of rows the map has, and of these a group takes
// each. They depend on the map alone, so that the result's bits do not depend
// on the number of goroutines.
func (a *Absorbed) blocks() (all, group int) {
	all = (a.Cells + absorbedCells - 1) / absorbedCells
	return all, (all + absorbedGroups - 1) / absorbedGroups
}

// block returns the first row of block b and how many it has.
func (a *Absorbed) block(b int) (first, n int) {
	return b * absorbedCells, min(absorbedCells, a.Cells-b*absorbedCells)
}

// absorbedTask is one call of a method of Absorbed.
type absorbedTask struct {
	Absorbed
	im   *impl
	wide int // columns of an absorbed matrix that is turned over, with their padding
	// of what is given
	x, positions, dy, weights []float32
	// prepared of the tokens' side
	lanes []float32 // rows of an absorbed matrix as panels, for scores with tokens as lanes
	tiles []float32 // the same as tiles, for scores with rows of the map as lanes
	back  []float32 // panels of channels, for products that give rows of the map
	start []float32 // what scores or their slopes begin with
	// results
	y     []float32                    // [Cells, Channels]
	parts []float32                    // partial sums of each group
	ones  []float32                    // for sums as products
	group int                          // blocks of a group
	piece func(t *absorbedTask, g int) // what run does
}

func (t *absorbedTask) run(g int) { t.piece(t, g) }

// task returns a task, without its piece.
func (a *Absorbed) task(im *impl) *absorbedTask {
	_, group := a.blocks()
	return &absorbedTask{Absorbed: *a, im: im, wide: im.padded(a.rows()), group: group}
}

// each calls f for the blocks of group g.
func (t *absorbedTask) each(g int, f func(b, first, n int)) {
	all, _ := t.blocks()
	for b := g * t.group; b < min((g+1)*t.group, all); b++ {
		first, n := t.block(b)
		f(b, first, n)
	}
}

// groups is how many groups there are.
func (t *absorbedTask) groups() int {
	all, _ := t.blocks()
	return (all + t.group - 1) / t.group
}

// columns calls f for each panel of an absorbed matrix's rows: its first, width
// and lanes.
func (t *absorbedTask) columns(f func(i, w, lanes int)) {
	rows := t.rows()
	for i := 0; i < rows; i += t.im.nr {
		w := t.im.panelWidth(rows - i)
		f(i, w, min(w, rows-i))
	}
}

// channelPanels packs rows of Channels elements, as the second operand of a
// product that sums over them, behind those that dst has: k are all of the sum.
func (t *absorbedTask) channelPanels(dst, src []float32, at, rows, k int) {
	im, c := t.im, t.Channels
	for j := 0; j < c; j += im.nr {
		w := im.panelWidth(c - j)
		copyRows(dst[j*k+at*w:], w, src[j:], c, rows, min(w, c-j))
	}
}

// product sets n rows of c, c[i*Channels+j], to d[i*Channels+j] + the sum over p
// < k of a[p*lda+i]·b[p][j], with b from channelPanels. d may be nil. edge has
// room for a tile.
func (t *absorbedTask) product(n, k int, a []float32, lda int, b, c, d, edge []float32) {
	im, ld := t.im, t.Channels
	full := ld / im.nr * im.nr
	before := func(i, j int) []float32 {
		if d == nil {
			return nil
		}
		return d[i*ld+j:]
	}
	for i := 0; i < n; {
		h := im.share(n - i)
		if full > 0 {
			strip := im.strip
			if h < im.mr {
				strip = stripOf(im.tileOf(h, im.nr), im.nr)
			}
			strip(full/im.nr, k, a[i:], lda, b, c[i*ld:], ld, before(i, 0), ld)
		}
		if full < ld {
			w, cols := im.panelWidth(ld-full), ld-full
			im.tileOf(h, w)(k, a[i:], lda, b[full*k:], edge, w, nil, 0)
			for r := range h {
				to, sum := c[(i+r)*ld+full:][:cols], edge[r*w:][:cols]
				if d == nil {
					copy(to, sum)
				} else {
					im.add(to, before(i+r, full)[:cols], sum)
				}
			}
		}
		i += h
	}
}

// sums adds, or sets with first, to part [Channels, w] the product of n rows of
// the map, turned over, with a panel [n, w].
func (t *absorbedTask) sums(part, rows, panel []float32, n, w int, first bool) {
	im, c := t.im, t.Channels
	for k := 0; k < c; {
		h := im.share(c - k)
		to := part[k*w:]
		before := to
		if first {
			before = nil
		}
		im.tileOf(h, w)(n, rows[k:], c, panel, to, w, before, w)
		k += h
	}
}

// TokenToImageLen is how many values of the weights TokenToImage writes.
func (a *Absorbed) TokenToImageLen() int { return a.tokenToImageLen(active) }

func (a *Absorbed) tokenToImageLen(im *impl) int {
	all, _ := a.blocks()
	return (a.Cells + all) * im.padded(a.rows())
}

// TokenToImage sets found [Heads*Tokens, Channels] to the mean of the rows of x
// [Cells, Channels] under the attention of each row of reads [Heads*Tokens,
// Channels], which are absorbed queries, to x + positions. weights has
// TokenToImageLen values, which the gradient needs.
func (a *Absorbed) TokenToImage(found, weights, x, positions, reads []float32) {
	a.tokenToImage(active, found, weights, x, positions, reads)
}

func (a *Absorbed) tokenToImage(im *impl, found, weights, x, positions, reads []float32) {
	a.check("token to image", [][]float32{x, positions}, [][]float32{found, reads})
	need("token to image: weights", len(weights), a.tokenToImageLen(im))
	t := a.task(im)
	t.x, t.positions, t.weights = x, positions, weights
	s := arenas.get()
	s.reset(t.wide*a.Channels + t.groups()*t.foundPart())
	t.lanes, t.parts = s.take(t.wide*a.Channels), s.take(t.groups()*t.foundPart())
	packPanels(im, t.lanes, reads, a.rows(), a.Channels)
	im.scale(t.lanes, t.lanes, a.scale()*log2e)
	t.piece = (*absorbedTask).find
	run(t.groups(), t)
	t.y = found
	t.piece = (*absorbedTask).found
	run((t.rows()+im.nr-1)/im.nr, t)
	arenas.put(s)
}

// foundPart is the size of a group's share: maxima, sums and found, panels
// [Channels, w].
func (t *absorbedTask) foundPart() int { return t.wide * (2 + t.Channels) }

// factors are the factors of block b's weights.
func (t *absorbedTask) factors(b int) []float32 {
	return t.weights[(t.Cells+b)*t.wide:][:t.wide]
}

// find computes the share of group g. Its blocks' weights are left without
// their divisors, and against the maximum so far, which takes the factors'
// place.
func (t *absorbedTask) find(g int) {
	im, c := t.im, t.Channels
	part := t.parts[g*t.foundPart():]
	m, l, sum := part[:t.wide], part[t.wide:2*t.wide], part[2*t.wide:]
	for i := range m {
		m[i], l[i] = float32(math.Inf(-1)), 0
	}
	const ld = absorbedCells + absorbedGap
	s := arenas.get()
	s.reset(absorbedCells*c + ld*c + 2*im.nr)
	at, turned, next, corr := s.take(absorbedCells*c), s.take(ld*c), s.take(im.nr), s.take(im.nr)
	t.each(g, func(b, first, n int) {
		x := t.x[first*c:][:n*c]
		im.add(at[:n*c], x, t.positions[first*c:][:n*c])
		im.transpose(turned, ld, at, c, n, c)
		t.columns(func(i, w, _ int) {
			e := t.weights[first*t.wide+i*n:]
			for r := 0; r < n; {
				h := im.share(n - r)
				im.tileOf(h, w)(c, turned[r:], ld, t.lanes[i*c:], e[r*w:], w, nil, 0)
				r += h
			}
			next, corr := next[:w], corr[:w]
			copy(next, m[i:])
			im.maxRows(e, next, n, w)
			begin := b == g*t.group
			if !begin {
				for j, v := range next {
					corr[j] = m[i+j] - v
				}
				im.exp2(corr, corr)
				im.mulRows(l[i:], corr, 1, w)
				im.mulRows(sum[i*c:], corr, c, w)
			}
			im.expSum(e, next, l[i:], n, w)
			copy(m[i:], next)
			copy(t.factors(b)[i:], next)
			t.sums(sum[i*c:], x, e, n, w, begin)
		})
	})
	arenas.put(s)
}

// found puts the groups' shares in panel p together and works out the factors.
func (t *absorbedTask) found(p int) {
	im, c, i := t.im, t.Channels, p*t.im.nr
	w := im.panelWidth(t.rows() - i)
	s := arenas.get()
	s.reset(3 * im.nr)
	m, f, l := s.take(im.nr)[:w], s.take(im.nr)[:w], s.take(im.nr)[:w]
	total := im.join(t.groups(), func(g int) (m, l, sum []float32) {
		part := t.parts[g*t.foundPart():]
		return part[i:][:w], part[t.wide+i:][:w], part[2*t.wide+i*c:][:w*c]
	}, m, f, l, c)
	im.transpose(t.y[i*c:], c, total, w, c, min(w, t.rows()-i))
	all, _ := t.blocks()
	for b := range all {
		of := t.factors(b)[i:][:w]
		for j := range of {
			of[j] -= m[j]
		}
		im.exp2(of, of)
		im.mulRows(of, l, 1, w)
	}
	arenas.put(s)
}

// TokenToImageGrad sets dx [Cells, Channels] and dreads [Heads*Tokens,
// Channels] to the gradients of TokenToImage's x and reads, for dfound, that of
// found. weights are what TokenToImage wrote.
func (a *Absorbed) TokenToImageGrad(dx, dreads, dfound, x, positions, reads, found, weights []float32) {
	a.tokenToImageGrad(active, dx, dreads, dfound, x, positions, reads, found, weights)
}

func (a *Absorbed) tokenToImageGrad(im *impl, dx, dreads, dfound, x, positions, reads, found, weights []float32) {
	a.check("token to image grad", [][]float32{dx, x, positions}, [][]float32{dreads, dfound, reads, found})
	need("token to image grad: weights", len(weights), a.tokenToImageLen(im))
	t := a.task(im)
	t.x, t.positions, t.weights, t.y = x, positions, weights, dx
	rows, c := a.rows(), a.Channels
	s := arenas.get()
	s.reset(t.wide*(c+1) + 2*rows*(im.padded(c)) + rows*c + t.groups()*t.wide*c)
	t.lanes, t.start, t.back = s.take(t.wide*c), s.take(t.wide), s.take(2*rows*im.padded(c))
	scaled := s.take(rows * c)
	t.parts = s.take(t.groups() * t.wide * c)
	packPanels(im, t.lanes, dfound, rows, c)
	clear(t.start)
	for r := range rows {
		var dot float64
		for k, v := range dfound[r*c:][:c] {
			dot += float64(v) * float64(found[r*c+k])
		}
		t.start[r] = float32(-dot)
	}
	clear(t.back)
	im.scale(scaled, reads[:rows*c], a.scale())
	t.channelPanels(t.back, dfound, 0, rows, 2*rows)
	t.channelPanels(t.back, scaled, rows, rows, 2*rows)
	t.piece = (*absorbedTask).findGrad
	run(t.groups(), t)
	t.merge(dreads, t.parts, t.wide*c, a.scale())
	arenas.put(s)
}

// findGrad is the gradient of find.
func (t *absorbedTask) findGrad(g int) {
	im, c, rows := t.im, t.Channels, t.rows()
	part := t.parts[g*t.wide*c:]
	const ld = absorbedCells + absorbedGap
	s := arenas.get()
	s.reset(absorbedCells*c + ld*c + 2*absorbedCells*im.nr + 2*rows*ld + im.mr*im.nr)
	at, turned := s.take(absorbedCells*c), s.take(ld*c)
	e, d, both := s.take(absorbedCells*im.nr), s.take(absorbedCells*im.nr), s.take(2*rows*ld)
	edge := s.take(im.mr * im.nr)
	t.each(g, func(b, first, n int) {
		x := t.x[first*c:][:n*c]
		im.add(at[:n*c], x, t.positions[first*c:][:n*c])
		im.transpose(turned, ld, x, c, n, c)
		t.columns(func(i, w, lanes int) {
			e, d := e[:n*w], d[:n*w]
			copy(e, t.weights[first*t.wide+i*n:])
			im.mulRows(e, t.factors(b)[i:], n, w)
			for r := 0; r < n; {
				h := im.share(n - r)
				im.tileOf(h, w)(c, turned[r:], ld, t.lanes[i*c:], d[r*w:], w, t.start[i:], 0)
				r += h
			}
			im.mul(d, d, e)
			t.sums(part[i*c:], at, d, n, w, b == g*t.group)
			im.transpose(both[i*ld:], ld, e, w, n, lanes)
			im.transpose(both[(rows+i)*ld:], ld, d, w, n, lanes)
		})
		t.product(n, 2*rows, both, ld, t.back, t.y[first*c:], nil, edge)
	})
	arenas.put(s)
}

// merge sets dst [rows, Channels] to the sum of the groups' parts, size apart,
// panels [Channels, w], times scale.
func (t *absorbedTask) merge(dst, parts []float32, size int, scale float32) {
	im, c := t.im, t.Channels
	total := parts[:t.wide*c]
	for g := 1; g < t.groups(); g++ {
		im.add(total, total, parts[g*size:][:t.wide*c])
	}
	im.scale(total, total, scale)
	t.columns(func(i, w, lanes int) { im.transpose(dst[i*c:], c, total[i*c:], w, c, lanes) })
}
