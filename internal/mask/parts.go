package mask

import (
	"cmp"
	"image"
	"slices"
)

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

// FillHoles returns the mask with the components of its background that have
// fewer than area pixels filled, and whether there were any. A component at
// the picture's edge is one as well.
//
// Source: utils/amg.py, remove_small_regions.
func (m *Mask) FillHoles(area int) (*Mask, bool, error) {
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
	b, err := NewBuilder(m.size, hull)
	if err != nil {
		return nil, false, err
	}
	for r := range m.Runs() {
		b.SetRun(r)
	}
	for _, s := range pieces {
		if sizes[s.parent] < area {
			b.SetRun(s.Run)
		}
	}
	return b.Mask(), true, nil
}

// DropIslands returns the mask without its components of fewer than area
// pixels, and whether there were any. If all are that small the largest stays,
// the first in reading order if several are.
//
// Source: utils/amg.py, remove_small_regions.
func (m *Mask) DropIslands(area int) (*Mask, bool, error) {
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
	b, err := NewBuilder(m.size, m.box)
	if err != nil {
		return nil, false, err
	}
	for _, s := range pieces {
		if large && sizes[s.parent] >= area || !large && int(s.parent) == best {
			b.SetRun(s.Run)
		}
	}
	return b.Mask(), true, nil
}

// runRect is the rectangle of one run.
func runRect(r Run) image.Rectangle { return image.Rect(r.X0, r.Y, r.X1, r.Y+1) }

// KeepIslands is DropIslands without the rule that the largest stays.
func (m *Mask) KeepIslands(area int) (*Mask, error) {
	out, _, err := m.DropIslands(area)
	if err == nil && out.Area() < area {
		return &Mask{size: m.size}, nil
	}
	return out, err
}

// Widen returns the mask with the pixels within n columns and rows of it.
func (m *Mask) Widen(n int) (*Mask, error) {
	hull := image.Rect(m.box.Min.X-n, m.box.Min.Y-n, m.box.Max.X+n, m.box.Max.Y+n)
	if m.Area() == 0 {
		return m, nil
	}
	b, err := NewBuilder(m.size, hull)
	if err != nil {
		return nil, err
	}
	for r := range m.Runs() {
		for y := max(r.Y-n, 0); y <= min(r.Y+n, m.size.H-1); y++ {
			b.SetRun(Run{Y: y, X0: max(r.X0-n, 0), X1: min(r.X1+n, m.size.W)})
		}
	}
	return b.Mask(), nil
}

// Touching returns the mask's 8-connected parts on which one of the pixels
// lies; pixels outside the mask do not count. It is m itself if that is all of
// it or nothing.
func (m *Mask) Touching(pixels []image.Point) (*Mask, error) {
	var on []image.Point
	for _, p := range pixels {
		if m.At(p.X, p.Y) {
			on = append(on, p)
		}
	}
	if len(on) == 0 {
		return m, nil
	}
	slices.SortFunc(on, func(a, b image.Point) int { return cmp.Or(a.Y-b.Y, a.X-b.X) })
	pieces, sizes := components(m.Runs())
	keep := make([]bool, len(sizes))
	k := 0
	for _, s := range pieces { // runs and points both go row by row, and each point lies in a run
		for ; k < len(on) && on[k].In(runRect(s.Run)); k++ {
			keep[s.parent] = true
		}
	}
	hull, area := image.Rectangle{}, 0
	for _, s := range pieces {
		if keep[s.parent] {
			hull = hull.Union(runRect(s.Run))
			area += s.X1 - s.X0
		}
	}
	if area == m.area {
		return m, nil
	}
	b, err := NewBuilder(m.size, hull)
	if err != nil {
		return nil, err
	}
	for _, s := range pieces {
		if keep[s.parent] {
			b.SetRun(s.Run)
		}
	}
	return b.Mask(), nil
}
