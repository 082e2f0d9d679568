package wsi_test

import (
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
	"github.com/slidesam/sam/internal/wsi"
)

// Slides of 12 bits in 16 are refused, be they gray or in colour, with 0 as
// black or as white: they would be black without a word. Issue 24.
func TestTwelveBitSlides(t *testing.T) {
	page := func(top int, photo uint64, spp int) tifftest.Page {
		p := tifftest.Tiled(make([]byte, 130*70*spp), 130, 70, spp, 64, 64)
		p.Fields[tiff.BitsPerSample] = tifftest.Short([]uint64{16, 16, 16}[:spp]...)
		p.Fields[tiff.Photometric] = tifftest.Short(photo)
		for k := range p.Segs {
			var b []byte
			for i := range 64 * 64 * spp {
				v := i * top / (64*64*spp - 1)
				if k != 4 { // all but one are dark
					v = min(v, 900)
				}
				b = binary.LittleEndian.AppendUint16(b, uint16(v))
			}
			p.Segs[k] = b
		}
		return p
	}
	for _, tt := range []struct {
		name  string
		top   int
		photo uint64
		spp   int
		dark  bool
	}{
		{"12 bits", 4095, 2, 3, true}, {"8 bits", 255, 2, 3, true}, {"12 bits, gray", 4095, 1, 1, true}, {"12 bits, white is 0", 4095, 0, 1, true},
		{"16 bits", 65535, 2, 3, false}, {"16 bits, white is 0", 65535, 0, 1, false}, {"14 bits", 16383, 2, 3, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := wsi.Open(saved(t, "deep.tif", page(tt.top, tt.photo, tt.spp)), wsi.Options{})
			if tt.dark {
				require.ErrorIs(t, err, wsi.ErrDark)
				assert.ErrorContains(t, err, "deep.tif")
				return
			}
			require.NoError(t, err)
			require.NoError(t, s.Close())
		})
	}
}
