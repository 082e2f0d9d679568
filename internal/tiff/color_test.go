package tiff_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/jpegtile"
	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
)

// picture is a smooth picture of w x h.
func picture(w, h int) *image.RGBA {
	p := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			p.SetRGBA(x, y, color.RGBA{byte(x * 3), byte(y * 4), byte(200 - x - y), 255})
		}
	}
	return p
}

func jpegOf(t *testing.T, img image.Image) []byte {
	var b bytes.Buffer
	require.NoError(t, jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}))
	return b.Bytes()
}

// marked puts a marker segment behind the start of a JPEG.
func marked(b []byte, marker byte, seg string) []byte {
	out := append([]byte{0xff, 0xd8, 0xff, marker, 0, byte(2 + len(seg))}, seg...)
	return append(out, b[2:]...)
}

func coded(comp, photo uint64, w, h, tw, th int, segs ...[]byte) tifftest.Page {
	p := tifftest.Tiled(make([]byte, 3*w*h), w, h, 3, tw, th)
	p.Fields[tiff.Compression], p.Fields[tiff.Photometric] = tifftest.Short(comp), tifftest.Short(photo)
	p.Segs = segs
	return p
}

func pixels(t *testing.T, p tifftest.Page) []byte {
	f, err := parse(tifftest.Builder{Order: binary.LittleEndian}.File(p))
	require.NoError(t, err)
	im, err := f.Dirs()[0].Image()
	require.NoError(t, err)
	pix, err := whole(im)
	require.NoError(t, err)
	return pix
}

// TestJPEGColor: a marker beats the tag.
func TestJPEGColor(t *testing.T) {
	const jfif = "JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x00\x00"
	adobe := func(v byte) string { return "Adobe\x00\x64\x00\x00\x00\x00" + string(rune(v)) }
	plain := jpegOf(t, picture(32, 32))
	for _, tt := range []struct {
		name  string
		photo uint64
		b     []byte
		want  jpegtile.Color
	}{
		{"rgb", 2, plain, jpegtile.RGB},
		{"ycbcr", 6, plain, jpegtile.YCbCr},
		{"rgb, JFIF", 2, marked(plain, 0xe0, jfif), jpegtile.YCbCr},
		{"ycbcr, JFIF", 6, marked(plain, 0xe0, jfif), jpegtile.YCbCr},
		{"rgb, Adobe YCbCr", 2, marked(plain, 0xee, adobe(1)), jpegtile.YCbCr},
		{"rgb, Adobe RGB", 2, marked(plain, 0xee, adobe(0)), jpegtile.RGB},
		{"ycbcr, Adobe RGB", 6, marked(plain, 0xee, adobe(0)), jpegtile.RGB},
		{"ycbcr, Adobe YCbCr", 6, marked(plain, 0xee, adobe(1)), jpegtile.YCbCr},
		{"rgb, JFIF and Adobe RGB", 2, marked(marked(plain, 0xee, adobe(0)), 0xe0, jfif), jpegtile.YCbCr},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want, _, _, err := (*jpegtile.Tables)(nil).Decode(plain, tt.want)
			require.NoError(t, err)
			assert.Equal(t, want, pixels(t, coded(7, tt.photo, 32, 32, 32, 32, tt.b)))
		})
	}
}

// codestream is one of tifftest; without mct its colours are not transformed.
func codestream(name string, mct bool) []byte {
	out := bytes.Clone(tifftest.J2K(name))
	if !mct {
		i := bytes.Index(out, []byte{0xff, 0x52})
		out[i+8] = 0
	}
	return out
}

// boxed puts a codestream into the boxes of the JP2 format.
func boxed(b []byte, space uint32) []byte {
	out := []byte("\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00\x00\x14ftypjp2 \x00\x00\x00\x00jp2 ")
	out = append(out, "\x00\x00\x00\x17jp2h\x00\x00\x00\x0fcolr\x01\x00\x00"...)
	out = binary.BigEndian.AppendUint32(out, space)
	out = append(out, "\x00\x00\x00\x00jp2c"...)
	return append(out, b...)
}

// TestJ2KColor: the transform that the codestream states is the only one;
// without it the box, then the tag decide.
func TestJ2KColor(t *testing.T) {
	img := picture(32, 32)
	plain, with := codestream("smooth-32x32", false), codestream("smooth-32x32", true)
	raw := pixels(t, coded(33005, 2, 32, 32, 32, 32, plain)) // components as they are
	ycc := bytes.Clone(raw)
	for i := 0; i < len(ycc); i += 4 {
		ycc[i], ycc[i+1], ycc[i+2] = jpegtile.ToRGB(raw[i], raw[i+1], raw[i+2])
	}
	require.NotEqual(t, img.Pix, raw)
	for _, comp := range []uint64{33003, 33004, 33005, 34712} {
		for _, photo := range []uint64{2, 6} {
			byTag := raw
			if photo == 6 {
				byTag = ycc
			}
			t.Run(fmt.Sprintf("%d/%d", comp, photo), func(t *testing.T) {
				assert.Equal(t, img.Pix, pixels(t, coded(comp, photo, 32, 32, 32, 32, with)), "transform in the codestream")
				assert.Equal(t, byTag, pixels(t, coded(comp, photo, 32, 32, 32, 32, plain)), "by the tag")
				assert.Equal(t, img.Pix, pixels(t, coded(comp, photo, 32, 32, 32, 32, boxed(with, 16))), "in boxes")
				assert.Equal(t, ycc, pixels(t, coded(comp, photo, 32, 32, 32, 32, boxed(plain, 18))), "box of YCbCr")
				assert.Equal(t, raw, pixels(t, coded(comp, photo, 32, 32, 32, 32, boxed(plain, 16))), "box of RGB")
			})
		}
	}
	aperio := coded(33003, 2, 32, 32, 32, 32, plain)
	aperio.Fields[tiff.ImageDescription] = tifftest.Text("Aperio Image Library v11")
	assert.Equal(t, ycc, pixels(t, aperio), "Aperio's YCbCr says RGB")
}

// TestJ2KSubsampled: coarser second and third components are chroma.
func TestJ2KSubsampled(t *testing.T) {
	got := pixels(t, coded(34712, 2, 32, 32, 32, 32, tifftest.J2K("chroma-32x32")))
	for i := range 32 * 32 {
		x, y := i%32, i/32
		r, g, b := jpegtile.ToRGB(byte(x*5+y), 90, byte(100+x/2+y/2))
		require.Equal(t, []byte{r, g, b, 255}, got[4*i:4*i+4], "(%d, %d)", x, y)
	}
}

// TestPlanarCoded: each sample in a JPEG or JPEG 2000 of its own.
func TestPlanarCoded(t *testing.T) {
	img := picture(40, 24)
	planes := func(f func(*image.Gray, int, int) []byte) (segs [][]byte) {
		for c := range 3 {
			for k := range 2 {
				g := image.NewGray(image.Rect(0, 0, 32, 32))
				for i := range g.Pix {
					g.Pix[i] = img.Pix[img.PixOffset(min(32*k+i%32, 39), min(i/32, 23))+c]
				}
				segs = append(segs, f(g, c, k))
			}
		}
		return segs
	}
	for comp, f := range map[uint64]func(*image.Gray, int, int) []byte{
		7:     func(g *image.Gray, _, _ int) []byte { return jpegOf(t, g) },
		34712: func(_ *image.Gray, c, k int) []byte { return tifftest.J2K(fmt.Sprintf("smooth-plane%d-tile%d", c, k)) },
	} {
		for _, photo := range []uint64{2, 6} { // Bio-Formats says YCbCr of planes of R, G and B
			p := coded(comp, photo, 40, 24, 32, 32, planes(f)...)
			p.Fields[tiff.PlanarConfig] = tifftest.Short(2)
			got := pixels(t, p)
			for i, v := range img.Pix {
				require.InDelta(t, v, got[i], 4, "compression %d, value %d", comp, i)
			}
		}
	}
}

// TestCropped: tiles at the edges that end with the picture.
func TestCropped(t *testing.T) {
	img := picture(40, 24)
	cropped := func(f func(image.Image) []byte) [][]byte {
		return [][]byte{f(img.SubImage(image.Rect(0, 0, 32, 24))), f(img.SubImage(image.Rect(32, 0, 40, 24)))}
	}
	packed := func(m image.Image) []byte {
		var b []byte
		r := m.Bounds()
		for y := r.Min.Y; y < r.Max.Y; y++ {
			for x := r.Min.X; x < r.Max.X; x++ {
				c := img.RGBAAt(x, y)
				b = append(b, c.R, c.G, c.B)
			}
		}
		return b
	}
	deflated := func(m image.Image) []byte {
		var b bytes.Buffer
		w := zlib.NewWriter(&b)
		_, err := w.Write(packed(m))
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	moved := func(m image.Image) image.Image { // to the origin
		r := m.Bounds()
		p := image.NewRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
		for i := range r.Dx() * r.Dy() {
			p.Set(i%r.Dx(), i/r.Dx(), m.At(r.Min.X+i%r.Dx(), r.Min.Y+i/r.Dx()))
		}
		return p
	}
	for _, tt := range []struct {
		comp, photo uint64
		f           func(image.Image) []byte
		tol         float64
	}{
		{1, 2, packed, 0}, {8, 2, deflated, 0},
		{7, 6, func(m image.Image) []byte { return jpegOf(t, moved(m)) }, 10},
		{34712, 2, func(m image.Image) []byte {
			return tifftest.J2K(map[int]string{0: "smooth-left", 32: "smooth-right"}[m.Bounds().Min.X])
		}, 0},
	} {
		got := pixels(t, coded(tt.comp, tt.photo, 40, 24, 32, 32, cropped(tt.f)...))
		for i, v := range img.Pix {
			require.InDelta(t, v, got[i], tt.tol, "compression %d, value %d", tt.comp, i)
		}
	}
}

// TestDeepJ2K: samples of 16 bits are scaled as those of other codings are.
func TestDeepJ2K(t *testing.T) {
	for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
		p := tifftest.Tiled(make([]byte, 2*32*32), 32, 32, 1, 32, 32)
		p.Fields[tiff.BitsPerSample], p.Fields[tiff.Compression] = tifftest.Short(16), tifftest.Short(34712)
		p.Segs = [][]byte{tifftest.J2K("deep-32x32")}
		f, err := parse(tifftest.Builder{Order: order}.File(p))
		require.NoError(t, err)
		im, err := f.Dirs()[0].Image()
		require.NoError(t, err)
		assert.Zero(t, im.Reductions())
		pix, err := whole(im)
		require.NoError(t, err)
		for i := range 32 * 32 {
			v := byte((i%32*2000 + i/32*37 + 128) / 257)
			require.Equal(t, []byte{v, v, v, 255}, pix[4*i:4*i+4])
		}
	}
}
