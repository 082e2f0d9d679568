package jpeg2000

import "math"

// kernels are the inner loops over rows. All implementations give the same bits.
// The slices of one call are as long as the first, or longer.
type kernels struct {
	name string
	// low53 is dst = src - (a+b+2)>>2, high53 is dst = src + (a+b)>>1.
	low53, high53 func(dst, src, a, b []int32)
	// lift97 is dst = src + c*(a+b), each operation rounded.
	lift97 func(dst, src, a, b []float32, c float32)
	// interleave puts a and b together: a[0], b[0], a[1] and so on.
	interleave func(dst, a, b []int32)
	// whole turns doubled magnitudes with their signs into integers, real into
	// multiples of step.
	whole func(dst []int32, mag []uint32)
	real  func(dst []float32, mag []uint32, step float32)
	// The others write RGBA: from floats through the irreversible transform, from
	// integers through the reversible one, and as they are. To each is added 128.
	rgbaICT   func(dst []byte, y, cb, cr []float32)
	rgbaRCT   func(dst []byte, y, cb, cr []int32)
	rgbaFloat func(dst []byte, r, g, b []float32)
	rgbaInt   func(dst []byte, r, g, b []int32)
}

var impl = implementations()[0]

var generic = kernels{
	name: "generic", low53: low53Generic, high53: high53Generic, lift97: lift97Generic, interleave: interleaveGeneric,
	whole: wholeGeneric, real: realGeneric,
	rgbaICT: rgbaICTGeneric, rgbaRCT: rgbaRCTGeneric, rgbaFloat: rgbaFloatGeneric, rgbaInt: rgbaIntGeneric,
}

func low53Generic(dst, src, a, b []int32) {
	src, a, b = src[:len(dst)], a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = src[i] - (a[i]+b[i]+2)>>2
	}
}

func high53Generic(dst, src, a, b []int32) {
	src, a, b = src[:len(dst)], a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = src[i] + (a[i]+b[i])>>1
	}
}

func lift97Generic(dst, src, a, b []float32, c float32) {
	src, a, b = src[:len(dst)], a[:len(dst)], b[:len(dst)]
	for i := range dst {
		dst[i] = src[i] + float32(c*float32(a[i]+b[i]))
	}
}

func interleaveGeneric(dst, a, b []int32) {
	for i := range len(dst) / 2 {
		dst[2*i], dst[2*i+1] = a[i], b[i]
	}
	if n := len(dst); n&1 != 0 {
		dst[n-1] = a[n/2]
	}
}

func wholeGeneric(dst []int32, mag []uint32) {
	mag = mag[:len(dst)]
	for i, v := range mag {
		s := int32(v) >> 31
		dst[i] = (int32(v&^(1<<31)>>1) ^ s) - s
	}
}

func realGeneric(dst []float32, mag []uint32, step float32) {
	mag = mag[:len(dst)]
	for i, v := range mag {
		x := float32(int32(v&^(1<<31))) * step
		dst[i] = math.Float32frombits(math.Float32bits(x) | v&(1<<31))
	}
}

// The coefficients of the irreversible colour transform (T.800, G.3.2).
const (
	crToR = 1.402
	cbToG = -0.344136286201022
	crToG = -0.714136286201022
	cbToB = 1.772
)

func rgbaICTGeneric(dst []byte, y, cb, cr []float32) {
	n := len(dst) / 4
	y, cb, cr = y[:n], cb[:n], cr[:n]
	for i := range n {
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0] = byteOf(y[i] + float32(cr[i]*crToR))
		d[1] = byteOf(y[i] + float32(cb[i]*cbToG) + float32(cr[i]*crToG))
		d[2] = byteOf(y[i] + float32(cb[i]*cbToB))
		d[3] = 255
	}
}

func rgbaRCTGeneric(dst []byte, y, cb, cr []int32) {
	n := len(dst) / 4
	y, cb, cr = y[:n], cb[:n], cr[:n]
	for i := range n {
		d := dst[4*i : 4*i+4 : 4*i+4]
		g := y[i] - (cb[i]+cr[i])>>2
		d[0], d[1], d[2], d[3] = clamp8(cr[i]+g), clamp8(g), clamp8(cb[i]+g), 255
	}
}

func rgbaFloatGeneric(dst []byte, r, g, b []float32) {
	n := len(dst) / 4
	r, g, b = r[:n], g[:n], b[:n]
	for i := range n {
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0], d[1], d[2], d[3] = byteOf(r[i]), byteOf(g[i]), byteOf(b[i]), 255
	}
}

func rgbaIntGeneric(dst []byte, r, g, b []int32) {
	n := len(dst) / 4
	r, g, b = r[:n], g[:n], b[:n]
	for i := range n {
		d := dst[4*i : 4*i+4 : 4*i+4]
		d[0], d[1], d[2], d[3] = clamp8(r[i]), clamp8(g[i]), clamp8(b[i]), 255
	}
}

// round rounds to the nearest integer, halves to even ones. What is too large
// for 32 bits, or no number, becomes the least of them, as on amd64.
func round(x float32) int32 {
	if !(x >= -1<<31 && x < 1<<31) {
		return math.MinInt32
	}
	return int32(math.RoundToEven(float64(x)))
}

func byteOf(x float32) byte { return clamp8(round(x)) }

func clamp8(v int32) byte { return byte(min(max(int64(v)+128, 0), 255)) }
