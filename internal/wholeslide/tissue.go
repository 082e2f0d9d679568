package wholeslide

import (
	"context"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/wsi"
)

const (
	tissueSide = 1536 // longer side, in pixels, that tissue is looked for at
	// tissueMargin is how many pixels around the tissue are searched: the
	// objects at its rim reach beyond it.
	tissueMargin = 2
)

// Tissue returns where a slide has tissue, as a mask of the whole slide reduced
// to at most 1,536 pixels.
func Tissue(ctx context.Context, s *wsi.Slide) (*mask.Mask, error) {
	pic, err := s.Thumbnail(ctx, tissueSide)
	if err != nil {
		return nil, err
	}
	return histology.Tissue(pic)
}

// SearchMask returns where to look for objects: tissue and a margin.
func SearchMask(ctx context.Context, s *wsi.Slide) (*mask.Mask, error) {
	m, err := Tissue(ctx, s)
	if err != nil {
		return nil, err
	}
	return m.Widen(tissueMargin)
}
