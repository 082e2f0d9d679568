package jpeg2000_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/jpeg2000"
	"github.com/slidesam/sam/internal/tiff/tifftest"
)

// products is a lossless codestream of one tile, one tile-part: 64 x 64 pixels of
// (5x, 9y, xy).
func products() []byte { return bytes.Clone(tifftest.J2K("products-64x64")) }

// tilePart is where the first tile-part begins and where its packets do.
func tilePart(t testing.TB, b []byte) (sot, packets int) {
	sot = bytes.Index(b, []byte{0xff, 0x90, 0, 10})
	sod := bytes.Index(b, []byte{0xff, 0x93})
	require.Positive(t, sot)
	require.Greater(t, sod, sot)
	return sot, sod + 2
}

// shortened cuts the last n bytes off the packets of a codestream of one
// tile-part, whose length is set right.
func shortened(t testing.TB, b []byte, n int) []byte {
	sot, _ := tilePart(t, b)
	end := len(b) - 2
	out := append(bytes.Clone(b[:end-n]), 0xff, 0xd9)
	binary.BigEndian.PutUint32(out[sot+6:], uint32(end-n-sot))
	return out
}

func TestDecodeRGBA(t *testing.T) {
	pix, w, h, err := jpeg2000.DecodeRGBA(products(), jpeg2000.Options{})
	require.NoError(t, err)
	require.Equal(t, [2]int{64, 64}, [2]int{w, h})
	for y := range 64 {
		for x := range 64 {
			require.Equal(t, []byte{byte(x * 5), byte(y * 9), byte(x * y), 255}, pix[4*(64*y+x):4*(64*y+x)+4])
		}
	}
	head, err := jpeg2000.ReadHeader(products())
	require.NoError(t, err)
	c := jpeg2000.Component{Bits: 8, DX: 1, DY: 1}
	assert.Equal(t, jpeg2000.Header{W: 64, H: 64, Components: []jpeg2000.Component{c, c, c}, Tiles: 1, Levels: 2, Layers: 1, MCT: true, Reversible: true}, head)
}

// TestSamePixels: DecodeRGBA gives what Decode gives, whatever the tiles, the
// origin, the wavelet, the transform, the subsampling and the reduction.
func TestSamePixels(t *testing.T) {
	tried := map[string]bool{}
	for _, c := range readCases(t, filepath.Join("testdata", "small")) {
		name := c.Name
		if c.Bits != 8 || c.Signed {
			continue
		}
		b, err := os.ReadFile(filepath.Join("testdata", "small", c.Name+".j2k"))
		require.NoError(t, err)
		for _, r := range c.Planes {
			p, err := jpeg2000.Decode(b, jpeg2000.Options{Reduce: r.Reduce})
			require.NoError(t, err)
			pix, w, h, err := jpeg2000.DecodeRGBA(b, jpeg2000.Options{Reduce: r.Reduce})
			require.NoError(t, err)
			require.Equal(t, [2]int{p.W, p.H}, [2]int{w, h})
			plain := true
			for c := range min(3, len(p.Planes)) {
				plain = plain && p.Planes[c].W == w && p.Planes[c].H == h
			}
			if !plain {
				continue // see TestSubsampled
			}
			for i := range w * h {
				for k := range 3 {
					c := k
					if len(p.Planes) < 3 {
						c = 0
					}
					require.Equal(t, p.Planes[c].Pix[i], int32(pix[4*i+k]), "%s reduced %d, pixel %d", name, r.Reduce, i)
				}
				require.Equal(t, byte(255), pix[4*i+3])
			}
			tried[map[bool]string{true: "reversible", false: "irreversible"}[r.Exact]] = true
		}
	}
	assert.Len(t, tried, 2)
}

// TestReduced: a reduced picture is the mean of what it stands for, but for the
// filter's reach, and as large as T.800 says.
func TestReduced(t *testing.T) {
	b := tifftest.J2K("smooth-32x32")
	full, _, _, err := jpeg2000.DecodeRGBA(b, jpeg2000.Options{})
	require.NoError(t, err)
	for r := 1; r <= 2; r++ {
		pix, w, h, err := jpeg2000.DecodeRGBA(b, jpeg2000.Options{Reduce: r})
		require.NoError(t, err)
		require.Equal(t, [2]int{32 >> r, 32 >> r}, [2]int{w, h})
		for i := range w * h {
			x, y := i%w<<r, i/w<<r
			for c := range 3 {
				// The even samples stay in place: a ramp is the same there, up to
				// what the steps round.
				require.InDelta(t, full[4*(32*y+x)+c], pix[4*i+c], 3, "reduced %d (%d, %d) %d", r, x, y, c)
			}
		}
	}
	_, _, _, err = jpeg2000.DecodeRGBA(b, jpeg2000.Options{Reduce: 3})
	assert.ErrorIs(t, err, jpeg2000.ErrUnsupported)
	_, err = jpeg2000.Decode(b, jpeg2000.Options{Reduce: -1})
	assert.ErrorIs(t, err, jpeg2000.ErrUnsupported)
}

// TestTruncated: whole packets may be missing at the end, parts of one may not.
func TestTruncated(t *testing.T) {
	b := products()
	_, packets := tilePart(t, b)
	whole, good := len(b)-2-packets, 0
	full, _, _, err := jpeg2000.DecodeRGBA(b, jpeg2000.Options{})
	require.NoError(t, err)
	for n := range whole + 1 {
		pix, _, _, err := jpeg2000.DecodeRGBA(shortened(t, b, n), jpeg2000.Options{})
		if err != nil {
			require.ErrorIs(t, err, jpeg2000.ErrCorrupt, "%d bytes less", n)
			continue
		}
		good++
		assert.Equal(t, n == 0, bytes.Equal(full, pix), "%d bytes less", n)
	}
	assert.Equal(t, 9, good, "three components of three resolutions")
	for n := range b {
		_, _, _, err := jpeg2000.DecodeRGBA(b[:n], jpeg2000.Options{})
		if n >= len(b)-2 { // without the end marker
			require.NoError(t, err)
			continue
		}
		require.ErrorIs(t, err, jpeg2000.ErrCorrupt, "the first %d bytes", n)
	}
}

func TestBad(t *testing.T) {
	b := products()
	sot, _ := tilePart(t, b)
	cod, qcd := bytes.Index(b, []byte{0xff, 0x52}), bytes.Index(b, []byte{0xff, 0x5c})
	put := func(at int, v ...byte) []byte {
		out := products()
		copy(out[at:], v)
		return out
	}
	insert := func(seg ...byte) []byte { return append(append(bytes.Clone(b[:sot]), seg...), b[sot:]...) }
	for _, tt := range []struct {
		name, says string
		b          []byte
		want       error
	}{
		{"nothing", "no codestream", nil, jpeg2000.ErrCorrupt},
		{"a JPEG", "no codestream", []byte{0xff, 0xd8, 0xff, 0xe0, 0, 16}, jpeg2000.ErrCorrupt},
		{"wide", "limit", put(8, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0), jpeg2000.ErrUnsupported},
		{"over 31 bits", "size or origin", put(8, 0xff, 0xff, 0xff, 0xff), jpeg2000.ErrUnsupported},
		{"no width", "picture from", put(8, 0, 0, 0, 0), jpeg2000.ErrCorrupt},
		{"tiles of nothing", "tiles of 0", put(24, 0, 0, 0, 0), jpeg2000.ErrCorrupt},
		{"many tiles", "4096 tiles", put(24, 0, 0, 0, 1, 0, 0, 0, 1), jpeg2000.ErrCorrupt},
		{"30 bits", "30 bits", put(42, 29), jpeg2000.ErrUnsupported},
		{"subsampled by 0", "every 0 x 1", put(43, 0), jpeg2000.ErrCorrupt},
		{"transform of unlike components", "differ", put(43+3, 2), jpeg2000.ErrCorrupt},
		{"9 bits", "9 bits", put(42, 8), jpeg2000.ErrUnsupported},
		{"a sign", "signed true", put(42, 0x87), jpeg2000.ErrUnsupported},
		{"progression 5", "progression 5", put(cod+5, 5), jpeg2000.ErrCorrupt},
		{"no layers", "0 layers", put(cod+6, 0, 0), jpeg2000.ErrCorrupt},
		{"33 levels", "33 levels", put(cod+9, 33), jpeg2000.ErrCorrupt},
		{"few step sizes", "step sizes", put(cod+9, 32), jpeg2000.ErrCorrupt},
		{"block of 2^13", "code blocks", put(cod+10, 9, 2), jpeg2000.ErrCorrupt},
		{"high throughput", "high throughput", put(cod+12, 0x40), jpeg2000.ErrUnsupported},
		{"capabilities", "high throughput", insert(0xff, 0x50, 0, 8, 0, 2, 0, 0, 0, 0), jpeg2000.ErrUnsupported},
		{"wavelet 2", "wavelet 2", put(cod+13, 2), jpeg2000.ErrCorrupt},
		{"quantisation 3", "quantisation", put(qcd+4, 3), jpeg2000.ErrCorrupt},
		{"exponents of 0", "bit planes", put(qcd+4, 0, 0, 0, 0, 0, 0, 0, 0), jpeg2000.ErrCorrupt},
		{"no coding style", "no coding style", put(cod, 0xff, 0x64), jpeg2000.ErrCorrupt},
		{"unknown marker", "0xff70", insert(0xff, 0x70, 0, 2), jpeg2000.ErrUnsupported},
		{"no marker", "no marker", insert(0, 0, 0, 2), jpeg2000.ErrCorrupt},
		{"second tile", "tile 1 of 1", put(sot+4, 0, 1), jpeg2000.ErrCorrupt},
		{"second part", "part 1", put(sot+10, 1), jpeg2000.ErrCorrupt},
		{"long part", "tile-part of", put(sot+6, 0, 1), jpeg2000.ErrCorrupt},
		{"no tile", "0 tiles of 1", append(bytes.Clone(b[:sot]), 0xff, 0x90, 0, 10, 0, 0, 0, 0), nil},
		{"packed headers", "out of order", insert(0xff, 0x60, 0, 3, 1), jpeg2000.ErrCorrupt},
		{"packed headers, none", "packed packet headers", insert(0xff, 0x60, 0, 3, 0), jpeg2000.ErrCorrupt},
		{"interest of component 9", "RGN", insert(0xff, 0x5e, 0, 5, 9, 0, 1), jpeg2000.ErrCorrupt},
		{"interest over all bits", "region of interest", insert(0xff, 0x5e, 0, 5, 0, 0, 200), jpeg2000.ErrUnsupported},
		{"change to nothing", "POC", insert(0xff, 0x5f, 0, 9, 3, 0, 0, 1, 2, 3, 0), jpeg2000.ErrCorrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, _, err := jpeg2000.DecodeRGBA(tt.b, jpeg2000.Options{})
			require.Error(t, err)
			if tt.want == nil {
				assert.ErrorIs(t, err, jpeg2000.ErrCorrupt)
				return
			}
			assert.ErrorIs(t, err, tt.want)
			assert.ErrorContains(t, err, tt.says)
		})
	}
}

// FuzzDecode decodes altered codestreams: no panic, errors of the two kinds, and
// memory bounded by the sizes that the header states and the length of the data.
func FuzzDecode(f *testing.F) {
	f.Add(products(), 0)
	f.Add([]byte(tifftest.J2K("smooth-plane0-tile0")), 1)
	names, err := filepath.Glob(filepath.Join("testdata", "small", "*.j2k"))
	if err != nil || len(names) == 0 {
		f.Fatal("no codestreams")
	}
	for i, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, i%3)
	}
	f.Fuzz(func(t *testing.T, b []byte, reduce int) {
		h, err := jpeg2000.ReadHeader(b)
		if err != nil {
			return
		}
		n := int64(h.W) * int64(h.H) * int64(len(h.Components))
		if n > 1<<20 || len(b) > 1<<16 {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = jpeg2000.Decode(b, jpeg2000.Options{Reduce: reduce % 8})
		runtime.ReadMemStats(&after)
		_, _, _, err2 := jpeg2000.DecodeRGBA(b, jpeg2000.Options{Reduce: reduce % 8})
		for _, err := range []error{err, err2} {
			if err != nil && !errors.Is(err, jpeg2000.ErrCorrupt) && !errors.Is(err, jpeg2000.ErrUnsupported) {
				t.Fatal(err)
			}
		}
		// 64 MiB are for tables of precincts.
		if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(64<<20+64*n+4096*int64(len(b))); got > limit {
			t.Fatalf("%d bytes allocated for %d samples in %d bytes, limit %d", got, n, len(b), limit)
		}
	})
}
