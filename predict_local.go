package sam

import (
	"cmp"
	"image"
	"math"
	"slices"
)

// on returns the part of the mask that the prompt is on, see
// [PredictOptions.Local].
func (m *Mask) on(p Prompt) (*Mask, error) {
	if p.Box != nil {
		var err error
		if m, err = m.Clip(p.Box.pixels()); err != nil {
			return nil, err
		}
	}
	return m.touched(p.Points)
}

// pixels are those whose middle lies in the box: X0 <= x+0.5 < X1.
func (b Box) pixels() image.Rectangle {
	up := func(v float64) int { return int(math.Ceil(v - 0.5)) }
	return image.Rect(up(b.X0), up(b.Y0), up(b.X1), up(b.Y1))
}

// touched returns the mask's 8-connected pieces in which a foreground point
// lies, or m if there is none.
func (m *Mask) touched(points []Point) (*Mask, error) {
	var on []image.Point
	for _, p := range points {
		// The picture's far edges are places of points, but not of pixels.
		at := image.Pt(min(int(p.X), m.size.W-1), min(int(p.Y), m.size.H-1))
		if p.Label == Foreground && m.At(at.X, at.Y) {
			on = append(on, at)
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
	b, err := newMaskBuilder(m.size, hull)
	if err != nil {
		return nil, err
	}
	for _, s := range pieces {
		if keep[s.parent] {
			b.setRun(s.Run)
		}
	}
	return b.mask(), nil
}
