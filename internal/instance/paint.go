package instance

import (
	"slices"

	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/spatial"
)

// Candidate is a mask that may be an object.
type Candidate struct {
	Mask  *mask.Mask
	Score float64
}

// PaintOptions are the bounds of [Paint].
type PaintOptions struct {
	Overlap float64 // of two masks of a larger IoU, the one of lower score is dropped
	MinSize int     // masks must be larger, and objects as large
}

// Paint makes labels [H, W] of overlapping candidates: duplicates are dropped,
// the others painted, the largest first, each where nothing is yet; what is
// left of one is taken apart into its 4-connected parts. of says for each
// label, from 1 on, which candidate it comes from. Ties go to the first.
//
// Source: util.py, apply_nms, _batched_mask_nms, mask_data_to_segmentation
// (micro-sam 3acdcd72).
func Paint(h, w int, all []Candidate, o PaintOptions) (labels []uint32, of []int) {
	kept := unique(all, o)
	slices.SortStableFunc(kept, func(a, b int) int { return all[b].Mask.Area() - all[a].Mask.Area() })
	painted := make([]uint32, h*w)
	for _, i := range kept {
		for r := range all[i].Mask.Runs() {
			for x := r.X0; x < r.X1; x++ {
				if at := r.Y*w + x; painted[at] == 0 {
					painted[at] = uint32(i + 1)
				}
			}
		}
	}
	labels, n := parts(painted, h, w)
	size, from := make([]int, n+1), make([]int, n+1)
	for i, l := range labels {
		size[l]++
		from[l] = int(painted[i]) - 1
	}
	number := make([]uint32, n+1)
	for l := 1; l <= n; l++ {
		if size[l] >= o.MinSize {
			of = append(of, from[l])
			number[l] = uint32(len(of))
		}
	}
	for i, l := range labels {
		labels[i] = number[l]
	}
	return labels, of
}

// cell is the side of the squares in which masks are looked up: that of a few
// nuclei.
const cell = 64

// unique returns the candidates that are large enough and no duplicates, those
// of highest score first.
func unique(all []Candidate, o PaintOptions) (kept []int) {
	var order []int
	for i, c := range all {
		if c.Mask.Area() > o.MinSize {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case all[a].Score > all[b].Score:
			return -1
		case all[a].Score < all[b].Score:
			return 1
		}
		return 0
	})
	near := spatial.NewIndex(cell)
	for _, i := range order {
		m := all[i].Mask
		same := false
		near.Near(m.Bounds(), func(k int) bool {
			same = m.IoU(all[k].Mask) > o.Overlap
			return !same
		})
		if !same {
			kept = append(kept, i)
			near.Add(i, m.Bounds())
		}
	}
	return kept
}
