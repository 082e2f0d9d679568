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

// Linear sets y [m, n] to x [m, k]·wᵀ + bias for w [n, k] that is not packed.
// bias has n elements or is nil. y must not overlap the others.
func Linear(y, x, w, bias []float32, m, n, k int) { linear(active, y, x, w, bias, m, n, k) }

func linear(im *impl, y, x, w, bias []float32, m, n, k int) {
	need("linear: w", len(w), n*k)
	a := arenas.get()
	a.reset(im.padded(n) * k)
	p := packInto(im, a.take(im.padded(n)*k), w, n, k, k, false)
	Gemm(y, n, x, k, m, &p, Epilogue{Bias: bias})
	arenas.put(a)
}

// LinearGradX sets dx [m, k] to dy [m, n]·w [n, k], the gradient of x.
// dx must not overlap the others.
func LinearGradX(dx, dy, w []float32, m, n, k int) { linearGradX(active, dx, dy, w, m, n, k) }

func linearGradX(im *impl, dx, dy, w []float32, m, n, k int) {
	need("linear grad: w", len(w), n*k)
	a := arenas.get()
	a.reset(im.padded(k) * n)
	p := packInto(im, a.take(im.padded(k)*n), w, k, n, k, true)
	Gemm(dx, k, dy, n, m, &p, Epilogue{})
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
	Parallel(groups, func(g int) {
		a := arenas.get()
		width := im.padded(k)
		a.reset(gradRows * (n + width + k))
		dyT, xp, tmp := a.take(gradRows*n), a.take(gradRows*width), a.take(gradRows*k)
		last := min((g+1)*step, m)
		for r0 := g * step; r0 < last; r0 += gradRows {
			r := min(gradRows, last-r0)
			im.transpose(dyT, r, dy[r0*n:], n, r, n)
			p := packInto(im, xp[:width*r], rows(tmp, r0, r), k, r, k, true)
			var e Epilogue
			if r0 > g*step {
				e.Add, e.LdAdd = sums[g], k
			}
			if groups == 1 {
				Gemm(sums[g], k, dyT, r, n, &p, e)
			} else {
				GemmSerial(sums[g], k, dyT, r, n, &p, e)
			}
		}
		arenas.put(a)
	})
	for g := 1; g < groups; g++ {
		elementwise(im, opAdd, dw[:n*k], dw[:n*k], sums[g])
	}
	arenas.put(parts)
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
