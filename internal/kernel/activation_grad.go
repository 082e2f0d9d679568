package kernel

// GELUGrad sets dx[i] = dy[i]*(Phi(x[i]) + x[i]*phi(x[i])), the gradient of
// [GELU]. dx may be dy or x, but must not overlap them otherwise.
func GELUGrad(dx, dy, x []float32) { geluGrad(active, dx, dy, x) }

func geluGrad(im *impl, dx, dy, x []float32) {
	need("gelu grad: dy", len(dy), len(dx))
	need("gelu grad: x", len(x), len(dx))
	Parallel((len(dx)+chunk-1)/chunk, func(i int) {
		lo, hi := i*chunk, min((i+1)*chunk, len(dx))
		im.geluGrad(dx[lo:hi], dy[lo:hi], x[lo:hi])
	})
}

// geluGradGeneric takes Phi from the polynomial that gelu32 uses.
func geluGradGeneric(dst, dy, x []float32) {
	const root = 0.39894228040143267794 // phi(0)
	dy, x = dy[:len(dst)], x[:len(dst)]
	for i, v := range x {
		v = min(max(v, -geluMax), geluMax)
		t := v
		if t < 0 {
			t = -t
		}
		u := 1 / (1 + float32(geluP*t))
		p := float32(geluC6)
		p = float32(p*u) + geluC5
		p = float32(p*u) + geluC4
		p = float32(p*u) + geluC3
		p = float32(p*u) + geluC2
		p = float32(p*u) + geluC1
		e := exp2(float32(t*t) * (-log2e / 2))
		cdf := float32(float32(p*u) * e) // Phi(-t)
		if v > 0 {
			cdf = 1 - cdf
		}
		dst[i] = dy[i] * (cdf + float32(v*float32(root*e)))
	}
}

// ReLUGrad sets dx[i] to dy[i] where y[i], what [ReLU] gave, is positive, and
// to 0 elsewhere. dx may be dy or y, but must not overlap them otherwise.
func ReLUGrad(dx, dy, y []float32) {
	need("relu grad: dy", len(dy), len(dx))
	need("relu grad: y", len(y), len(dx))
	Parallel((len(dx)+chunk-1)/chunk, func(i int) {
		for j := i * chunk; j < min((i+1)*chunk, len(dx)); j++ {
			v := dy[j]
			if !(y[j] > 0) {
				v = 0
			}
			dx[j] = v
		}
	})
}
