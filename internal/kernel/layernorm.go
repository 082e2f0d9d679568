package kernel

type normTask struct {
	im                  *impl
	dst, x, gamma, beta []float32
	rows, c, step       int
	eps                 float32
}

var normTasks freeList[normTask]

// LayerNorm sets each row of dst [rows, c] to the normalised row of x:
//
//	(x - mean) / sqrt(variance + eps) * gamma + beta
//
// with the biased variance, taken from the deviations in a second pass. gamma
// and beta have c elements. dst may be x, but must not overlap it otherwise.
func LayerNorm(dst, x, gamma, beta []float32, rows, c int, eps float32) {
	layerNorm(active, dst, x, gamma, beta, rows, c, eps)
}

func layerNorm(im *impl, dst, x, gamma, beta []float32, rows, c int, eps float32) {
	need("layer norm: dst", len(dst), rows*c)
	need("layer norm: x", len(x), rows*c)
	need("layer norm: gamma", len(gamma), c)
	need("layer norm: beta", len(beta), c)
	if rows <= 0 || c <= 0 {
		return
	}
	t := normTasks.get()
	*t = normTask{im, dst, x, gamma, beta, rows, c, max(1, chunk/c), eps}
	if rows*c <= 2*chunk {
		t.span(0, rows)
	} else {
		run((rows+t.step-1)/t.step, t)
	}
	*t = normTask{}
	normTasks.put(t)
}

func (t *normTask) run(i int) { t.span(i*t.step, min((i+1)*t.step, t.rows)) }

func (t *normTask) span(i, j int) {
	t.im.layerNorm(t.dst[i*t.c:], t.x[i*t.c:], t.gamma, t.beta, j-i, t.c, t.eps)
}
