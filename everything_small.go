package sam

import (
	"context"
	"errors"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/spatial"
)

// smallRegions fills holes and drops islands smaller than MinMaskRegionArea,
// and removes the duplicates that this makes. Masks that did not change win.
//
// Source: automatic_mask_generator.py, postprocess_small_regions.
func (g *generator) smallRegions(ctx context.Context, rs []Region) ([]Region, error) {
	masks, errs := make([]*mask.Mask, len(rs)), make([]error, len(rs))
	scores := make([]float32, len(rs))
	kernel.Parallel(len(rs), func(i int) {
		if errs[i] = ctx.Err(); errs[i] != nil {
			return
		}
		var holes, islands bool
		masks[i], holes, errs[i] = rs[i].Mask.pixels().FillHoles(g.MinMaskRegionArea)
		if errs[i] != nil {
			return
		}
		masks[i], islands, errs[i] = masks[i].DropIslands(g.MinMaskRegionArea)
		if !holes && !islands {
			scores[i] = 1
		}
	})
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	boxes := make([][4]float32, len(rs))
	out := append([]Region(nil), rs...)
	for i, m := range masks {
		out[i].Mask = (*Mask)(m)
		boxes[i] = upstreamBox(out[i].Mask)
	}
	kept := pick(out, spatial.BoxNMS(boxes, scores, max(g.BoxNMSThresh, g.CropNMSThresh)))
	g.tally.Duplicates += len(out) - len(kept)
	return kept, nil
}
