//go:build !purego && !noasm

package jpeg2000

import "golang.org/x/sys/cpu"

// avx2 does whole blocks in assembly and the rest in Go.
var avx2 = kernels{
	name: "avx2",
	low53: func(dst, src, a, b []int32) {
		n := check(len(dst), 8, len(src), len(a), len(b))
		low53BlocksAVX2(dst[:n], src, a, b)
		low53Generic(dst[n:], src[n:], a[n:], b[n:])
	},
	high53: func(dst, src, a, b []int32) {
		n := check(len(dst), 8, len(src), len(a), len(b))
		high53BlocksAVX2(dst[:n], src, a, b)
		high53Generic(dst[n:], src[n:], a[n:], b[n:])
	},
	lift97: func(dst, src, a, b []float32, c float32) {
		n := check(len(dst), 8, len(src), len(a), len(b))
		lift97BlocksAVX2(dst[:n], src, a, b, c)
		lift97Generic(dst[n:], src[n:], a[n:], b[n:], c)
	},
	interleave: func(dst, a, b []int32) {
		check((len(dst)+1)/2, 1, len(a))
		check(len(dst)/2, 1, len(b))
		n := len(dst) &^ 15
		interleaveBlocksAVX2(dst[:n], a, b)
		interleaveGeneric(dst[n:], a[n/2:], b[n/2:])
	},
	whole: func(dst []int32, mag []uint32) {
		n := check(len(dst), 8, len(mag))
		wholeBlocksAVX2(dst[:n], mag)
		wholeGeneric(dst[n:], mag[n:])
	},
	real: func(dst []float32, mag []uint32, step float32) {
		n := check(len(dst), 8, len(mag))
		realBlocksAVX2(dst[:n], mag, step)
		realGeneric(dst[n:], mag[n:], step)
	},
	rgbaICT:   pixels(rgbaICTBlocksAVX2, rgbaICTGeneric),
	rgbaRCT:   pixels(rgbaRCTBlocksAVX2, rgbaRCTGeneric),
	rgbaFloat: pixels(rgbaFloatBlocksAVX2, rgbaFloatGeneric),
	rgbaInt:   pixels(rgbaIntBlocksAVX2, rgbaIntGeneric),
}

func pixels[T int32 | float32](blocks, rest func(dst []byte, a, b, c []T)) func(dst []byte, a, b, c []T) {
	return func(dst []byte, a, b, c []T) {
		n := check(len(dst)/4, 8, len(a), len(b), len(c))
		blocks(dst[:4*n], a, b, c)
		rest(dst[4*n:], a[n:], b[n:], c[n:])
	}
}

// check returns how many of n values are in whole blocks. The assembly does not
// check that the other slices are as long.
func check(n, block int, others ...int) int {
	for _, o := range others {
		if o < n {
			panic("jpeg2000: kernel: slices differ in length")
		}
	}
	return n &^ (block - 1)
}

// missing lists the implementations of this architecture that the machine cannot
// run.
func missing() []string {
	if cpu.X86.HasAVX2 {
		return nil
	}
	return []string{"avx2"}
}

// implementations lists the kernels that this machine can run, best first.
func implementations() []*kernels {
	if cpu.X86.HasAVX2 {
		return []*kernels{&avx2, &generic}
	}
	return []*kernels{&generic}
}
