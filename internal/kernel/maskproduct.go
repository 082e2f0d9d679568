package kernel

// MaskProduct sets dst [m, n] = hyper [m, c] · up [n, c]ᵀ: for m small, n the
// pixels of the upscaled embedding. dst must not overlap the others.
func MaskProduct(dst, up, hyper []float32, n, c, m int) {
	maskProduct(active, dst, up, hyper, n, c, m)
}

// maskPanels is the number of panels of pixels that a task takes.
const maskPanels = 32

type maskTask struct {
	im             *impl
	dst, up, hyper []float32 // hyper is packed: tiles of mr rows, transposed
	n, c, m        int
}

var maskTasks freeList[maskTask]

func maskProduct(im *impl, dst, up, hyper []float32, n, c, m int) {
	need("mask product: dst", len(dst), m*n)
	need("mask product: up", len(up), n*c)
	need("mask product: hyper", len(hyper), m*c)
	if n <= 0 || m <= 0 {
		return
	}
	s := arenas.get()
	s.reset(m * c)
	rows := s.take(m * c)
	for i := 0; i < m; i += im.mr {
		r := min(im.mr, m-i)
		im.transpose(rows[i*c:], r, hyper[i*c:], c, r, c)
	}
	t := maskTasks.get()
	*t = maskTask{im, dst, up, rows, n, c, m}
	step := maskPanels * im.nr
	run((n+step-1)/step, t)
	*t = maskTask{}
	maskTasks.put(t)
	arenas.put(s)
}

func (t *maskTask) run(i int) {
	im, c, m := t.im, t.c, t.m
	step := maskPanels * im.nr
	j1 := min((i+1)*step, t.n)
	s := arenas.get()
	s.reset(c*im.nr + m*im.nr)
	panel, sums := s.take(c*im.nr), s.take(m*im.nr)
	clear(panel)
	for j := i * step; j < j1; j += im.nr {
		w := im.panelWidth(j1 - j)
		cols := min(w, j1-j)
		im.transpose(panel, w, t.up[j*c:], c, cols, c)
		for r0 := 0; r0 < m; r0 += im.mr {
			r := min(im.mr, m-r0)
			if cols == w {
				im.tileOf(r, w)(c, t.hyper[r0*c:], r, panel, t.dst[r0*t.n+j:], t.n, nil, 0)
				continue
			}
			im.tileOf(r, w)(c, t.hyper[r0*c:], r, panel, sums, w, nil, 0)
			for k := range r {
				copy(t.dst[(r0+k)*t.n+j:][:cols], sums[k*w:])
			}
		}
	}
	arenas.put(s)
}
