package instance

// The post-processing over a whole map at once, as upstream has it and as this
// package had it before it worked in bands: what bands are compared with.

// wholeSegment returns the instance of each pixel.
func wholeSegment(m Maps, o Options) []uint32 {
	foreground, centre, boundary := m.Foreground, m.Centre, m.Boundary
	if o.ForegroundSmoothing > 0 {
		foreground = wholeSmooth(foreground, m.H, m.W, o.ForegroundSmoothing)
	}
	if o.DistanceSmoothing > 0 {
		centre, boundary = wholeSmooth(centre, m.H, m.W, o.DistanceSmoothing), wholeSmooth(boundary, m.H, m.W, o.DistanceSmoothing)
	}
	mask, seed := make([]bool, m.H*m.W), make([]bool, m.H*m.W)
	for i := range mask {
		mask[i] = foreground[i] > o.ForegroundThreshold
		seed[i] = mask[i] && centre[i] < o.CentreThreshold && boundary[i] < o.BoundaryThreshold
	}
	labels, n := label(seed, m.H, m.W)
	wholeWatershed(labels, boundary, mask, m.H, m.W)
	if o.MinSize > 0 || o.MinForeground > 0 {
		drop(labels, n, o.MinSize, m.Foreground, o.MinForeground)
	}
	return labels
}

// wholeSmooth returns x [h, w] under a Gaussian of sigma pixels: columns, then
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
func wholeSmooth(x []float32, h, w int, sigma float64) []float32 {
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

// wholeWatershed grows the seeds in labels, [h, w], over the mask, lowest heights
// first. 4-connected; a pixel takes its label when it is first reached, and is
// grown from when the flood has come to its height. Among pixels of one level
// the one that was reached last goes first.
//
// Source: segmentation/watershed.hxx, watershed_2d (bioimage-cpp 0.10.0).
func wholeWatershed(labels []uint32, height []float32, mask []bool, h, w int) {
	level := quantise(height, mask)
	// One stack for each level, as lists through the pixels: a pixel is on one
	// stack once.
	top := make([]int32, levels) // pixel + 1, 0: empty
	below := make([]int32, len(labels))
	push := func(l, p int) {
		below[p] = top[l]
		top[l] = int32(p + 1)
	}
	for p, l := range labels {
		if l != 0 {
			push(int(level[p]), p)
		}
	}
	for l := range levels {
		for top[l] != 0 {
			p := int(top[l] - 1)
			top[l] = below[p]
			y, x := p/w, p%w
			reach := func(q int) {
				if mask[q] && labels[q] == 0 {
					labels[q] = labels[p]
					push(max(int(level[q]), l), q)
				}
			}
			if y > 0 {
				reach(p - w)
			}
			if y+1 < h {
				reach(p + w)
			}
			if x > 0 {
				reach(p - 1)
			}
			if x+1 < w {
				reach(p + 1)
			}
		}
	}
}

// quantise brings the heights under the mask to levels between their least and
// their largest, in float64 and rounded down.
func quantise(height []float32, mask []bool) []uint16 {
	out := make([]uint16, len(height))
	var least, most float32
	first := true
	for i, v := range height {
		if !mask[i] {
			continue
		}
		if first || v < least {
			least = v
		}
		if first || v > most {
			most = v
		}
		first = false
	}
	span := float64(most) - float64(least)
	if !(span > 0) {
		return out
	}
	scale := (levels - 1) / span
	for i, v := range height {
		if mask[i] {
			out[i] = uint16(min((float64(v)-float64(least))*scale, levels-1))
		}
	}
	return out
}

// label numbers the 8-connected parts of in, [h, w], from 1 on in the order of
// their first pixels, and returns how many there are.
func label(in []bool, h, w int) ([]uint32, int) {
	out := make([]uint32, len(in))
	n := uint32(0)
	var stack []int
	for first, set := range in {
		if !set || out[first] != 0 {
			continue
		}
		n++
		out[first] = n
		stack = append(stack[:0], first)
		for len(stack) > 0 {
			p := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			y, x := p/w, p%w
			for v := max(y-1, 0); v <= min(y+1, h-1); v++ {
				for u := max(x-1, 0); u <= min(x+1, w-1); u++ {
					if q := v*w + u; in[q] && out[q] == 0 {
						out[q] = n
						stack = append(stack, q)
					}
				}
			}
		}
	}
	return out, int(n)
}

// drop clears the instances of fewer than least pixels, and those whose pixels
// have less than mean foreground on average, and numbers the others anew, in the
// same order and without gaps. n is the largest number.
func drop(labels []uint32, n, least int, foreground []float32, mean float32) {
	size, sum := make([]int, n+1), make([]float64, n+1)
	for i, l := range labels {
		size[l]++
		sum[l] += float64(foreground[i])
	}
	number := make([]uint32, n+1)
	next := uint32(1)
	for l := 1; l <= n; l++ {
		if size[l] >= least && size[l] > 0 && float32(sum[l]/float64(size[l])) >= mean {
			number[l] = next
			next++
		}
	}
	for i, l := range labels {
		labels[i] = number[l]
	}
}
