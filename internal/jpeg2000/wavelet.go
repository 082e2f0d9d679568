package jpeg2000

import "unsafe"

// The steps of the 9/7 wavelet and its scale (T.800, table F.4).
const (
	alpha97 = -1.586134342059924
	beta97  = -0.052980118572961
	gamma97 = 0.882911075530934
	delta97 = 0.443506852043971
	scale97 = 1.230174104914001
)

// floats are the bits of a plane that is not reversible.
func floats(x []int32) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// scale folds the scale of the 9/7 wavelet into the step sizes: low frequencies
// are multiplied by it at each level, high ones divided, along each axis.
func (tc *tileComponent) scale(reduce int) {
	axis := func(a0, a1 int) (low, high float64) {
		if a1-a0 == 1 { // a single sample stays, or is halved
			return 1, 0.5
		}
		return scale97, 1 / scale97
	}
	all := 1.0
	for r := len(tc.res) - 1 - reduce; r > 0; r-- {
		s := &tc.res[r]
		lx, hx := axis(s.x0, s.x1)
		ly, hy := axis(s.y0, s.y1)
		s.bands[0].step *= all * hx * ly
		s.bands[1].step *= all * lx * hy
		s.bands[2].step *= all * hx * hy
		all *= lx * ly
	}
	tc.res[0].bands[0].step *= all
}

// synthesise undoes the wavelet of component c.
func (t *tile) synthesise(c int) {
	tc, w := &t.comps[c], t.d.work
	tc.out = tc.res[0].bands[0].pix
	for r := 1; r < len(tc.res)-t.d.reduce; r++ {
		s := &tc.res[r]
		out := plane{w: s.x1 - s.x0, h: s.y1 - s.y0}
		if out.w <= 0 || out.h <= 0 {
			tc.out = plane{}
			continue
		}
		out.pix = w.buffer(out.w * out.h)
		if n := 2 * (out.w + 16); len(w.rows) < n {
			w.rows = make([]int32, n)
		}
		v := synthesis{out: out, low: [2]plane{tc.out, s.bands[1].pix}, high: [2]plane{s.bands[0].pix, s.bands[2].pix},
			oddX: s.x0&1 != 0, oddY: s.y0&1 != 0, reversible: tc.coding.reversible, rows: w.rows}
		v.run()
		tc.out = out
	}
}

// synthesis undoes one level of the wavelet transform (T.800, annex F). The
// rows are put together one by one, each followed by the steps down the columns
// that it makes possible.
type synthesis struct {
	out        plane
	low, high  [2]plane // of low and high frequency across; down: 0 low, 1 high
	oddX, oddY bool     // the first column, row is of high frequency
	reversible bool
	rows       []int32 // room for two rows
}

func (v *synthesis) run() {
	done := 0
	upTo := func(y int) {
		for ; done <= min(y, v.out.h-1); done++ {
			v.across(done)
		}
	}
	if v.out.h == 1 {
		upTo(0)
		if v.reversible && v.oddY {
			halve(v.out.pix)
		}
		return
	}
	first := 0
	if v.oddY {
		first = 1
	}
	steps := 4
	if v.reversible {
		steps = 2
	}
	for y := first; y < v.out.h+steps; y += 2 {
		upTo(y + 1)
		v.down(y, 0)
		v.down(y-1, 1)
		if !v.reversible {
			v.down(y-2, 2)
			v.down(y-3, 3)
		}
	}
}

// across puts row y together.
func (v *synthesis) across(y int) {
	dst := v.out.pix[y*v.out.w:][:v.out.w]
	k := y & 1
	if v.oddY {
		k = 1 - k
	}
	n := y / 2
	if v.oddY && k == 0 {
		n = (y - 1) / 2
	}
	low, high := v.low[k].row(n), v.high[k].row(n)
	if len(dst) == 1 {
		if v.oddX {
			dst[0] = high[0]
			if v.reversible {
				dst[0] >>= 1
			}
		} else {
			dst[0] = low[0]
		}
		return
	}
	l, h := v.rows[:len(low)], v.rows[len(v.rows)/2:][:len(high)]
	lo, hi := -1, 0 // the first neighbour of a low sample, of a high one
	if v.oddX {
		lo, hi = 0, -1
	}
	if v.reversible {
		lift(l, low, high, lo, impl.low53)
		lift(h, high, l, hi, impl.high53)
	} else {
		fl, fh := floats(l), floats(h)
		lift(fl, floats(low), floats(high), lo, func(d, s, a, b []float32) { impl.lift97(d, s, a, b, -delta97) })
		lift(fh, floats(high), fl, hi, func(d, s, a, b []float32) { impl.lift97(d, s, a, b, -gamma97) })
		lift(fl, fl, fh, lo, func(d, s, a, b []float32) { impl.lift97(d, s, a, b, -beta97) })
		lift(fh, fh, fl, hi, func(d, s, a, b []float32) { impl.lift97(d, s, a, b, -alpha97) })
	}
	if v.oddX {
		impl.interleave(dst, h, l)
	} else {
		impl.interleave(dst, l, h)
	}
}

func (p *plane) row(y int) []int32 { return p.pix[y*p.w:][:p.w] }

// lift changes each sample by its two neighbours of the other kind, the first of
// which is first samples further on: dst = f(src, near). What lies outside is the
// mirror of what lies inside. dst may be src.
func lift[T int32 | float32](dst, src, near []T, first int, f func(dst, src, a, b []T)) {
	n, m := len(dst), len(near)
	edge := func(i int) {
		a := near[min(max(i+first, 0), m-1):][:1]
		b := near[min(i+first+1, m-1):][:1]
		f(dst[i:i+1], src[i:i+1], a, b)
	}
	from, to := -first, min(n, m-1-first)
	if from > 0 {
		edge(0)
	}
	if from < to {
		f(dst[from:to], src[from:to], near[from+first:], near[from+first+1:])
	}
	for i := max(to, from); i < n; i++ {
		edge(i)
	}
}

// down changes row y by the rows above and below it in one of the steps.
func (v *synthesis) down(y, step int) {
	h := v.out.h
	if y < 0 || y >= h {
		return
	}
	a, b := y-1, y+1
	if a < 0 {
		a = 1
	}
	if b >= h {
		b = h - 2
	}
	dst, ra, rb := v.out.row(y), v.out.row(a), v.out.row(b)
	switch {
	case v.reversible && step == 0:
		impl.low53(dst, dst, ra, rb)
	case v.reversible:
		impl.high53(dst, dst, ra, rb)
	default:
		c := [4]float32{-delta97, -gamma97, -beta97, -alpha97}[step]
		impl.lift97(floats(dst), floats(dst), floats(ra), floats(rb), c)
	}
}

// halve is for a single row of high frequency.
func halve(x []int32) {
	for i := range x {
		x[i] >>= 1
	}
}
