package kernel

// Blend sets dst[i] = a[i]*wa + b[i]*wb. Each product is rounded before they
// are added, so that all implementations give the same bits. a and b have
// dst's length; dst may be one of them, but must not overlap them otherwise.
// Blend runs on the calling goroutine.
func Blend(dst, a, b []float32, wa, wb float32) {
	need("blend: a", len(a), len(dst))
	need("blend: b", len(b), len(dst))
	active.blend(dst, a, b, wa, wb)
}

// Interpolate sets dst[i] = src[i0[i]]*w0[i] + src[i1[i]]*w1[i]. As in [Blend]
// the products are rounded. The other slices have dst's length; indices lie in
// src and do not fall. dst must not overlap src. Interpolate runs on the
// calling goroutine.
func Interpolate(dst, src []float32, i0, i1 []int32, w0, w1 []float32) {
	interpolate(active, dst, src, i0, i1, w0, w1)
}

func interpolate(im *impl, dst, src []float32, i0, i1 []int32, w0, w1 []float32) {
	n := len(dst)
	need("interpolate: indices", min(len(i0), len(i1)), n)
	need("interpolate: weights", min(len(w0), len(w1)), n)
	if n == 0 {
		return
	}
	if i0[0] < 0 || int(max(i0[n-1], i1[n-1])) >= len(src) {
		panic("kernel: interpolate: index outside the source")
	}
	whole := n - n%im.lanes
	im.interpolate(dst[:whole], src, i0, i1, w0, w1)
	if whole < n {
		interpolateGeneric(dst[whole:], src, i0[whole:], i1[whole:], w0[whole:], w1[whole:])
	}
}

// SetAbove sets bit x0+i of the words of bits, the lowest of a word first, for
// each x[i] > limit. Those bits must be 0 before. NaN is above nothing.
// SetAbove runs on the calling goroutine.
func SetAbove(bits []uint64, x0 int, x []float32, limit float32) {
	setAbove(active, bits, x0, x, limit)
}

func setAbove(im *impl, bits []uint64, x0 int, x []float32, limit float32) {
	need("above: bits", 64*len(bits), x0+len(x))
	bits = bits[x0>>6:]
	if shift := x0 & 63; shift > 0 {
		n := min(64-shift, len(x))
		bits[0] |= someAbove(x[:n], limit) << shift
		bits, x = bits[1:], x[n:]
	}
	words := len(x) / 64
	im.above(bits[:words], x, limit)
	if rest := x[64*words:]; len(rest) > 0 {
		bits[words] |= someAbove(rest, limit)
	}
}

// someAbove returns the bits of up to 64 elements.
func someAbove(x []float32, limit float32) uint64 {
	var w uint64
	for i, v := range x {
		if v > limit {
			w |= 1 << i
		}
	}
	return w
}
