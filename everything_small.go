package sam

import (
	"context"
	"errors"
	"image"

	"github.com/slidesam/sam/internal/kernel"
)

// smallRegions fills holes and drops islands smaller than MinMaskRegionArea,
// and removes the duplicates that this makes. Masks that did not change win.
//
// Source: automatic_mask_generator.py, postprocess_small_regions.
func (g *generator) smallRegions(ctx context.Context, rs []Region) ([]Region, error) {
	masks, errs := make([]*Mask, len(rs)), make([]error, len(rs))
	scores := make([]float32, len(rs))
	kernel.Parallel(len(rs), func(i int) {
		if errs[i] = ctx.Err(); errs[i] != nil {
			return
		}
		var holes, islands bool
		masks[i], holes, errs[i] = rs[i].Mask.fillHoles(g.MinMaskRegionArea)
		if errs[i] != nil {
			return
		}
		masks[i], islands, errs[i] = masks[i].dropIslands(g.MinMaskRegionArea)
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
		boxes[i] = upstreamBox(m)
		out[i].Mask = m
	}
	return pick(out, boxNMS(boxes, scores, max(g.BoxNMSThresh, g.CropNMSThresh))), nil
}

// piece is a run of pixels and the component it belongs to.
type piece struct {
	Run
	parent int32
}

// components joins runs, given row by row from left to right, into
// 8-connected components. It returns the runs, the root of each, and the
// number of pixels under each root; roots are the first runs of their
// components.
func components(rows func(yield func(Run) bool)) (pieces []piece, sizes []int) {
	find := func(i int32) int32 {
		for pieces[i].parent != i {
			pieces[i].parent = pieces[pieces[i].parent].parent
			i = pieces[i].parent
		}
		return i
	}
	above, start := 0, 0 // first runs of the row above and of this one
	for r := range rows {
		i := int32(len(pieces))
		if int(i) == start || pieces[i-1].Y != r.Y {
			if int(i) > start && pieces[i-1].Y == r.Y-1 {
				above = start
			} else {
				above = int(i)
			}
			start = int(i)
		}
		pieces = append(pieces, piece{r, i})
		for above < start && pieces[above].X1 < r.X0 {
			above++
		}
		for k := above; k < start && pieces[k].X0 <= r.X1; k++ {
			a, b := find(int32(k)), find(i)
			pieces[max(a, b)].parent = min(a, b)
		}
	}
	sizes = make([]int, len(pieces))
	for i := range pieces {
		root := find(int32(i))
		pieces[i].parent = root
		sizes[root] += pieces[i].X1 - pieces[i].X0
	}
	return pieces, sizes
}

// background yields the runs of pixels that do not belong to the mask, over
// the whole picture.
func (m *Mask) background() func(yield func(Run) bool) {
	return func(yield func(Run) bool) {
		y, x := 0, 0
		for r := range m.Runs() {
			for ; y < r.Y; y, x = y+1, 0 {
				if x < m.size.W && !yield(Run{Y: y, X0: x, X1: m.size.W}) {
					return
				}
			}
			if x < r.X0 && !yield(Run{Y: y, X0: x, X1: r.X0}) {
				return
			}
			x = r.X1
		}
		for ; y < m.size.H; y, x = y+1, 0 {
			if x < m.size.W && !yield(Run{Y: y, X0: x, X1: m.size.W}) {
				return
			}
		}
	}
}

// fillHoles returns the mask with the components of its background that have
// fewer than area pixels filled, and whether there were any. A component at
// the picture's edge is one as well.
//
// Source: utils/amg.py, remove_small_regions.
func (m *Mask) fillHoles(area int) (*Mask, bool, error) {
	pieces, sizes := components(m.background())
	hull, changed := m.box, false
	for _, s := range pieces {
		if sizes[s.parent] < area {
			hull, changed = hull.Union(runRect(s.Run)), true
		}
	}
	if !changed {
		return m, false, nil
	}
	b, err := newMaskBuilder(m.size, hull)
	if err != nil {
		return nil, false, err
	}
	for r := range m.Runs() {
		b.setRun(r)
	}
	for _, s := range pieces {
		if sizes[s.parent] < area {
			b.setRun(s.Run)
		}
	}
	return b.mask(), true, nil
}

// dropIslands returns the mask without its components of fewer than area
// pixels, and whether there were any. If all are that small the largest stays,
// the first in reading order if several are.
//
// Source: utils/amg.py, remove_small_regions.
func (m *Mask) dropIslands(area int) (*Mask, bool, error) {
	pieces, sizes := components(m.Runs())
	small, large, best := false, false, -1
	for i, n := range sizes {
		if n == 0 {
			continue
		}
		small, large = small || n < area, large || n >= area
		if best < 0 || n > sizes[best] {
			best = i
		}
	}
	if !small {
		return m, false, nil
	}
	b, err := newMaskBuilder(m.size, m.box)
	if err != nil {
		return nil, false, err
	}
	for _, s := range pieces {
		if large && sizes[s.parent] >= area || !large && int(s.parent) == best {
			b.setRun(s.Run)
		}
	}
	return b.mask(), true, nil
}

// runRect is the rectangle of one run.
func runRect(r Run) image.Rectangle { return image.Rect(r.X0, r.Y, r.X1, r.Y+1) }
