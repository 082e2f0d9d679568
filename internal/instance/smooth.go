package instance

import (
	"math"
	"slices"
)

// filter smooths maps that come row by row, and hands each row on as soon as
// the rows that it depends on have come. It holds no more than those.
//
// A Gaussian of sigma pixels is taken over columns, then over rows. Its radius
// is 3 sigma, rounded up; the taps are made in float64, normalised and rounded
// to float32; pixels beyond the edge are mirrored at the centre of the last
// pixel, which is not repeated. Sums are in float32, from the centre tap
// outwards, and not fused, so that they are the same on every processor; the
// reference's wheel fuses some of them and differs by a rounding.
//
// Where no foreground is near, no pixel can come above the threshold, and
// nothing is computed.
//
// Source: filters/kernel.hxx, gaussian_kernel; filters/convolve.hxx
// (bioimage-cpp 0.10.0).
type filter struct {
	h, w      int
	threshold float32
	taps      [maps][]float32   // of each map, from the centre outwards
	radius    int               // the largest
	ring      [maps][][]float32 // the last rows that came, each at its number modulo the ring's length
	hot       [][]bool          // and which of their stretches may be foreground
	in, out   int               // rows that came and that were handed on
	row       smoothRow
	columns   []float32
}

// The maps, in the order of Maps.
const (
	foreground = iota
	centre
	boundary
	maps
)

// smoothRow is a row on its way out of a filter.
type smoothRow struct {
	y      int
	raw    [maps][]float32 // [w], as it came
	smooth [maps][]float32 // [w], valid in spans
	spans  [][2]int        // the columns outside which nothing is foreground
}

// stretch is how many columns a filter computes or passes over together.
const stretch = 64

// newFilter returns a filter of some of the maps; the others are handed on as
// they are.
func newFilter(h, w int, o Options, of ...int) *filter {
	f := &filter{h: h, w: w, threshold: o.ForegroundThreshold, columns: make([]float32, w)}
	sigma := [maps]float64{foreground: o.ForegroundSmoothing, centre: o.DistanceSmoothing, boundary: o.DistanceSmoothing}
	for m := range maps {
		f.taps[m] = []float32{1}
		if sigma[m] > 0 && slices.Contains(of, m) {
			f.taps[m] = gaussian(sigma[m])
			f.row.smooth[m] = make([]float32, w)
		}
		f.radius = max(f.radius, len(f.taps[m])-1)
	}
	n := min(2*f.radius+1, h)
	for m := range f.ring {
		f.ring[m] = make([][]float32, n)
		for i := range f.ring[m] {
			f.ring[m][i] = make([]float32, w)
		}
	}
	f.hot = make([][]bool, n)
	for i := range f.hot {
		f.hot[i] = make([]bool, (w-1)/stretch+1)
	}
	return f
}

// add takes the next row of each map, [w], which it copies, and hands on the
// rows that are ready; what it hands on is valid during the call.
func (f *filter) add(rows [maps][]float32, each func(*smoothRow) error) error {
	at := f.in % len(f.hot)
	for m, r := range rows {
		copy(f.ring[m][at], r)
	}
	for c := range f.hot[at] {
		f.hot[at][c] = f.warm(rows[foreground][c*stretch : min((c+1)*stretch, f.w)])
	}
	f.in++
	for f.out < f.in && (f.in == f.h || f.out+f.radius < f.in) {
		f.next()
		if err := each(&f.row); err != nil {
			return err
		}
	}
	return nil
}

// warm reports whether a weighted mean of the values may be above the
// threshold: the taps add up to one but for some roundings.
func (f *filter) warm(values []float32) bool {
	for _, v := range values {
		if v > f.threshold-1e-3 || v < -1 {
			return true
		}
	}
	return false
}

// next computes row out.
func (f *filter) next() {
	y := f.out
	f.out++
	f.row.y = y
	for m := range maps {
		f.row.raw[m] = f.ring[m][y%len(f.hot)]
	}
	f.row.spans = f.row.spans[:0]
	r := len(f.taps[foreground]) - 1
	wide := (r + stretch - 1) / stretch
	for c := range f.hot[0] {
		if !f.near(y-r, y+r, c-wide, c+wide) {
			continue
		}
		x0, x1 := c*stretch, min((c+1)*stretch, f.w)
		if n := len(f.row.spans); n > 0 && f.row.spans[n-1][1] == x0 {
			f.row.spans[n-1][1] = x1
			continue
		}
		f.row.spans = append(f.row.spans, [2]int{x0, x1})
	}
	for m, taps := range f.taps {
		if len(taps) == 1 {
			f.row.smooth[m] = f.row.raw[m]
			continue
		}
		for _, s := range f.row.spans {
			f.smooth(m, taps, s[0], s[1])
		}
	}
}

// near reports whether a stretch c0 to c1 of rows y0 to y1 is hot.
func (f *filter) near(y0, y1, c0, c1 int) bool {
	for y := max(y0, 0); y <= min(y1, f.h-1); y++ {
		if slices.Contains(f.hot[y%len(f.hot)][max(c0, 0):min(c1+1, len(f.hot[0]))], true) {
			return true
		}
	}
	return false
}

// smooth computes columns x0 to x1 of the row.
func (f *filter) smooth(m int, taps []float32, x0, x1 int) {
	y, ring := f.row.y, f.ring[m]
	u0, u1 := max(x0-len(taps), 0), min(x1+len(taps), f.w)
	tmp := f.columns[u0:u1]
	for i, v := range ring[y%len(ring)][u0:u1] {
		tmp[i] = taps[0] * v
	}
	for k := 1; k < len(taps); k++ {
		up, down := ring[mirror(y-k, f.h)%len(ring)][u0:u1], ring[mirror(y+k, f.h)%len(ring)][u0:u1]
		for i := range tmp {
			tmp[i] += float32(taps[k] * (up[i] + down[i]))
		}
	}
	src, dst := f.columns, f.row.smooth[m]
	for i := x0; i < x1; i++ {
		sum := taps[0] * src[i]
		if i >= len(taps) && i+len(taps) <= f.w {
			for k := 1; k < len(taps); k++ {
				sum += float32(taps[k] * (src[i-k] + src[i+k]))
			}
		} else {
			for k := 1; k < len(taps); k++ {
				sum += float32(taps[k] * (src[mirror(i-k, f.w)] + src[mirror(i+k, f.w)]))
			}
		}
		dst[i] = sum
	}
}

// gaussian returns the taps of a symmetric filter from its centre outwards.
func gaussian(sigma float64) []float32 {
	radius := max(1, int(math.Ceil(3*sigma)))
	raw := make([]float64, radius+1)
	sum := 0.0
	for i := range raw {
		x := float64(i)
		raw[i] = math.Exp(-x * x * (0.5 * (1 / (sigma * sigma))))
		if i == 0 {
			sum = raw[0]
		} else {
			sum += 2 * raw[i]
		}
	}
	taps := make([]float32, radius+1)
	scale := 1 / sum
	for i, v := range raw {
		taps[i] = float32(v * scale)
	}
	return taps
}

// mirror brings an index into a row of n pixels.
func mirror(i, n int) int {
	if n == 1 {
		return 0
	}
	period := 2 * (n - 1)
	i %= period
	if i < 0 {
		i += period
	}
	if i >= n {
		i = period - i
	}
	return i
}
