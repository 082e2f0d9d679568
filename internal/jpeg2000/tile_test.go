package jpeg2000

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestDerivedSteps: of derived step sizes the exponent is one less for each level
// (T.800, equation E-5), which no encoder at hand writes.
func TestDerivedSteps(t *testing.T) {
	q := quantisation{style: 1, guard: 2, n: 1}
	q.steps[0] = 10<<11 | 512 // 2^-10 * 1.25
	for _, tt := range []struct {
		i, r, kind int
		planes     int
		step       float64
	}{
		{0, 0, bandLL, 11, 0.3125}, // 2^(8-10) * 1.25
		{1, 1, bandHL, 11, 0.625},  // one bit more of gain
		{3, 1, bandHH, 11, 1.25},   // two
		{4, 2, bandHL, 10, 1.25},   // one level less
		{6, 2, bandHH, 10, 2.5},    //
		{7, 3, bandHL, 9, 2.5},     //
		{34, 12, bandHL, 1, 640},   // never below 0: 2^(9-0) * 1.25
	} {
		b := band{kind: tt.kind}
		require.NoError(t, q.of(tt.i, tt.r, &b, 8))
		assert.Equal(t, tt.planes, b.planes, "subband %d", tt.i)
		assert.Equal(t, tt.step, b.step, "subband %d", tt.i)
	}
	q.style = 2
	assert.ErrorIs(t, q.of(1, 1, &band{}, 8), ErrCorrupt)
}

// TestScale: the scale of the wavelet, and that of a single sample, which is halved
// if it is of high frequency (T.800, F.3.6).
func TestScale(t *testing.T) {
	of := func(x0, x1, y0, y1 int) *tileComponent {
		tc := &tileComponent{res: make([]resolution, 2)}
		tc.res[0].bands = []band{{step: 1}}
		tc.res[1] = resolution{x0: x0, x1: x1, y0: y0, y1: y1, bands: []band{{step: 1}, {step: 1}, {step: 1}}}
		tc.scale(0)
		return tc
	}
	const k = scale97
	for _, tt := range []struct {
		tc         *tileComponent
		ll, hl, lh float64
	}{
		{of(0, 8, 0, 8), k * k, 1, 1},
		{of(1, 2, 0, 8), k, 0.5 * k, 1 / k},
		{of(0, 8, 3, 4), k, 1 / k, 0.5 * k},
	} {
		assert.InDelta(t, tt.ll, tt.tc.res[0].bands[0].step, 1e-12)
		assert.InDelta(t, tt.hl, tt.tc.res[1].bands[0].step, 1e-12)
		assert.InDelta(t, tt.lh, tt.tc.res[1].bands[1].step, 1e-12)
	}
}

// TestPlaces: a precinct that begins with the tile is where its first sample is,
// which may lie behind the tile's edge (T.800, B.12.1.3).
func TestPlaces(t *testing.T) {
	d := &decoder{comps: []Component{{Bits: 8, DX: 1, DY: 1}}, work: &workspace{}}
	p := params{coding: make([]coding, 1), quant: make([]quantisation, 1), roi: make([]uint8, 1)}
	p.coding[0] = coding{levels: 1, blockW: 6, blockH: 6}
	p.coding[0].precinctW, p.coding[0].precinctH = [maxLevels + 1]uint8{3, 4}, [maxLevels + 1]uint8{15, 15}
	p.quant[0].n = 4
	im := &tile{d: d, tileData: &tileData{p: p}, x0: 15, y0: 0, x1: 40, y1: 8, comps: make([]tileComponent, 1)}
	n := 0
	require.NoError(t, im.layOut(0, &n))
	assert.Equal(t, 2+3, n) // 8 to 20 in eights, 15 to 40 in sixteens
	var got [][2]int
	for _, q := range im.places(change{res1: 2, comp1: 1, order: orderPCRL}) {
		got = append(got, [2]int{q.r, q.x})
	}
	assert.Equal(t, [][2]int{{1, 15}, {0, 16}, {1, 16}, {0, 32}, {1, 32}}, got)
}

// TestHeaderBits: the bit behind a byte of ones is stuffed, and so is the byte
// behind a header that ends with one.
func TestHeaderBits(t *testing.T) {
	h := headerBits{b: []byte{0xff, 0x7f, 0xff, 0x00, 0x12}}
	assert.Equal(t, 0xff<<7|0x7f, h.bits(15))
	assert.Equal(t, 0xff, h.bits(8))
	require.True(t, h.align())
	assert.Equal(t, []byte{0x12}, h.b)
	h = headerBits{b: []byte{0xff}}
	h.bits(8)
	assert.False(t, h.align(), "the stuffed byte is missing")
	h = headerBits{}
	h.bit()
	assert.False(t, h.align())
}
