package kernel

// MaskProductGradUp sets rows [j0, j1) of dup [n, c] to those of dyᵀ·hyper,
// for the gradient dy [m, n] of what [MaskProduct] gave and hyper [m, c]. It
// runs on the calling goroutine.
func MaskProductGradUp(dup, dy, hyper []float32, n, c, m, j0, j1 int) {
	need("mask product grad: dy", len(dy), m*n)
	need("mask product grad: hyper", len(hyper), m*c)
	need("mask product grad: dup", len(dup), n*c)
	im := active
	a := arenas.get()
	a.reset(m*gradRows + im.padded(c)*m)
	rows := a.take(m * gradRows)
	p := packInto(im, a.take(im.padded(c)*m), hyper, c, m, c, true)
	for j := j0; j < j1; j += gradRows {
		r := min(gradRows, j1-j)
		im.transpose(rows, m, dy[j:], n, m, r)
		GemmSerial(dup[j*c:], c, rows, m, r, &p, Epilogue{})
	}
	arenas.put(a)
}

// MaskProductGradHyper sets dhyper [m, c] to dy [m, n]·up [n, c], of the
// pixels [j0, j1) alone. It runs on the calling goroutine.
func MaskProductGradHyper(dhyper, dy, up []float32, n, c, m, j0, j1 int) {
	need("mask product grad: dy", len(dy), m*n)
	need("mask product grad: up", len(up), n*c)
	need("mask product grad: dhyper", len(dhyper), m*c)
	im := active
	a := arenas.get()
	a.reset(im.padded(c) * gradRows)
	buf := a.take(im.padded(c) * gradRows)
	for j := j0; j < j1; j += gradRows {
		r := min(gradRows, j1-j)
		p := packInto(im, buf[:im.padded(c)*r], up[j*c:], c, r, c, true)
		var e Epilogue
		if j > j0 {
			e.Add, e.LdAdd = dhyper, c
		}
		GemmSerial(dhyper, c, dy[j:], n, m, &p, e)
	}
	arenas.put(a)
}
