package tiff

import (
	"errors"
	"fmt"

	"github.com/slidesam/sam/internal/jpegtile"
)

// decodeJPEG decodes a tile or strip to RGBA [h, w, 4].
//
// The Photometric field alone decides how the components are read, as in
// libtiff: markers of the tile about it do not count.
func (im *Image) decodeJPEG(b []byte, w, h int) ([]byte, error) {
	fw, fh, comps, err := jpegtile.Header(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	// A single component is gray whatever the field says.
	if comps != im.spp {
		return nil, fmt.Errorf("JPEG of %d components for %d samples per pixel: %w", comps, im.spp, ErrCorrupt)
	}
	// The last strip may be coded at full height.
	if fw != w || fh < h || fh > max(im.SegH, h) {
		return nil, fmt.Errorf("JPEG of %d x %d, want %d x %d: %w", fw, fh, w, h, ErrCorrupt)
	}
	color := jpegtile.RGB
	if im.photo == photoYCbCr {
		color = jpegtile.YCbCr
	}
	pix, _, _, err := im.tables.DecodeAny(b, color)
	switch {
	case errors.Is(err, jpegtile.ErrUnsupported):
		return nil, fmt.Errorf("%w: %w", err, ErrUnsupported)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return pix[: 4*w*h : 4*w*h], nil
}
