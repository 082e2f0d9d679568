package picture_test

import (
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
)

// hidden shows only the methods of image.Image, so that no fast path applies.
type hidden struct{ image.Image }

// formats draws a picture of every type. Pixel (x, y) lies at (x-3, y+5), so
// that none begins at the origin.
func formats(w, h int, at func(x, y int) color.NRGBA) map[string]image.Image {
	r := image.Rect(-3, 5, w-3, h+5)
	pal := color.Palette{}
	for i := range 200 {
		pal = append(pal, color.NRGBA{byte(i), byte(3 * i), byte(7 * i), 255})
	}
	out := map[string]image.Image{}
	for name, m := range map[string]draw.Image{
		"nrgba": image.NewNRGBA(r), "rgba": image.NewRGBA(r), "nrgba64": image.NewNRGBA64(r), "rgba64": image.NewRGBA64(r),
		"gray": image.NewGray(r), "gray16": image.NewGray16(r), "paletted": image.NewPaletted(r, pal), "cmyk": image.NewCMYK(r),
	} {
		for y := range h {
			for x := range w {
				m.Set(x-3, y+5, at(x, y))
			}
		}
		out[name] = m
	}
	for _, ratio := range []image.YCbCrSubsampleRatio{
		image.YCbCrSubsampleRatio444, image.YCbCrSubsampleRatio422, image.YCbCrSubsampleRatio420,
		image.YCbCrSubsampleRatio440, image.YCbCrSubsampleRatio411, image.YCbCrSubsampleRatio410,
	} {
		m := image.NewNYCbCrA(r, ratio)
		for y := range h {
			for x := range w {
				c := at(x, y)
				l, cb, cr := color.RGBToYCbCr(c.R, c.G, c.B)
				m.Y[m.YOffset(x-3, y+5)] = l
				m.Cb[m.COffset(x-3, y+5)], m.Cr[m.COffset(x-3, y+5)] = cb, cr
				m.A[m.AOffset(x-3, y+5)] = 255
			}
		}
		out["ycbcr "+ratio.String()] = &m.YCbCr
		out["nycbcra "+ratio.String()] = m
	}
	out["uniform cut"] = cut{image.NewUniform(color.NRGBA{1, 2, 3, 255}), r}
	return out
}

type cut struct {
	*image.Uniform
	r image.Rectangle
}

func (c cut) Bounds() image.Rectangle { return c.r }

// Every fast path gives what At gives, also for a part of the picture.
func TestFastPathsMatchAt(t *testing.T) {
	at := func(x, y int) color.NRGBA { return color.NRGBA{byte(31 * x), byte(17 * y), byte(x * y * 5), 255} }
	for name, img := range formats(11, 9, at) {
		t.Run(name, func(t *testing.T) {
			imgs := []image.Image{img}
			if s, ok := img.(interface {
				SubImage(image.Rectangle) image.Image
			}); ok {
				imgs = append(imgs, s.SubImage(image.Rect(0, 7, 5, 12)), s.SubImage(image.Rect(7, 13, 8, 14)))
			}
			for _, img := range imgs {
				p, err := picture.New(img)
				require.NoError(t, err)
				b := img.Bounds()
				require.Equal(t, resample.Size{H: b.Dy(), W: b.Dx()}, p.Bounds())
				slow, err := picture.New(hidden{img})
				require.NoError(t, err)
				assert.Equal(t, slow.RGB(), p.RGB(), "%v", b)
				buf := make([]byte, b.Dx()*3+5)
				assert.Equal(t, slow.RGB().Row(b.Dy()-1, nil), p.Row(b.Dy()-1, buf))
			}
		})
	}
}

func TestAlphaIsDropped(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.Byte()
		c := color.NRGBA{b.Draw(t, "r"), b.Draw(t, "g"), b.Draw(t, "b"), b.Draw(t, "a")}
		r := image.Rect(0, 0, 1, 1)
		n, pre, wide, wpre := image.NewNRGBA(r), image.NewRGBA(r), image.NewNRGBA64(r), image.NewRGBA64(r)
		for _, m := range []draw.Image{n, pre, wpre} {
			m.Set(0, 0, c)
		}
		x := func(v byte) uint16 { return uint16(v) * 0x101 }
		wide.SetNRGBA64(0, 0, color.NRGBA64{x(c.R), x(c.G), x(c.B), x(c.A)})
		want := []byte{c.R, c.G, c.B}
		for _, m := range []image.Image{n, hidden{n}, hidden{wide}, wide} {
			p, err := picture.New(m)
			require.NoError(t, err)
			assert.Equal(t, want, p.RGB().Pix, "%T", m)
		}
		for _, m := range []image.Image{pre, hidden{pre}, wpre, hidden{wpre}} {
			p, err := picture.New(m)
			require.NoError(t, err)
			got := p.RGB().Pix
			for i, v := range want {
				if c.A == 0 {
					assert.Zero(t, got[i])
					continue
				}
				// Premultiplied 8-bit samples come in steps of 255/alpha.
				assert.InDelta(t, v, got[i], 255/float64(c.A)+1, "%T", m)
			}
		}
	})
}

func TestSixteenBitsKeepTheHighByte(t *testing.T) {
	g := image.NewGray16(image.Rect(0, 0, 2, 1))
	g.SetGray16(0, 0, color.Gray16{0x12ff})
	g.SetGray16(1, 0, color.Gray16{0xfe00})
	p, err := picture.New(g)
	require.NoError(t, err)
	assert.Equal(t, []byte{0x12, 0x12, 0x12, 0xfe, 0xfe, 0xfe}, p.RGB().Pix)
}

func TestRefuses(t *testing.T) {
	r := image.Rect(0, 0, 4, 3)
	short := image.NewNRGBA(r)
	short.Pix = short.Pix[:len(short.Pix)-1]
	shortGray := image.NewGray(r)
	shortGray.Pix = nil
	back := image.NewGray(r)
	back.Stride = -4
	noChroma := image.NewYCbCr(r, image.YCbCrSubsampleRatio420)
	noChroma.Cr = noChroma.Cr[:3]
	noLuma := image.NewYCbCr(r, image.YCbCrSubsampleRatio420)
	noLuma.Y = nil
	for name, img := range map[string]image.Image{
		"nil": nil, "nil pointer": (*image.NRGBA)(nil), "empty": image.NewRGBA(image.Rectangle{}), "no width": image.NewGray(image.Rect(3, 1, 3, 9)),
		"short": short, "no pixels": shortGray, "negative stride": back, "no chroma": noChroma, "no luma": noLuma,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := picture.New(img)
			assert.ErrorIs(t, err, picture.ErrPicture)
		})
	}
}

func TestPaletteIndexBeyondPaletteIsBlack(t *testing.T) {
	m := image.NewPaletted(image.Rect(0, 0, 3, 1), color.Palette{color.White, nil})
	m.Pix = []byte{0, 1, 200}
	p, err := picture.New(m)
	require.NoError(t, err)
	assert.Equal(t, []byte{255, 255, 255, 0, 0, 0, 0, 0, 0}, p.RGB().Pix)
}

func TestEndlessPictureIsRefusedByTheResize(t *testing.T) {
	p, err := picture.New(image.NewUniform(color.White))
	require.NoError(t, err)
	_, err = resample.Bilinear(nil, p, resample.Size{H: 4, W: 4})
	assert.ErrorIs(t, err, resample.ErrSize)
}

func BenchmarkRow(b *testing.B) {
	at := func(x, y int) color.NRGBA { return color.NRGBA{byte(x), byte(y), 3, 255} }
	for name, img := range formats(1024, 64, at) {
		p, err := picture.New(img)
		require.NoError(b, err)
		buf := make([]byte, 1024*3)
		b.Run(name, func(b *testing.B) {
			b.SetBytes(1024)
			b.ReportAllocs()
			for y := 0; b.Loop(); y++ {
				p.Row(y%64, buf)
			}
		})
	}
}

func ExampleNew() {
	img := image.NewNRGBA(image.Rect(10, 10, 12, 11))
	img.Set(11, 10, color.NRGBA{R: 200, G: 100, B: 50, A: 128})
	p, err := picture.New(img)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(p.Bounds(), p.RGB().Pix)
	// Output: 1x2 [0 0 0 200 100 50]
}

// Premultiplied colours are divided as Pillow divides them, whatever holds them:
// 255 * 37 / 61 is 154.
func TestDivide(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 3, 1))
	copy(m.Pix, []byte{37, 61, 70, 61, 5, 6, 7, 0, 9, 10, 11, 255})
	deep := image.NewRGBA64(m.Rect)
	for i, v := range m.Pix {
		deep.Pix[2*i], deep.Pix[2*i+1] = v, 99
	}
	for _, img := range []image.Image{m, deep, hidden{m}, hidden{deep}} {
		p, err := picture.New(img)
		require.NoError(t, err)
		assert.Equal(t, []byte{154, 255, 255, 0, 0, 0, 9, 10, 11}, p.RGB().Pix, "%T", img)
	}
}
