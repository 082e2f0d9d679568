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
	if w <= 0 || h <= 0 || int64(w)*int64(h) > maxSegmentJ2K {
		return nil, fmt.Errorf("JPEG 2000 of %d x %d, over %d pixels: %w", w, h, maxSegmentJ2K, ErrUnsupported)
	}
	_, _, transformed, _, err := headJ2K(b)
	if err != nil {
		return nil, err
	}
	if err := checkJ2K(b, w, h, spp); err != nil {
		return nil, err
	}
	pic, err := safeJ2K(b)
	if err != nil {
		return nil, fmt.Errorf("JPEG 2000: %w: %w", err, ErrCorrupt)
	}
	p, ok := pic.(*image.RGBA)
	if g, gray := pic.(*image.Gray); gray {
		p, ok = image.NewRGBA(g.Rect), true
		draw.Draw(p, p.Rect, g, g.Rect.Min, draw.Src)
	}
	if !ok || p.Bounds().Dx() != w || p.Bounds().Dy() != h {
		return nil, fmt.Errorf("JPEG 2000: %v decoded, want %d x %d: %w", pic.Bounds(), w, h, ErrCorrupt)
	}
	if ycc && spp >= 3 && !transformed {
		for i := 0; i+3 < len(p.Pix); i += 4 {
			d := p.Pix[i : i+4 : i+4]
			d[0], d[1], d[2] = jpegtile.ToRGB(d[0], d[1], d[2])
		}
	}
	return p.Pix, nil
}
