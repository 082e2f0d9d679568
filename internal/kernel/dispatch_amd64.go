//go:build !purego && !noasm

package kernel

import "golang.org/x/sys/cpu"

// avx2 needs AVX2, FMA, F16C and BMI2 (all on every such CPU from Haswell and Zen
// on). GODEBUG=cpu.avx2=off turns it and avx512 off.
var avx2 = impl{
	name: "avx2",
	mr:   6, nr: 16, half: 8, cols: 64,
	tile: [2][]tileFunc{
		{tile1x8AVX2, tile2x8AVX2, tile3x8AVX2, tile4x8AVX2, tile5x8AVX2, tile6x8AVX2},
		{tile1x16AVX2, tile2x16AVX2, tile3x16AVX2, tile4x16AVX2, tile5x16AVX2, tile6x16AVX2},
	},
	transposeRows: [4]func([]float32, int, []float32, int, int){
		transpose1AVX2, transpose2AVX2, transpose3AVX2, transpose4AVX2},
	transpose8: transpose8AVX2,
	strip:      stripAVX2,
	stack:      stackAVX2,
	rowStrip:   rowStripAVX2,
	winogradIn: winogradInAVX2, winogradOut: winogradOutAVX2,
	depthwise: depthwiseAVX2, scaleShift: scaleShiftAVX2, channelSums: channelSumsAVX2,
	prefetch:  prefetchAVX2,
	biasMax:   biasMaxAVX2,
	maxRows:   maxRowsAVX2,
	expSum:    expSumAVX2,
	mulRows:   mulRowsAVX2,
	widen:     widenAVX2,
	narrow:    narrowAVX2,
	add:       addAVX2,
	mul:       mulAVX2,
	scale:     scaleAVX2,
	blend:     blendAVX2,
	above:     aboveAVX2,
	relu:      reluAVX2,
	gelu:      geluAVX2,
	exp2:      exp2AVX2,
	layerNorm: layerNormAVX2,
	normCols:  normColsAVX2,
	geluGrad:  geluGradAVX2, normGradX: normGradXAVX2, normGradParams: normGradParamsAVX2,
	lanes: 8, interpolate: interpolateAVX2,
	fma: func(n int) int { fmaAVX2(n); return n * 24 * 8 * 2 },
}

// avx512 needs AVX-512 F, VL, DQ and BW beside what avx2 needs.
// GODEBUG=cpu.avx512f=off turns it off.
var avx512 = impl{
	name: "avx512",
	mr:   12, nr: 32, half: 16, cols: 256,
	tile: [2][]tileFunc{
		{tile1x16AVX512, tile2x16AVX512, tile3x16AVX512, tile4x16AVX512, tile5x16AVX512, tile6x16AVX512,
			tile7x16AVX512, tile8x16AVX512, tile9x16AVX512, tile10x16AVX512, tile11x16AVX512, tile12x16AVX512},
		{tile1x32AVX512, tile2x32AVX512, tile3x32AVX512, tile4x32AVX512, tile5x32AVX512, tile6x32AVX512,
			tile7x32AVX512, tile8x32AVX512, tile9x32AVX512, tile10x32AVX512, tile11x32AVX512, tile12x32AVX512},
	},
	transposeRows: [4]func([]float32, int, []float32, int, int){
		transpose1AVX512, transpose2AVX512, transpose3AVX512, transpose4AVX512},
	transpose8: transpose8AVX2,
	strip:      stripAVX512,
	stack:      stackAVX512,
	rowStrip:   rowStripAVX512,
	winogradIn: winogradInAVX512, winogradOut: winogradOutAVX512,
	depthwise: depthwiseAVX512, scaleShift: scaleShiftAVX512, channelSums: channelSumsAVX512,
	prefetch:  prefetchAVX512,
	biasMax:   biasMaxAVX512,
	maxRows:   maxRowsAVX512,
	expSum:    expSumAVX512,
	mulRows:   mulRowsAVX512,
	widen:     widenAVX2,
	narrow:    narrowAVX2,
	add:       addAVX512,
	mul:       mulAVX512,
	scale:     scaleAVX512,
	blend:     blendAVX512,
	above:     aboveAVX512,
	relu:      reluAVX512,
	gelu:      geluAVX512,
	exp2:      exp2AVX512,
	layerNorm: layerNormAVX512,
	normCols:  normColsAVX512,
	geluGrad:  geluGradAVX512, normGradX: normGradXAVX512, normGradParams: normGradParamsAVX512,
	lanes: 16, interpolate: interpolateAVX512,
	fma: func(n int) int { fmaAVX512(n); return n * 24 * 16 * 2 },
}

func hasAVX2() bool {
	return cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C && cpu.X86.HasBMI2
}

func hasAVX512() bool {
	return hasAVX2() && cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512BW
}

// impls lists the implementations that this machine can run, best first.
func impls() []*impl {
	var list []*impl
	if hasAVX512() {
		list = append(list, &avx512)
	}
	if hasAVX2() {
		list = append(list, &avx2)
	}
	return append(list, &generic)
}

// missing lists the implementations of this architecture that the machine
// cannot run.
func missing() []string {
	var list []string
	if !hasAVX2() {
		list = append(list, "avx2")
	}
	if !hasAVX512() {
		list = append(list, "avx512")
	}
	return list
}

// widenAVX2 does whole blocks in assembly and the rest in Go.
func widenAVX2(dst []float32, src []uint16) {
	n := len(dst) &^ 15
	widenBlocksAVX2(dst[:n], src)
	widenGeneric(dst[n:], src[n:])
}

// narrowAVX2 does whole blocks in assembly and the rest in Go.
func narrowAVX2(dst []uint16, src []float32) {
	n := len(src) &^ 15
	narrowBlocksAVX2(dst, src[:n])
	narrowGeneric(dst[n:], src[n:])
}
