package jpegtile

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/jpeg"
)

// DecodeAny is Decode, and for JPEG files that Decode does not read
// (progressive ones above all) the standard library, with the same
// interpolation of chroma. It rounds the inverse DCT in its own way: within
// 1 of libjpeg per component. (The package jpegn v0.3.1 was tried: baseline
// files come within 1 too, progressive ones up to 131 levels off.)
func (t *Tables) DecodeAny(b []byte, c Color) (pix []byte, w, h int, err error) {
	pix, w, h, err = t.Decode(b, c)
	if err == nil || !errors.Is(err, ErrUnsupported) {
		return pix, w, h, err
	}
	if i, e := Inspect(b); e != nil || i.W*i.H > maxPixels || i.W*i.H/maxRatio > len(b) {
		return nil, 0, 0, fmt.Errorf("jpegtile: %d bytes for %d x %d: %w", len(b), i.W, i.H, ErrCorrupt)
	}
	if t == nil {
		t = &Tables{}
	}
	whole, e := t.Stream(b, c)
	if e != nil {
		return nil, 0, 0, e
	}
	pic, e := safely(func() (image.Image, error) { return jpeg.Decode(bytes.NewReader(whole)) })
	if e != nil {
		return nil, 0, 0, fmt.Errorf("%w (image/jpeg: %w)", err, e)
	}
	w, h = pic.Bounds().Dx(), pic.Bounds().Dy()
	pix, err = fromImage(pic)
	return pix, w, h, err
}

// maxRatio is the most pixels that a byte may stand for in the files that
// are left to other decoders: runs of empty blocks cost next to nothing in
// a progressive scan, but each component's first scan codes every block.
const maxRatio = 512

// safely turns a panic of a decoder into an error.
func safely(f func() (image.Image, error)) (pic image.Image, err error) {
	defer func() {
		if r := recover(); r != nil {
			pic, err = nil, fmt.Errorf("decoder: %v", r)
		}
	}()
	return f()
}

// fromImage converts what another decoder returned.
func fromImage(pic image.Image) ([]byte, error) {
	r := pic.Bounds()
	p, ok := pic.(*image.YCbCr)
	if !ok {
		dst := image.NewRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
		draw.Draw(dst, dst.Rect, pic, r.Min, draw.Src)
		return dst.Pix, nil
	}
	f, ok := map[image.YCbCrSubsampleRatio][2]int{
		image.YCbCrSubsampleRatio444: {1, 1}, image.YCbCrSubsampleRatio422: {2, 1}, image.YCbCrSubsampleRatio420: {2, 2},
		image.YCbCrSubsampleRatio440: {1, 2}, image.YCbCrSubsampleRatio411: {4, 1}, image.YCbCrSubsampleRatio410: {4, 2},
	}[p.SubsampleRatio]
	if !ok {
		return nil, fmt.Errorf("jpegtile: chroma subsampling %v: %w", p.SubsampleRatio, ErrUnsupported)
	}
	w, h := (r.Dx()-1)/f[0]+1, (r.Dy()-1)/f[1]+1
	d := decoder{w: r.Dx(), h: r.Dy(), hmax: f[0], vmax: f[1], comps: []component{
		{h: f[0], v: f[1], w: r.Dx(), hgt: r.Dy(), stride: p.YStride, pix: p.Y},
		{h: 1, v: 1, w: w, hgt: h, stride: p.CStride, pix: p.Cb},
		{h: 1, v: 1, w: w, hgt: h, stride: p.CStride, pix: p.Cr},
	}}
	return d.rgba(YCbCr)
}
