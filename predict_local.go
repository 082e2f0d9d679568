package sam

import (
	"image"
	"math"
	"slices"
)

// localise makes all masks what [PredictOptions.Local] says, for the prompt q.
func (p *Prediction) localise(q Prompt) error {
	for i, m := range p.Masks {
		var err error
		if q.Box != nil {
			if m, err = m.Clip(q.Box.pixels()); err != nil {
				return err
			}
		}
		if p.Masks[i], err = m.touched(q.Points); err != nil {
			return err
		}
	}
	return nil
}

// pixels are those whose middle lies in the box.
func (b Box) pixels() image.Rectangle {
	up := func(v float64) int { return int(math.Ceil(v - 0.5)) }
	return image.Rect(up(b.X0), up(b.Y0), up(b.X1), up(b.Y1))
}

// touched returns the mask's 8-connected pieces in which a foreground point
// lies, or m if there is none.
func (m *Mask) touched(points []Point) (*Mask, error) {
	var on []image.Point
	for _, p := range points {
		at := image.Pt(min(int(p.X), m.size.W-1), min(int(p.Y), m.size.H-1))
		if p.Label == Foreground && m.At(at.X, at.Y) {
			on = append(on, at)
		}
	}
	if len(on) == 0 {
		return m, nil
	}
	pieces, sizes := components(m.Runs())
	keep := make([]bool, len(sizes))
	left := 0
	for _, s := range pieces {
		keep[s.parent] = keep[s.parent] || slices.ContainsFunc(on, func(at image.Point) bool { return at.In(runRect(s.Run)) })
	}
	hull := image.Rectangle{}
	for _, s := range pieces {
		if keep[s.parent] {
			hull = hull.Union(runRect(s.Run))
			left += s.X1 - s.X0
		}
	}
	if left == m.area {
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
