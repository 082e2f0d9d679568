package kernel

import "math"

// Bilinear2x sets dst [2h*2w, c] to the map x [h*w, c] with its sides doubled:
// each pixel takes 9/16, 3/16, 3/16 and 1/16 of the four pixels nearest to it,
// where those beyond the edge are those at the edge. dst must not overlap x.
func Bilinear2x(dst, x []float32, h, w, c int) {
	need("bilinear: dst", len(dst), 4*h*w*c)
	need("bilinear: x", len(x), h*w*c)
	Parallel(2*h, func(y int) {
		near, far := around(y, h)
		a, b := x[near*w*c:][:w*c], x[far*w*c:][:w*c]
		s := arenas.get()
		s.reset(w * c)
		row := s.take(w * c)
		active.blend(row, a, b, 0.75, 0.25)
		for i := range 2 * w {
			near, far := around(i, w)
			active.blend(dst[(y*2*w+i)*c:][:c], row[near*c:][:c], row[far*c:][:c], 0.75, 0.25)
		}
		arenas.put(s)
	})
}

// around returns the row that lies nearest to row i of twice as many, and the
// next one on i's side, which is the same at the edge.
func around(i, n int) (near, far int) {
	near = i / 2
	far = near - 1 + i%2*2
	return near, max(0, min(far, n-1))
}

// channelRows is how many rows of a map are summed up at a time: sums do not
// depend on how many cores there are.
const channelRows = 512

// ChannelStats sets mean and variance to those of each column of x [rows, c];
// the variance is the biased one. Sums are in float64.
func ChannelStats(mean, variance []float64, x []float32, rows, c int) {
	PartStats(mean, variance, ConvPart{X: x, Ld: c, C: c}, rows)
}

// PartStats is ChannelStats for the channels of a part, of so many rows.
func PartStats(mean, variance []float64, x ConvPart, rows int) {
	c := x.C
	needMatrix("channel stats: x", len(x.X), rows, c, x.Ld)
	parts := (rows + channelRows - 1) / channelRows
	sums := make([]float64, 2*c*parts)
	im := active
	whole := c / im.lanes * im.lanes
	Parallel(parts, func(i int) {
		sum, square := sums[2*c*i:][:c], sums[2*c*i+c:][:c]
		first := i * channelRows
		n, at := min(channelRows, rows-first), x.X[first*x.Ld:]
		if whole > 0 {
			im.channelSums(sum, square, at, x.Ld, n, whole)
		}
		if whole < c {
			channelSumsGeneric(sum[whole:], square[whole:], at[whole:], x.Ld, n, c-whole)
		}
	})
	for k := range c {
		var sum, square float64
		for i := range parts {
			sum += sums[2*c*i+k]
			square += sums[2*c*i+c+k]
		}
		mean[k] = sum / float64(rows)
		variance[k] = max(0, square/float64(rows)-float64(mean[k]*mean[k]))
	}
}

// ScaleShift sets each row of dst [rows, c] to x's times scale plus shift,
// each [c]. dst may be x, but must not overlap it otherwise.
func ScaleShift(dst, x, scale, shift []float32, rows, c int) {
	need("scale: dst", len(dst), rows*c)
	need("scale: x", len(x), rows*c)
	need("scale: scale", len(scale), c)
	need("scale: shift", len(shift), c)
	im := active
	whole := c / im.lanes * im.lanes
	step := max(1, chunk/c)
	Parallel((rows+step-1)/step, func(i int) {
		at, n := i*step*c, min(step, rows-i*step)
		if whole > 0 {
			im.scaleShift(dst[at:], x[at:], scale, shift, n, c, whole)
		}
		if at += whole; whole < c {
			scaleShiftGeneric(dst[at:], x[at:], scale[whole:], shift[whole:], n, c, c-whole)
		}
	})
}

// scaleShiftGeneric scales and shifts n elements of each row, c apart.
func scaleShiftGeneric(dst, x, scale, shift []float32, rows, c, n int) {
	for r := range rows {
		d, s, a, b := dst[r*c:][:n], x[r*c:][:n], scale[:n], shift[:n]
		for k, v := range s {
			d[k] = float32(v*a[k]) + b[k]
		}
	}
}

// channelSumsGeneric adds n columns of x, and their squares, to sums; rows lie ld
// apart.
func channelSumsGeneric(sum, square []float64, x []float32, ld, rows, n int) {
	sum, square = sum[:n], square[:n]
	for r := range rows {
		for k, v := range x[r*ld:][:n] {
			f := float64(v)
			sum[k] += f
			square[k] += float64(f * f)
		}
	}
}

// Sigmoid sets dst[i] = 1/(1+exp(-x[i])). dst has x's length and may be x, but
// must not overlap it otherwise.
func Sigmoid(dst, x []float32) {
	need("sigmoid: x", len(x), len(dst))
	Parallel((len(dst)+chunk-1)/chunk, func(i int) {
		for k := i * chunk; k < min((i+1)*chunk, len(dst)); k++ {
			dst[k] = float32(1 / (1 + math.Exp(-float64(x[k]))))
		}
	})
}
