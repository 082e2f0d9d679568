package sam

import (
	"image"
	"math"

	"github.com/slidesam/sam/internal/mask"
)

// on returns the part of a mask that the prompt is on, see
// [PredictOptions.Local].
func on(m *mask.Mask, p Prompt) (*mask.Mask, error) {
	if p.Box != nil {
		var err error
		if m, err = m.Clip(p.Box.pixels()); err != nil {
			return nil, err
		}
	}
	var pixels []image.Point
	for _, q := range p.Points {
		if q.Label == Foreground {
			// The picture's far edges are places of points, but not of pixels.
			pixels = append(pixels, image.Pt(min(int(q.X), m.Size().W-1), min(int(q.Y), m.Size().H-1)))
		}
	}
	return m.Touching(pixels)
}

// pixels are those whose middle lies in the box: X0 <= x+0.5 < X1.
func (b Box) pixels() image.Rectangle {
	up := func(v float64) int { return int(math.Ceil(v - 0.5)) }
	return image.Rect(up(b.X0), up(b.Y0), up(b.X1), up(b.Y1))
}
