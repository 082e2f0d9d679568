// Package edt computes exact Euclidean distance transforms.
//
// Pictures are [H, W] row-major; pixels lie on a grid of spacing sx, sy. The
// method is the two-pass lower envelope of Felzenszwalb and Huttenlocher 2012:
// distances within columns first, then along each row the envelope of the
// parabolas above its columns. Time is linear in the pixels.
//
//	var t edt.Transform
//	d2 := t.Squared(inside, h, w, 1, 1) // to the nearest set pixel
package edt

import "math"

// Transform holds the buffers of a transform, for use over and over. The zero
// value is ready. It is not safe for use by several goroutines at once.
type Transform struct {
	rows []int32   // rows to the nearest feature in the column, -1 none
	out  []float64 // [H, W]
	v    []int     // columns of the envelope's parabolas
	z    []float64 // where each parabola begins
	f    []float64 // their heights
}

// Squared returns the squared distance of each pixel to the nearest pixel that
// is set, +Inf everywhere if none is. The result is valid until the next call.
// It panics if feature is shorter than h*w.
func (t *Transform) Squared(feature []bool, h, w int, sx, sy float64) []float64 {
	n := h * w
	feature = feature[:n]
	t.rows, t.out = grown(t.rows, n), grown(t.out, n)
	t.v, t.z, t.f = grown(t.v, w), grown(t.z, w+1), grown(t.f, w)
	if n == 0 {
		return t.out
	}
	t.columns(feature, h, w)
	for y := range h {
		t.row(t.rows[y*w:(y+1)*w], t.out[y*w:(y+1)*w], sx, sy)
	}
	return t.out
}

func (t *Transform) columns(feature []bool, h, w int) {
	g := t.rows
	for x := range w {
		g[x] = -1
		if feature[x] {
			g[x] = 0
		}
	}
	for y := 1; y < h; y++ {
		up, row, set := g[(y-1)*w:y*w], g[y*w:(y+1)*w], feature[y*w:(y+1)*w]
		for x, u := range up {
			switch {
			case set[x]:
				row[x] = 0
			case u < 0:
				row[x] = -1
			default:
				row[x] = u + 1
			}
		}
	}
	for y := h - 2; y >= 0; y-- {
		down, row := g[(y+1)*w:(y+2)*w], g[y*w:(y+1)*w]
		for x, d := range down {
			if d >= 0 && (row[x] < 0 || d+1 < row[x]) {
				row[x] = d + 1
			}
		}
	}
}

func (t *Transform) row(g []int32, out []float64, sx, sy float64) {
	sx2, sy2 := sx*sx, sy*sy
	k := -1
	v, z, f := t.v, t.z, t.f
	for q, rows := range g {
		if rows < 0 {
			continue
		}
		h := float64(rows) * float64(rows) * sy2
		for k >= 0 {
			p := v[k]
			// left of s the parabola of p is lower, right of it that of q
			s := ((h-f[k])/sx2 + float64(q*q-p*p)) / float64(2*(q-p))
			if s > z[k] {
				z[k+1] = s
				break
			}
			k--
		}
		k++
		if k == 0 {
			z[0] = math.Inf(-1)
		}
		v[k], f[k] = q, h
	}
	if k < 0 {
		for x := range out {
			out[x] = math.Inf(1)
		}
		return
	}
	j := 0
	for x := range out {
		for j < k && z[j+1] < float64(x) {
			j++
		}
		d := float64(x - v[j])
		out[x] = d*d*sx2 + f[j]
	}
}

func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
