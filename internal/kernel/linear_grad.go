package kernel

// Gradients of y = x·wᵀ + bias. Weights are as torch stores them, not packed:
// they change with every step.

const (
	gradRows   = 256 // rows of x that one product of a weight's gradient takes
	gradGroups = 8   // most partial sums of a gradient
)

// groupsOf is how many partial sums a gradient over m rows has, and how many
// rows each takes. It depends on m alone, so that the order of the sums, and
// with it the result's bits, does not depend on the number of goroutines.
func groupsOf(m int) (groups, rows int) {
	groups = max(1, min(gradGroups, m/gradRows))
	rows = (m + groups - 1) / groups
	rows = (rows + gradRows - 1) / gradRows * gradRows
	return (m + rows - 1) / rows, rows
}

// Linear sets y [m, n] to x [m, k]·wᵀ + bias + add for w [n, k] that is not
// packed. bias has n elements, add m*n; either may be nil. y may be add, but
// must not overlap the others.
func Linear(y, x, w, bias, add []float32, m, n, k int) { linear(active, y, x, w, bias, add, m, n, k) }

func linear(im *impl, y, x, w, bias, add []float32, m, n, k int) {
	need("linear: w", len(w), n*k)
	a := arenas.get()
	a.reset(im.padded(n) * k)
	p := packInto(im, a.take(im.padded(n)*k), w, n, k, k, false)
	Gemm(y, n, x, k, m, &p, Epilogue{Bias: bias, Add: add, LdAdd: n})
	arenas.put(a)
}

// LinearGradX sets dx [m, k] to dy [m, n]·w [n, k] + add, where the product is
// the gradient of x. add has m*k elements or is nil. dx may be add, but must
// not overlap the others.
func LinearGradX(dx, dy, w, add []float32, m, n, k int) {
	linearGradX(active, dx, dy, w, add, m, n, k)
}

func linearGradX(im *impl, dx, dy, w, add []float32, m, n, k int) {
	need("linear grad: w", len(w), n*k)
	a := arenas.get()
	a.reset(im.padded(k) * n)
	p := packInto(im, a.take(im.padded(k)*n), w, k, n, k, true)
	Gemm(dx, k, dy, n, m, &p, Epilogue{Add: add, LdAdd: k})
	arenas.put(a)
}

// LinearGradW sets dw [n, k] to dyᵀ·x, the gradient of w, for dy [m, n] and x
// [m, k]. dw must not overlap the others.
func LinearGradW(dw, dy, x []float32, m, n, k int) { linearGradW(active, dw, dy, x, m, n, k) }

func linearGradW(im *impl, dw, dy, x []float32, m, n, k int) {
	need("linear grad: x", len(x), m*k)
	gradW(im, dw, dy, m, n, k, func(_ []float32, r0, _ int) []float32 { return x[r0*k:] })
}

// gradW is linearGradW where rows returns the rows [r0, r0+n) of x, which it
// may write into the scratch of gradRows*k elements that it is given.
func gradW(im *impl, dw, dy []float32, m, n, k int, rows func(tmp []float32, r0, n int) []float32) {
	need("linear grad: dw", len(dw), n*k)
	need("linear grad: dy", len(dy), m*n)
	groups, step := groupsOf(m)
	parts := arenas.get()
	parts.reset((groups - 1) * (n*k + cacheLine))
	sums := [gradGroups][]float32{dw[:n*k]}
	for g := 1; g < groups; g++ {
		sums[g] = parts.take(n * k)
	}
	cuts := 1 // of the columns
	if groups == 1 {
		cuts = min(gradGroups, (k+im.nr-1)/im.nr)
	}
	cut := ((k+cuts-1)/cuts + im.nr - 1) / im.nr * im.nr
	Parallel(groups*cuts, func(i int) {
		g, c0 := i/cuts, i%cuts*cut
		cols := min(cut, k-c0)
		if cols <= 0 {
			return
		}
		a := arenas.get()
		a.reset(gradRows*(n+im.padded(cols)+k) + im.mr*im.nr)
		t := gradWTask{im: im, dw: sums[g], n: n, k: k, c0: c0, cols: cols, tiles: a.take(gradRows * n), panels: a.take(gradRows * im.padded(cols)), edge: a.take(im.mr * im.nr)}
		tmp := a.take(gradRows * k)
		last := min((g+1)*step, m)
		for r0 := g * step; r0 < last; r0 += gradRows {
			r := min(gradRows, last-r0)
			t.add(dy[r0*n:], rows(tmp, r0, r), r, r0 == g*step)
		}
		arenas.put(a)
	})
	for g := 1; g < groups; g++ {
		elementwise(im, opAdd, dw[:n*k], dw[:n*k], sums[g])
	}
	arenas.put(parts)
}

// gradWTask sums up columns [c0, c0+cols) of a weight's gradient dw [n, k].
type gradWTask struct {
	im            *impl
	dw            []float32
	n, k          int
	c0, cols      int
	tiles, panels []float32
	edge          []float32 // a tile with a panel that is not full
}

// add adds, or sets with first, the product of r rows of dy, transposed, with
// those of x.
func (t *gradWTask) add(dy, x []float32, r int, first bool) {
	im := t.im
	full := t.cols / im.nr * im.nr
	im.packTilesKN(t.tiles, dy, r, t.n)
	cutRows(t.panels, x[t.c0:], t.k, r, full, im.nr)
	for j := 0; j < full; j += im.cols {
		panels := min(im.cols, full-j) / im.nr
		for i := 0; i < t.n; {
			strip, h := im.strip, im.height(t.n-i)
			if h < im.mr {
				strip = stripOf(im.tileOf(h, im.nr), im.nr)
			}
			to := t.dw[i*t.k+t.c0+j:]
			before := to
			if first {
				before = nil
			}
			strip(panels, r, t.tiles[i*r:], h, t.panels[j*r:], to, t.k, before, t.k)
			i += h
		}
	}
	if full < t.cols {
		t.addEdge(x, r, full, first)
	}
}

// addEdge is add for the columns from full on, which do not fill a panel.
func (t *gradWTask) addEdge(x []float32, r, full int, first bool) {
	im, cols := t.im, t.cols-full
	w := im.panelWidth(cols)
	panel := t.panels[full*r:][:r*w]
	clear(panel)
	copyRows(panel, w, x[t.c0+full:], t.k, r, cols)
	for i := 0; i < t.n; {
		h := im.height(t.n - i)
		im.tileOf(h, w)(r, t.tiles[i*r:], h, panel, t.edge, w, nil, 0)
		for y := range h {
			to, sum := t.dw[(i+y)*t.k+t.c0+full:][:cols], t.edge[y*w:][:cols]
			if first {
				copy(to, sum)
			} else {
				im.add(to, to, sum)
			}
		}
		i += h
	}
}

// SumBlocks sets dst to the sum of the blocks of x, each as long as dst: the
// gradient of rows that were repeated, or of a bias. dst must not overlap x.
func SumBlocks(dst, x []float32) { sumBlocks(active, dst, x) }

func sumBlocks(im *impl, dst, x []float32) {
	n := len(dst)
	if n == 0 {
		return
	}
	if len(x)%n != 0 {
		panic("kernel: sum blocks: not a whole number of blocks")
	}
	blocks := len(x) / n
	clear(dst)
	if n >= chunk {
		Parallel((n+chunk-1)/chunk, func(i int) {
			lo, hi := i*chunk, min((i+1)*chunk, n)
			for b := range blocks {
				im.add(dst[lo:hi], dst[lo:hi], x[b*n+lo:b*n+hi])
			}
		})
		return
	}
	groups, step := groupsOf(blocks)
	a := arenas.get()
	a.reset(groups * (n + cacheLine))
	var sums [gradGroups][]float32
	for g := range groups {
		sums[g] = a.take(n)
		clear(sums[g])
	}
	Parallel(groups, func(g int) {
		for b := g * step; b < min((g+1)*step, blocks); b++ {
			im.add(sums[g], sums[g], x[b*n:(b+1)*n])
		}
	})
	for g := range groups {
		im.add(dst, dst, sums[g])
	}
	arenas.put(a)
}
