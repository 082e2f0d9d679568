package train

import "fmt"

// Window is a part of a low-resolution mask, the cells from column X0 to X1-1
// and from row Y0 to Y1-1, in which the loss compares pixels in place of cells:
// Factor x Factor for each cell, the logits interpolated between the cells'
// centres as the model's user sees them. An object of a few cells has its
// outline there.
//
// Share is the object's share of each pixel, row by row, at least
// (Y1-Y0)*Factor rows of (X1-X0)*Factor. The zero value is no window.
type Window struct {
	X0, Y0, X1, Y1, Factor int
	Share                  []float32
}

// check returns an error if the window does not lie in h x w cells.
func (w Window) check(h, n int) error {
	if w.empty() {
		return nil
	}
	if w.X0 < 0 || w.Y0 < 0 || w.X1 > n || w.Y1 > h || len(w.Share) < (w.X1-w.X0)*(w.Y1-w.Y0)*w.Factor*w.Factor {
		return fmt.Errorf("train: window %d,%d-%d,%d of %d pixels a cell with %d values in %d x %d cells", w.X0, w.Y0, w.X1, w.Y1, w.Factor, len(w.Share), n, h)
	}
	return nil
}

func (w Window) empty() bool { return w.X1 <= w.X0 || w.Y1 <= w.Y0 || w.Factor < 1 }

// area is that of a pixel, in cells.
func (w Window) area() float64 { return 1 / float64(max(1, w.Factor*w.Factor)) }

// tap is where a pixel's value comes from along one axis: the cells a and b,
// and b's weight.
type tap struct {
	a, b int
	w    float64
}

// taps are those of the pixels of cells [from, to) of side.
//
// Source: torch's F.interpolate, bilinear, align_corners=False.
func (w Window) taps(from, to, side int) []tap {
	out := make([]tap, 0, (to-from)*w.Factor)
	for i := from * w.Factor; i < to*w.Factor; i++ {
		src := max(0, (float64(i)+0.5)/float64(w.Factor)-0.5)
		a := int(src)
		out = append(out, tap{a, min(a+1, side-1), src - float64(a)})
	}
	return out
}

// pixels calls f for each row of pixels: those of the cells' rows a and b that
// it lies between and b's weight, the pixels' logits and the object's shares.
// The logits are overwritten by the next row's.
func (w Window) pixels(plane []float32, side int, xs []tap, f func(y tap, x, t []float32)) {
	row := make([]float32, len(xs))
	for i, y := range w.taps(w.Y0, w.Y1, side) {
		a, b := plane[y.a*side:][:side], plane[y.b*side:][:side]
		for j, x := range xs {
			top := float64(a[x.a])*(1-x.w) + float64(a[x.b])*x.w
			low := float64(b[x.a])*(1-x.w) + float64(b[x.b])*x.w
			row[j] = float32(top*(1-y.w) + low*y.w)
		}
		f(y, row, w.Share[i*len(xs):][:len(xs)])
	}
}

// each calls f for each row of pixels with their logits and the object's
// shares.
func (w Window) each(plane []float32, side int, f func(x, t []float32)) {
	if w.empty() {
		return
	}
	w.pixels(plane, side, w.taps(w.X0, w.X1, side), func(_ tap, x, t []float32) { f(x, t) })
}

// spread adds to d, the gradient of the cells' logits, what slopes sets for
// the pixels of a row.
func (w Window) spread(d, plane []float32, side int, slopes func(d, x, t []float32)) {
	if w.empty() {
		return
	}
	xs := w.taps(w.X0, w.X1, side)
	ga, gb, row := make([]float64, side), make([]float64, side), make([]float32, len(xs))
	w.pixels(plane, side, xs, func(y tap, x, t []float32) {
		slopes(row, x, t)
		clear(ga)
		clear(gb)
		for j, x := range xs {
			g := float64(row[j]) * w.area()
			ga[x.a] += g * (1 - y.w) * (1 - x.w)
			ga[x.b] += g * (1 - y.w) * x.w
			gb[x.a] += g * y.w * (1 - x.w)
			gb[x.b] += g * y.w * x.w
		}
		lo, hi := xs[0].a, xs[len(xs)-1].b
		for x := lo; x <= hi; x++ {
			d[y.a*side+x] += float32(ga[x])
			d[y.b*side+x] += float32(gb[x])
		}
	})
}

// Around returns the window for an object of that box, in cells of a picture
// of h x w of them: the box and margin cells round it, with four pixels a cell
// along each axis or, if that were more than limit pixels, two. If those are
// too many as well it returns none: an object that large has its outline in
// the cells. The caller fills Share, which is empty.
func Around(box [4]float64, margin, h, w, limit int) Window {
	o := Window{
		X0: max(0, int(box[0])-margin), Y0: max(0, int(box[1])-margin),
		X1: min(w, int(box[2])+1+margin), Y1: min(h, int(box[3])+1+margin),
	}
	for _, f := range []int{4, 2} {
		if n := (o.X1 - o.X0) * (o.Y1 - o.Y0) * f * f; n > 0 && n <= limit {
			o.Factor, o.Share = f, make([]float32, n)
			return o
		}
	}
	return Window{}
}
