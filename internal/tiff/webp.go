package tiff

import (
	"bytes"
	"fmt"
	"image"
	"image/draw"

	"golang.org/x/image/webp"
)

const compWebP = 50001

// decodeWebP decodes a tile or strip to RGBA [s.h, s.w, 4], bit for bit as
// libwebp does.
func (im *Image) decodeWebP(b []byte, s span) ([]byte, error) {
	c, err := webp.DecodeConfig(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("WebP: %w: %w", err, ErrCorrupt)
	}
	// The last strip may be coded at full height.
	if err := s.check("WebP", c.Width, c.Height, max(im.SegH, s.h)); err != nil {
		return nil, err
	}
	if c.Width*c.Height/(1<<14) > len(b) {
		return nil, fmt.Errorf("%d bytes of WebP cannot hold %d x %d: %w", len(b), c.Width, c.Height, ErrCorrupt)
	}
	pic, err := safely(func() (image.Image, error) { return webp.Decode(bytes.NewReader(b)) })
	if err != nil {
		return nil, fmt.Errorf("WebP: %w: %w", err, ErrCorrupt)
	}
	if p, ok := pic.(*image.YCbCr); ok && p.SubsampleRatio == image.YCbCrSubsampleRatio420 {
		return s.fit(webpRGBA(p), c.Width, c.Height, 4), nil
	}
	dst := image.NewRGBA(image.Rect(0, 0, c.Width, c.Height))
	draw.Draw(dst, dst.Rect, pic, pic.Bounds().Min, draw.Src)
	return s.fit(dst.Pix, c.Width, c.Height, 4), nil
}

// safely turns a panic of a decoder into an error.
func safely(f func() (image.Image, error)) (pic image.Image, err error) {
	defer func() {
		if r := recover(); r != nil {
			pic, err = nil, fmt.Errorf("decoder: %v", r)
		}
	}()
	return f()
}

// webpRGBA converts planes of video range. Chroma is interpolated: three
// quarters of the nearer sample and one of the farther on each axis, the
// rounding that of libwebp's upsampling.c and yuv.h.
func webpRGBA(p *image.YCbCr) []byte {
	w, h := p.Rect.Dx(), p.Rect.Dy()
	cw, ch := (w+1)/2, (h+1)/2
	out := make([]byte, 4*w*h)
	for y := range h {
		near := y / 2
		far := near - 1 // the upper row of a pair looks up
		if y&1 == 1 {
			far = near + 1
		}
		if far < 0 || far >= ch {
			far = near
		}
		u0, u1 := p.Cb[near*p.CStride:][:cw], p.Cb[far*p.CStride:][:cw]
		v0, v1 := p.Cr[near*p.CStride:][:cw], p.Cr[far*p.CStride:][:cw]
		row, dst := p.Y[y*p.YStride:][:w], out[4*w*y:][:4*w]
		for x := range w {
			n := x / 2
			f := n - 1
			if x&1 == 1 {
				f = n + 1
			}
			u, v := webpChroma(u0, u1, n, f), webpChroma(v0, v1, n, f)
			d := dst[4*x : 4*x+4 : 4*x+4]
			d[0], d[1], d[2] = webpRGB(int(row[x]), u, v)
			d[3] = 255
		}
	}
	return out
}

// webpChroma interpolates between the rows near and far at columns n and f.
func webpChroma(near, far []byte, n, f int) int {
	a, c := int(near[n]), int(far[n])
	if f < 0 || f >= len(near) {
		return (3*a + c + 2) >> 2
	}
	b, d := int(near[f]), int(far[f])
	return ((a+b+c+d+8+2*(b+c))>>3 + a) >> 1
}

// webpRGB converts one pixel with 14 bits of fraction.
func webpRGB(y, u, v int) (r, g, b byte) {
	clip := func(v int) byte {
		if v < 0 {
			return 0
		}
		return byte(min(v>>6, 255))
	}
	y = y * 19077 >> 8
	return clip(y + v*26149>>8 - 14234), clip(y - u*6419>>8 - v*13320>>8 + 8708), clip(y + u*33050>>8 - 17685)
}
