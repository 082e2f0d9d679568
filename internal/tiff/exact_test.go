package tiff_test

import (
	"encoding/binary"
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
)

// deepPage is a tiled page of samples [h, w, spp] of bits bits, by planes if
// planar is set.
func deepPage(o binary.AppendByteOrder, at func(x, y, c int) uint16, w, h, spp, bits int, photo uint64, planar bool) tifftest.Page {
	const side = 16
	p := tifftest.Page{Tiled: true, Fields: map[tiff.Tag]tifftest.Field{
		tiff.ImageWidth: tifftest.Short(uint64(w)), tiff.ImageLength: tifftest.Short(uint64(h)),
		tiff.SamplesPerPixel: tifftest.Short(uint64(spp)), tiff.Photometric: tifftest.Short(photo),
		tiff.TileWidth: tifftest.Short(side), tiff.TileLength: tifftest.Short(side),
	}}
	var depth []uint64
	for range spp {
		depth = append(depth, uint64(bits))
	}
	p.Fields[tiff.BitsPerSample] = tifftest.Short(depth...)
	groups := [][]int{[]int{0, 1, 2, 3}[:spp]}
	if planar {
		p.Fields[tiff.PlanarConfig] = tifftest.Short(2)
		groups = groups[:0]
		for c := range spp {
			groups = append(groups, []int{c})
		}
	}
	for _, g := range groups {
		for y0 := 0; y0 < h; y0 += side {
			for x0 := 0; x0 < w; x0 += side {
				var b []byte
				for y := y0; y < y0+side; y++ {
					for x := x0; x < x0+side; x++ {
						for _, c := range g {
							if v := at(x, y, c); bits == 16 {
								b = o.AppendUint16(b, v)
							} else {
								b = append(b, byte(v>>8))
							}
						}
					}
				}
				p.Segs = append(p.Segs, b)
			}
		}
	}
	return p
}

// Exact keeps every sample: of 16 bits, under transparent pixels, in planes, of
// both byte orders, and with white as 0. Issue 24.
func TestExact(t *testing.T) {
	const w, h = 21, 19
	at := func(x, y, c int) uint16 {
		if c == 3 || c == 1 && x < 3 {
			return uint16(x * 3000 * (y & 1)) // transparent in places
		}
		return uint16(x*2791 + y*977 + c*12345)
	}
	for _, o := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		for _, bits := range []int{8, 16} {
			for _, planar := range []bool{false, true} {
				for _, spp := range []int{1, 2, 3, 4} {
					for _, photo := range []uint64{0, 1, 2} {
						for _, extra := range []uint64{1, 2} {
							if (photo == 2) != (spp > 2) {
								continue
							}
							p := deepPage(o, at, w, h, spp, bits, photo, planar)
							if spp == 2 || spp == 4 {
								p.Fields[tiff.ExtraSamples] = tifftest.Short(extra)
							}
							f, err := parse(tifftest.Builder{Order: o}.File(p))
							require.NoError(t, err)
							im, err := f.Dirs()[0].Image()
							require.NoError(t, err)
							img, err := im.Exact()
							require.NoError(t, err)
							require.Equal(t, image.Rect(0, 0, w, h), img.Bounds())
							for y := range h {
								for x := range w {
									require.Equal(t, wanted(at, x, y, spp, bits, photo, extra), img.At(x, y), "%d bits, %d samples, photometric %d, extra %d, planar %v at (%d, %d)", bits, spp, photo, extra, planar, x, y)
								}
							}
						}
					}
				}
			}
		}
	}
}

// wanted is the colour that a pixel of samples stands for.
func wanted(at func(x, y, c int) uint16, x, y, spp, bits int, photo, extra uint64) color.Color {
	v := [4]uint16{3: 0xffff}
	for c := range 3 {
		k := c
		if spp < 3 {
			k = 0
		}
		if v[c] = at(x, y, k); photo == 0 {
			v[c] = ^v[c]
		}
	}
	alpha := spp == 2 || spp == 4
	if alpha {
		v[3] = at(x, y, spp-1)
	}
	b := [4]uint8{uint8(v[0] >> 8), uint8(v[1] >> 8), uint8(v[2] >> 8), uint8(v[3] >> 8)}
	switch {
	case spp == 1 && bits == 8:
		return color.Gray{Y: b[0]}
	case spp == 1:
		return color.Gray16{Y: v[0]}
	case alpha && extra == 1 && bits == 8:
		return color.RGBA{b[0], b[1], b[2], b[3]}
	case alpha && extra == 1:
		return color.RGBA64{v[0], v[1], v[2], v[3]}
	case bits == 8:
		return color.NRGBA{b[0], b[1], b[2], b[3]}
	}
	return color.NRGBA64{v[0], v[1], v[2], v[3]}
}

func TestExactPalette(t *testing.T) {
	p := tifftest.Tiled(tifftest.Gradient(20, 18, 1), 20, 18, 1, 16, 16)
	p.Fields[tiff.Photometric] = tifftest.Short(3)
	var m []uint64
	for i := range 768 {
		m = append(m, uint64(i*85))
	}
	p.Fields[tiff.ColorMap] = tifftest.Short(m...)
	f, err := parse(tifftest.Builder{Order: binary.LittleEndian}.File(p))
	require.NoError(t, err)
	im, err := f.Dirs()[0].Image()
	require.NoError(t, err)
	img, err := im.Exact()
	require.NoError(t, err)
	pal, ok := img.(*image.Paletted)
	require.True(t, ok)
	assert.Equal(t, tifftest.Gradient(20, 18, 1), pal.Pix, "the indices are kept, for labels")
	assert.Equal(t, color.NRGBA{uint8(7 * 85 >> 8), uint8((256 + 7) * 85 >> 8), uint8((512 + 7) * 85 >> 8), 255}, pal.Palette[7])
}
