package tiff

import (
	"fmt"
	"image"
	"image/color"
)

// Bits returns the bits of a sample, 8 or 16.
func (im *Image) Bits() int { return im.bits }

// WhiteIsZero reports whether the file's smallest sample is white.
func (im *Image) WhiteIsZero() bool { return im.photo == photoWhiteIsZero }

// Exact returns the whole picture with its samples as the file has them: gray as
// *image.Gray or *image.Gray16 (white is the most, whatever the file's
// photometric says), palette indices as *image.Paletted, the rest as
// *image.NRGBA or *image.NRGBA64, or *image.RGBA and *image.RGBA64 where the
// file's colours are premultiplied. The caller has checked the size.
//
// Samples of 16 bits that are coded as JPEG 2000 give an error that wraps
// ErrUnsupported; what is coded as JPEG, JPEG 2000 or WebP comes as *image.RGBA.
func (im *Image) Exact() (image.Image, error) {
	if im.coded() && im.bits != 8 {
		return nil, fmt.Errorf("tiff: JPEG 2000 data of 16 bits: %w", ErrUnsupported)
	}
	out := im.canvas()
	for row := range im.Rows {
		for col := range im.Cols {
			s := im.span(col, row)
			at := image.Pt(col*im.SegW, row*im.SegH)
			if im.coded() && !im.planar {
				seg, err := im.Segment(col, row)
				if err != nil {
					return nil, err
				}
				out.pixels(seg.Pix, s, at)
				continue
			}
			raw, err := im.samples(col, row, s)
			if err != nil {
				return nil, fmt.Errorf("tiff: read segment (%d, %d): %w", col, row, err)
			}
			out.pixels(im.arranged(raw), s, at)
		}
	}
	return out.Image, nil
}

// canvas is a picture and its bytes.
type canvas struct {
	image.Image
	pix    []byte
	stride int
	size   int // bytes of a pixel
}

func (im *Image) canvas() canvas {
	r := image.Rect(0, 0, im.W, im.H)
	deep := im.bits == 16
	switch {
	case im.coded() && !im.planar: // as Segment has them
		m := image.NewRGBA(r)
		return canvas{m, m.Pix, m.Stride, 4}
	case im.alpha < 0 && im.photo == photoPalette:
		m := image.NewPaletted(r, nil)
		for i := range 256 {
			p := im.palette[3*i:]
			m.Palette = append(m.Palette, color.NRGBA{p[0], p[1], p[2], 255})
		}
		return canvas{m, m.Pix, m.Stride, 1}
	case im.alpha < 0 && im.photo <= photoBlackIsZero && deep:
		m := image.NewGray16(r)
		return canvas{m, m.Pix, m.Stride, 2}
	case im.alpha < 0 && im.photo <= photoBlackIsZero:
		m := image.NewGray(r)
		return canvas{m, m.Pix, m.Stride, 1}
	case im.premul && deep:
		m := image.NewRGBA64(r)
		return canvas{m, m.Pix, m.Stride, 8}
	case im.premul:
		m := image.NewRGBA(r)
		return canvas{m, m.Pix, m.Stride, 4}
	case deep:
		m := image.NewNRGBA64(r)
		return canvas{m, m.Pix, m.Stride, 8}
	}
	m := image.NewNRGBA(r)
	return canvas{m, m.Pix, m.Stride, 4}
}

// arranged returns samples [h, w, spp] in the order and number of a canvas, each
// with its high byte first.
func (im *Image) arranged(raw []byte) []byte {
	n := im.bits / 8
	high := 0 // which byte of a sample is its high one
	if n == 2 && im.f.order.Uint16([]byte{0, 1}) != 1 {
		high = 1
	}
	c := im.canvasSamples()
	px := len(raw) / (im.spp * n)
	out := make([]byte, px*c*n)
	for i := range px {
		from, to := raw[i*im.spp*n:][:im.spp*n], out[i*c*n:][:c*n]
		for k := range c {
			var at int
			switch {
			case k == 3 && im.alpha < 0:
				to[k*n], to[k*n+n-1] = 255, 255
				continue
			case k == 3:
				at = im.alpha
			case im.photo == photoRGB:
				at = k
			}
			var flip byte
			if im.photo == photoWhiteIsZero && k < 3 {
				flip = 255
			}
			if to[k*n] = from[at*n+high] ^ flip; n == 2 {
				to[k*n+1] = from[at*n+1-high] ^ flip
			}
			if im.photo == photoPalette && c > 1 && k < 3 {
				to[k] = im.palette[3*int(from[0])+k]
			}
		}
	}
	return out
}

// canvasSamples returns 1 for gray and palettes, 4 for colour and alpha.
func (im *Image) canvasSamples() int {
	if im.alpha < 0 && im.photo != photoRGB {
		return 1
	}
	return 4
}

// pixels copies a segment's pixels to their place.
func (c canvas) pixels(pix []byte, s span, at image.Point) {
	for y := range s.inH {
		copy(c.pix[(at.Y+y)*c.stride+at.X*c.size:][:s.inW*c.size], pix[y*s.w*c.size:])
	}
}
