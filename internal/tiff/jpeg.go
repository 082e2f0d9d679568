package tiff

import (
	"errors"
	"fmt"

	"github.com/slidesam/sam/internal/jpegtile"
)

// decodeJPEG decodes one tile or strip of comps components to RGBA
// [s.h, s.w, 4].
//
// What the data say of their colours, by a JFIF or Adobe marker or by
// components numbered R, G and B, beats the Photometric field, as it does in
// tifffile and Bio-Formats. Without such a mark the field decides.
func (im *Image) decodeJPEG(b []byte, s span, comps int) ([]byte, error) {
	head, err := jpegtile.Inspect(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	// A single component is gray whatever the field says.
	if head.Comps != comps {
		return nil, fmt.Errorf("JPEG of %d components for %d samples per pixel: %w", head.Comps, comps, ErrCorrupt)
	}
	if comps == 4 { // four components of a JPEG file would be inks
		return nil, fmt.Errorf("JPEG data of 4 samples per pixel: %w", ErrUnsupported)
	}
	// The last strip may be coded at full height.
	if err := s.check("JPEG", head.W, head.H, max(im.SegH, s.h)); err != nil {
		return nil, err
	}
	color := head.Said
	if color == jpegtile.Auto {
		color = jpegtile.RGB
		if im.photo == photoYCbCr {
			color = jpegtile.YCbCr
		}
	}
	pix, _, _, err := im.tables.Decode(b, color)
	switch {
	case errors.Is(err, jpegtile.ErrUnsupported):
		return nil, fmt.Errorf("%w: %w", err, ErrUnsupported)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return s.fit(pix, head.W, head.H, 4), nil
}

// span is the size of a tile or strip and how much of it lies inside the
// picture.
type span struct{ w, h, inW, inH int }

func (im *Image) span(col, row int) span {
	s := span{im.SegW, im.SegH, min(im.SegW, im.W-col*im.SegW), min(im.SegH, im.H-row*im.SegH)}
	if !im.Tiled {
		s.h = s.inH
	}
	return s
}

// check refuses data of w x h pixels that do not cover what lies inside the
// picture, or exceed the tile. Some writers crop the tiles at the edges.
func (s span) check(what string, w, h, maxH int) error {
	if w < s.inW || h < s.inH || w > s.w || h > maxH {
		return fmt.Errorf("%s of %d x %d, want %d x %d: %w", what, w, h, s.w, s.h, ErrCorrupt)
	}
	return nil
}

// fit brings pixels [h, w, n] to the size of the tile: rows over it are
// dropped, and what a cropped one lacks repeats its edge.
func (s span) fit(pix []byte, w, h, n int) []byte {
	if w == s.w && h >= s.h {
		return pix[: n*w*s.h : n*w*s.h]
	}
	out := make([]byte, 0, n*s.w*s.h)
	for y := range s.h {
		row := pix[min(y, h-1)*w*n:][:w*n]
		out = append(out, row...)
		for range s.w - w {
			out = append(out, row[(w-1)*n:]...)
		}
	}
	return out
}
