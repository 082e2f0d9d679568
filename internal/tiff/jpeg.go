package tiff

import (
	"errors"
	"fmt"

	"github.com/slidesam/sam/internal/jpegtile"
)

// decodeJPEG decodes a tile or strip to RGBA [h, w, 4].
//
// What the stream says of its colours counts before the Photometric field, as
// tifffile and Bio-Formats have it: writers state RGB and store YCbCr. Separate
// planes are what the field says.
func (im *Image) decodeJPEG(b []byte, w, h, planes int) ([]byte, error) {
	_, _, comps, err := jpegtile.Header(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	// A single component is gray whatever the field says.
	if comps != planes {
		return nil, fmt.Errorf("JPEG of %d components for %d samples per pixel: %w", comps, planes, ErrCorrupt)
	}
	color := jpegtile.RGB
	if im.photo == photoYCbCr {
		color = jpegtile.YCbCr
	}
	if stated := jpegtile.ColorOf(b); stated != jpegtile.Auto {
		color = stated
	}
	pix, fw, fh, err := im.tables.DecodeAny(b, color)
	switch {
	case errors.Is(err, jpegtile.ErrUnsupported):
		return nil, fmt.Errorf("%w: %w", err, ErrUnsupported)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return im.fit(pix, fw, fh, w, h)
}

// fit returns pix, RGBA [fh, fw, 4], as a segment of w x h. The last strip may
// be coded at full height, and tiles at the picture's edges cropped to it.
func (im *Image) fit(pix []byte, fw, fh, w, h int) ([]byte, error) {
	if fw == w && fh >= h && fh <= max(im.SegH, h) {
		return pix[: 4*w*h : 4*w*h], nil
	}
	edgeW, edgeH := (im.W-1)%im.SegW+1, (im.H-1)%im.SegH+1
	if !im.Tiled || fw != w && fw != edgeW || fh != h && fh != edgeH {
		return nil, fmt.Errorf("picture of %d x %d, want %d x %d: %w", fw, fh, w, h, ErrCorrupt)
	}
	out := make([]byte, 4*w*h)
	for y := range fh {
		copy(out[4*w*y:], pix[4*fw*y:4*fw*(y+1)])
	}
	return out, nil
}
