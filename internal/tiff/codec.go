package tiff

import (
	"fmt"
	"image"
	"image/draw"

	"github.com/slidesam/sam/internal/jpegtile"
)

// DecodeJPEG2000 decodes a codestream of w x h pixels and spp components of
// 8 bits to RGBA [h, w, 4], for containers other than TIFF. The codestream's
// own colour transform is undone; without one, ycc says that the components
// are YCbCr.
//
// It allocates what w, h and spp need whatever the codestream claims. Errors
// wrap ErrCorrupt or ErrUnsupported.
func DecodeJPEG2000(b []byte, w, h, spp int, ycc bool) ([]byte, error) {
	if w <= 0 || h <= 0 || int64(w)*int64(h) > maxStream {
		return nil, fmt.Errorf("JPEG 2000 of %d x %d, over %d pixels: %w", w, h, maxStream, ErrUnsupported)
	}
	s := span{w, h, w, h}
	p, info, err := decodeStream(b, s, spp)
	if err != nil {
		return nil, err
	}
	if ycc && spp >= 3 && !info.mct {
		fromYCC(p.Pix)
	}
	return p.Pix, nil
}

// maxStream is the most pixels that DecodeJPEG2000 decodes; the decoder takes
// more than a hundred bytes for each.
const maxStream = 1 << 22

// decodeStream decodes a codestream that covers s.
func decodeStream(b []byte, s span, comps int) (*image.RGBA, j2kInfo, error) {
	info, err := checkJ2K(b, s, comps)
	if err != nil {
		return nil, info, err
	}
	pic, err := safeJ2K(b)
	if err != nil {
		return nil, info, fmt.Errorf("JPEG 2000: %w: %w", err, ErrCorrupt)
	}
	p, ok := pic.(*image.RGBA)
	if g, gray := pic.(*image.Gray); gray {
		p, ok = image.NewRGBA(g.Rect), true
		draw.Draw(p, p.Rect, g, g.Rect.Min, draw.Src)
	}
	if !ok || p.Bounds().Dx() != info.w || p.Bounds().Dy() != info.h {
		return nil, info, fmt.Errorf("JPEG 2000: %v decoded, want %d x %d: %w", pic.Bounds(), info.w, info.h, ErrCorrupt)
	}
	return p, info, nil
}

// fromYCC turns YCbCr into RGB in place.
func fromYCC(pix []byte) {
	for i := 0; i+3 < len(pix); i += 4 {
		d := pix[i : i+4 : i+4]
		d[0], d[1], d[2] = jpegtile.ToRGB(d[0], d[1], d[2])
	}
}
