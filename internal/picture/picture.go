// Package picture reads any image.Image as rows of 8-bit RGB, the form that
// Segment Anything was trained on.
//
// Colours are what Pillow's convert("RGB") gives for the same file:
//
//   - Alpha is dropped, not composited: a transparent pixel keeps its colour.
//     Premultiplied colours (image.RGBA, image.RGBA64) are divided by their
//     alpha first; where alpha is 0 no colour is left and the pixel is black.
//   - 16-bit samples keep their high byte.
//   - Grey becomes three equal channels, a palette index its entry's colour.
//   - YCbCr and CMYK follow package image/color. Chroma planes of lower
//     resolution are repeated, while Pillow's JPEG reader smooths them.
//
// Rows are [W, 3], R first, counted from the top of the picture's bounds,
// wherever these begin.
//
//	p, err := picture.New(img)
//	small, err := resample.Bilinear(nil, p, resample.LongestSide(p.Bounds(), 1024))
package picture

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"reflect"

	"github.com/slidesam/sam/internal/resample"
)

// ErrPicture is wrapped by every error of [New].
var ErrPicture = errors.New("not a usable picture")

// Picture is an image.Image as a [resample.Source].
type Picture struct {
	size resample.Size
	row  func(y int, dst []byte)
}

// Bounds returns the picture's size.
func (p *Picture) Bounds() resample.Size { return p.size }

// Row fills buf with row y, [W, 3], and returns it. It may be called from
// several goroutines as long as the image's own methods may.
func (p *Picture) Row(y int, buf []byte) []byte {
	buf = buf[:p.size.W*3]
	p.row(y, buf)
	return buf
}

// RGB returns the whole picture as [H, W, 3].
func (p *Picture) RGB() resample.RGB {
	n := p.size.W * 3
	out := resample.RGB{Size: p.size, Pix: make([]byte, p.size.H*n)}
	for y := range p.size.H {
		p.row(y, out.Pix[y*n:(y+1)*n])
	}
	return out
}

// Digest is the SHA-256 of the picture's height and width, each as four bytes,
// the lowest first, and of its red, green and blue, row by row.
func (p *Picture) Digest() [32]byte {
	h := sha256.New()
	_ = binary.Write(h, binary.LittleEndian, [2]uint32{uint32(p.size.H), uint32(p.size.W)}) // a hash takes all
	buf := make([]byte, 3*p.size.W)
	for y := range p.size.H {
		h.Write(p.Row(y, buf))
	}
	return [32]byte(h.Sum(nil))
}

// New returns a view of img; the pixels are read when rows are asked for.
//
// It returns an error that wraps [ErrPicture] if img is nil or empty, or if
// its pixel slice is too short for its bounds.
func New(img image.Image) (*Picture, error) {
	if v := reflect.ValueOf(img); img == nil || v.Kind() == reflect.Pointer && v.IsNil() {
		return nil, fmt.Errorf("%w: no picture given", ErrPicture)
	}
	b := img.Bounds()
	p := &Picture{size: resample.Size{H: b.Dy(), W: b.Dx()}}
	if b.Empty() || p.size.H < 1 || p.size.W < 1 {
		return nil, fmt.Errorf("%w: %v is empty", ErrPicture, b)
	}
	row, ok := rows(img)
	if !ok {
		return nil, fmt.Errorf("%w: too few pixels in %T for %v", ErrPicture, img, b)
	}
	p.row = row
	return p, nil
}

// rows returns the function that fills a row, and whether all the pixels that
// it will touch are there.
func rows(img image.Image) (row func(y int, dst []byte), ok bool) {
	switch m := img.(type) {
	case *image.NRGBA:
		return packed(m.Pix, m.Stride, m.Rect, 4, func(dst, src []byte) {
			for ; len(dst) >= 3 && len(src) >= 4; dst, src = dst[3:], src[4:] {
				dst[0], dst[1], dst[2] = src[0], src[1], src[2]
			}
		})
	case *image.RGBA:
		return packed(m.Pix, m.Stride, m.Rect, 4, func(dst, src []byte) {
			for ; len(dst) >= 3 && len(src) >= 4; dst, src = dst[3:], src[4:] {
				dst[0], dst[1], dst[2] = src[0], src[1], src[2]
				if src[3] != 0xff {
					divide(dst, src[0], src[1], src[2], src[3])
				}
			}
		})
	case *image.NRGBA64:
		return packed(m.Pix, m.Stride, m.Rect, 8, func(dst, src []byte) {
			for ; len(dst) >= 3 && len(src) >= 8; dst, src = dst[3:], src[8:] {
				dst[0], dst[1], dst[2] = src[0], src[2], src[4]
			}
		})
	case *image.RGBA64:
		return packed(m.Pix, m.Stride, m.Rect, 8, func(dst, src []byte) {
			for ; len(dst) >= 3 && len(src) >= 8; dst, src = dst[3:], src[8:] {
				divide(dst, src[0], src[2], src[4], src[6])
			}
		})
	case *image.Gray:
		return packed(m.Pix, m.Stride, m.Rect, 1, func(dst, src []byte) {
			for i, v := range src {
				dst[i*3], dst[i*3+1], dst[i*3+2] = v, v, v
			}
		})
	case *image.Gray16:
		return packed(m.Pix, m.Stride, m.Rect, 2, func(dst, src []byte) {
			for ; len(dst) >= 3 && len(src) >= 2; dst, src = dst[3:], src[2:] {
				dst[0], dst[1], dst[2] = src[0], src[0], src[0]
			}
		})
	case *image.Paletted:
		// An index beyond the palette is black.
		var table [256][3]byte
		for i, c := range m.Palette[:min(len(m.Palette), 256)] {
			setColor(table[i][:], c)
		}
		return packed(m.Pix, m.Stride, m.Rect, 1, func(dst, src []byte) {
			for i, v := range src {
				copy(dst[i*3:i*3+3], table[v][:])
			}
		})
	case *image.CMYK:
		return packed(m.Pix, m.Stride, m.Rect, 4, func(dst, src []byte) {
			for ; len(dst) >= 3 && len(src) >= 4; dst, src = dst[3:], src[4:] {
				dst[0], dst[1], dst[2] = color.CMYKToRGB(src[0], src[1], src[2], src[3])
			}
		})
	case *image.YCbCr:
		return ycbcr(m)
	case *image.NYCbCrA:
		return ycbcr(&m.YCbCr)
	case image.RGBA64Image:
		b := m.Bounds()
		return func(y int, dst []byte) {
			for x := range b.Dx() {
				setRGBA64(dst[x*3:], m.RGBA64At(b.Min.X+x, b.Min.Y+y))
			}
		}, true
	}
	b := img.Bounds()
	return func(y int, dst []byte) {
		for x := range b.Dx() {
			setColor(dst[x*3:], img.At(b.Min.X+x, b.Min.Y+y))
		}
	}, true
}

// packed reads pixels of bpp bytes each. pix begins with the pixel at r.Min.
func packed(pix []byte, stride int, r image.Rectangle, bpp int, convert func(dst, src []byte)) (func(int, []byte), bool) {
	n := r.Dx() * bpp
	ok := stride >= 0 && r.Dx() <= len(pix)/bpp && (r.Dy() == 1 || stride <= (len(pix)-n)/(r.Dy()-1))
	return func(y int, dst []byte) {
		convert(dst, pix[y*stride:y*stride+n])
	}, ok
}

func ycbcr(m *image.YCbCr) (func(int, []byte), bool) {
	r := m.Rect
	// Offsets grow with x and y, so the last pixel of the last row bounds all.
	last := r.Max.Sub(image.Pt(1, 1))
	yEnd, cEnd := m.YOffset(last.X, last.Y), m.COffset(last.X, last.Y)
	ok := m.YStride >= 0 && m.CStride >= 0 && yEnd >= 0 && yEnd < len(m.Y) &&
		cEnd >= 0 && cEnd < len(m.Cb) && cEnd < len(m.Cr) &&
		m.YOffset(r.Min.X, r.Min.Y) >= 0 && m.COffset(r.Min.X, r.Min.Y) >= 0
	return func(y int, dst []byte) {
		y += r.Min.Y
		lum := m.Y[m.YOffset(r.Min.X, y):][:r.Dx()]
		for x, l := range lum {
			c := m.COffset(r.Min.X+x, y)
			o := dst[x*3 : x*3+3 : x*3+3]
			o[0], o[1], o[2] = color.YCbCrToRGB(l, m.Cb[c], m.Cr[c])
		}
	}, ok
}

// setColor writes c without its alpha.
func setColor(dst []byte, c color.Color) {
	switch c := c.(type) {
	case nil:
		dst[0], dst[1], dst[2] = 0, 0, 0
	case color.NRGBA:
		setNRGBA(dst, c)
	case color.NRGBA64:
		dst[0], dst[1], dst[2] = byte(c.R>>8), byte(c.G>>8), byte(c.B>>8)
	case color.RGBA:
		divide(dst, c.R, c.G, c.B, c.A)
	case color.RGBA64:
		divide(dst, byte(c.R>>8), byte(c.G>>8), byte(c.B>>8), byte(c.A>>8))
	default: // straight colours that only show themselves premultiplied, among others
		r, g, b, a := c.RGBA()
		setRGBA64(dst, color.RGBA64{R: uint16(r), G: uint16(g), B: uint16(b), A: uint16(a)})
	}
}

func setNRGBA(dst []byte, c color.NRGBA) { dst[0], dst[1], dst[2] = c.R, c.G, c.B }

// divide writes a premultiplied colour divided by its alpha as Pillow does
// (Unpack.c, unpackRGBa), for 16 bits by their high bytes.
func divide(dst []byte, r, g, b, a byte) {
	switch a {
	case 0:
		dst[0], dst[1], dst[2] = 0, 0, 0
	case 0xff:
		dst[0], dst[1], dst[2] = r, g, b
	default:
		for c, v := range [3]byte{r, g, b} {
			dst[c] = byte(min(255*int(v)/int(a), 255))
		}
	}
}

// setRGBA64 writes the high bytes of a premultiplied colour.
func setRGBA64(dst []byte, c color.RGBA64) {
	switch c.A {
	case 0xffff:
		dst[0], dst[1], dst[2] = byte(c.R>>8), byte(c.G>>8), byte(c.B>>8)
	case 0:
		dst[0], dst[1], dst[2] = 0, 0, 0
	default:
		a := uint32(c.A)
		div := func(v uint16) byte { return byte(min(uint32(v)*0xffff/a, 0xffff) >> 8) }
		dst[0], dst[1], dst[2] = div(c.R), div(c.G), div(c.B)
	}
}
