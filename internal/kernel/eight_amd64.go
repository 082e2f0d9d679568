//go:build !purego && !noasm

package kernel

import "golang.org/x/sys/cpu"

// avx2x8 needs what avx2 needs.
var avx2x8 = eightBit{
	name: "avx2", mr: 4, nr: 16,
	tile:       wordTile4x16AVX2,
	quick:      pairTile4x16AVX2,
	crowded:    crowdedAVX2,
	absMax:     absMaxAVX2,
	quantise:   quantiseAVX2,
	dequantise: dequantiseAVX2,
	transpose:  func(dst, src []uint32, lds, n int) { avx2.transpose(asFloats(dst), 4, asFloats(src), lds, 4, n) },
}

// vnni needs AVX-512 VNNI beside what avx512 needs.
var vnni = eightBit{
	name: "vnni", mr: 12, nr: 32,
	tile:       wordTile12x32VNNI,
	absMax:     absMaxAVX2,
	quantise:   quantiseAVX2,
	dequantise: dequantiseAVX2,
	transpose:  func(dst, src []uint32, lds, n int) { avx512.transpose(asFloats(dst), 12, asFloats(src), lds, 12, n) },
}

// eightBits lists the implementations of products in 8 bits that this machine
// can run, best first.
func eightBits() []*eightBit {
	var list []*eightBit
	if hasAVX512() && cpu.X86.HasAVX512VNNI {
		list = append(list, &vnni)
	}
	if hasAVX2() {
		list = append(list, &avx2x8)
	}
	return append(list, &generic8)
}

// The assembly works on whole blocks; Go does what is left.

func absMaxAVX2(x []float32) uint32 {
	n := len(x) &^ 15
	return max(absMaxBlocksAVX2(x[:n]), absMaxGeneric(x[n:]))
}

func quantiseAVX2(dst []uint32, x []float32, scale float32) int32 {
	n := len(x) &^ 15
	return quantiseBlocksAVX2(dst, x[:n], scale) + quantiseGeneric(dst[n/4:], x[n:], scale)
}

func dequantiseAVX2(dst []float32, sums []int32, start int32, scales, bias []float32, scale float32) {
	n := len(dst) &^ 7
	dequantiseBlocksAVX2(dst[:n], sums, start, scales, bias, scale)
	dequantiseGeneric(dst[n:], sums[n:], start, scales[n:], bias[n:], scale)
}
