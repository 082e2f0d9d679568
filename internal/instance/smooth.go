package instance

import "math"

// smooth returns x [h, w] under a Gaussian of sigma pixels: columns, then
// rows.
//
// The radius is 3 sigma, rounded up; the taps are made in float64, normalised
// and rounded to float32; pixels beyond the edge are mirrored at the centre of
// the last pixel, which is not repeated. Sums are in float32, from the centre
// tap outwards, and not fused, so that they are the same on every processor;
// the reference's wheel fuses some of them and differs by a rounding.
//
// Source: filters/kernel.hxx, gaussian_kernel; filters/convolve.hxx
// (bioimage-cpp 0.10.0).
func smooth(x []float32, h, w int, sigma float64) []float32 {
	taps := gaussian(sigma)
	tmp, out := make([]float32, len(x)), make([]float32, len(x))
	for y := range h {
		dst := tmp[y*w : (y+1)*w]
		for i, v := range x[y*w : (y+1)*w] {
			dst[i] = taps[0] * v
		}
		for k := 1; k < len(taps); k++ {
			up, down := x[mirror(y-k, h)*w:][:w], x[mirror(y+k, h)*w:][:w]
			for i := range dst {
				dst[i] += float32(taps[k] * (up[i] + down[i]))
			}
		}
	}
	for y := range h {
		src, dst := tmp[y*w:(y+1)*w], out[y*w:(y+1)*w]
		for i := range dst {
			sum := taps[0] * src[i]
			if i >= len(taps) && i+len(taps) <= w {
				for k := 1; k < len(taps); k++ {
					sum += float32(taps[k] * (src[i-k] + src[i+k]))
				}
			} else {
				for k := 1; k < len(taps); k++ {
					sum += float32(taps[k] * (src[mirror(i-k, w)] + src[mirror(i+k, w)]))
				}
			}
			dst[i] = sum
		}
	}
	return out
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
