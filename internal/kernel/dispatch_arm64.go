//go:build !purego && !noasm

package kernel

// neon runs on every arm64 machine. Layer normalisation is the portable one.
var neon = impl{
	name: "neon",
	mr:   12, nr: 8, half: 4, cols: 256,
	tile: [2][]tileFunc{
		{tile1x4NEON, tile2x4NEON, tile3x4NEON, tile4x4NEON, tile5x4NEON, tile6x4NEON,
			tile7x4NEON, tile8x4NEON, tile9x4NEON, tile10x4NEON, tile11x4NEON, tile12x4NEON},
		{tile1x8NEON, tile2x8NEON, tile3x8NEON, tile4x8NEON, tile5x8NEON, tile6x8NEON,
			tile7x8NEON, tile8x8NEON, tile9x8NEON, tile10x8NEON, tile11x8NEON, tile12x8NEON},
	},
	transposeRows: [4]func([]float32, int, []float32, int, int){
		transpose1Generic, transpose2Generic, transpose3Generic, transpose4NEON},
	strip:      stripOf(tile12x8NEON, 8),
	stack:      stackOf(tile12x8NEON, 12),
	winogradIn: winogradInGeneric, winogradOut: winogradOutGeneric,
	depthwise: depthwiseGeneric, scaleShift: scaleShiftGeneric, channelSums: channelSumsGeneric,
	prefetch:  prefetchGeneric,
	biasMax:   biasMaxNEON,
	maxRows:   maxRowsNEON,
	expSum:    expSumNEON,
	mulRows:   mulRowsNEON,
	widen:     widenGeneric,
	narrow:    narrowGeneric,
	add:       addNEON,
	mul:       mulNEON,
	scale:     scaleNEON,
	blend:     blendNEON,
	above:     aboveGeneric,
	relu:      reluNEON,
	gelu:      geluNEON,
	exp2:      exp2NEON,
	layerNorm: layerNormGeneric,
	normCols:  normColsGeneric,
	geluGrad:  geluGradGeneric, normGradX: normGradXGeneric, normGradParams: normGradParamsGeneric,
	lanes: 1, interpolate: interpolateGeneric,
	fma: func(n int) int { fmaNEON(n); return n * 24 * 4 * 2 },
}

// impls lists the implementations that this machine can run, best first.
func impls() []*impl { return []*impl{&neon, &generic} }

// missing lists the implementations of this architecture that the machine
// cannot run.
func missing() []string { return nil }

// The assembly works on whole registers; the last few elements go through a
// register of their own, so that they get the same bits.

func addNEON(dst, a, b []float32) {
	n := len(dst) &^ 3
	addBlocksNEON(dst[:n], a, b)
	if n < len(dst) {
		var x, y [4]float32
		copy(x[:], a[n:len(dst)])
		copy(y[:], b[n:len(dst)])
		addBlocksNEON(x[:], x[:], y[:])
		copy(dst[n:], x[:])
	}
}

func mulNEON(dst, a, b []float32) {
	n := len(dst) &^ 3
	mulBlocksNEON(dst[:n], a, b)
	for i := n; i < len(dst); i++ {
		dst[i] = a[i] * b[i]
	}
}

func scaleNEON(dst, x []float32, a float32) {
	n := len(dst) &^ 3
	scaleBlocksNEON(dst[:n], x, a)
	if n < len(dst) {
		var y [4]float32
		copy(y[:], x[n:len(dst)])
		scaleBlocksNEON(y[:], y[:], a)
		copy(dst[n:], y[:])
	}
}

func blendNEON(dst, a, b []float32, wa, wb float32) {
	n := len(dst) &^ 3
	blendBlocksNEON(dst[:n], a, b, wa, wb)
	if n < len(dst) {
		var x, y [4]float32
		copy(x[:], a[n:len(dst)])
		copy(y[:], b[n:len(dst)])
		blendBlocksNEON(x[:], x[:], y[:], wa, wb)
		copy(dst[n:], x[:])
	}
}

func reluNEON(dst, x []float32) {
	n := len(dst) &^ 3
	reluBlocksNEON(dst[:n], x)
	if n < len(dst) {
		var y [4]float32
		copy(y[:], x[n:len(dst)])
		reluBlocksNEON(y[:], y[:])
		copy(dst[n:], y[:])
	}
}

func geluNEON(dst, x []float32) {
	n := len(dst) &^ 3
	geluBlocksNEON(dst[:n], x)
	if n < len(dst) {
		var y [4]float32
		copy(y[:], x[n:len(dst)])
		geluBlocksNEON(y[:], y[:])
		copy(dst[n:], y[:])
	}
}

func exp2NEON(dst, x []float32) {
	n := len(dst) &^ 3
	exp2BlocksNEON(dst[:n], x)
	if n < len(dst) {
		var y [4]float32
		copy(y[:], x[n:len(dst)])
		exp2BlocksNEON(y[:], y[:])
		copy(dst[n:], y[:])
	}
}
