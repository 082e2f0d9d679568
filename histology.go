package sam

import (
	"context"
	"fmt"
	"image"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/wholeslide"
)

// TissueMask returns where a brightfield slide has tissue, as a mask of the
// whole slide reduced to at most 1,536 pixels.
//
// Tissue is what has more colour than the glass, is clearly darker, or a little
// darker and has a texture, as fat; the light of the glass is found first, and
// may fall off to the sides. Registration marks, edges of slides and coverslips
// and strokes of a marker are left out: what is straight or slim, even, and has no
// colour or a marker's. Specks are dropped, small gaps closed. A slide without
// glass is all tissue and an empty one none.
func TissueMask(ctx context.Context, s *Slide) (*Mask, error) {
	m, err := wholeslide.Tissue(ctx, s.w)
	if err != nil {
		return nil, fmt.Errorf("sam: tissue mask: %w", err)
	}
	return (*Mask)(m), nil
}

// FindNuclei returns a point prompt at each nucleus of an H&E tile: the
// maxima of the smoothed amount of haematoxylin that are strong enough and
// stand out of their neighbourhood. It serves as SegmentOptions.Find, and
// needs no model. mpp 0 means 0.5.
//
// Points come row by row, and those of a tile depend on their neighbourhood
// alone. Stains are those of Ruifrok and Johnston, Anal. Quant. Cytol. Histol.
// 23 (2001).
func FindNuclei(ctx context.Context, tile *image.RGBA, mpp float64) ([]Prompt, error) {
	pts, err := histology.Nuclei(ctx, tile, mpp)
	if err != nil {
		return nil, fmt.Errorf("sam: find nuclei: %w", err)
	}
	out := make([]Prompt, len(pts))
	for i, pt := range pts {
		out[i] = Prompt{Points: []Point{{X: pt.X, Y: pt.Y, Label: Foreground}}}
	}
	return out, nil
}
