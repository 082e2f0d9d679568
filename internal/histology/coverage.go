package histology

import (
	"image"

	"github.com/slidesam/sam/internal/mask"
)

// Coverage answers whether a rectangle of the slide meets a mask, by sums
// over rectangles.
type Coverage struct {
	size mask.Size
	sums sums[int32]
}

// NewCoverage returns the coverage of a mask.
func NewCoverage(m *mask.Mask) *Coverage {
	s := m.Size()
	return &Coverage{s, newSums(s.W, s.H, func(x, y int) int32 {
		if m.At(x, y) {
			return 1
		}
		return 0
	})}
}

// Any reports whether r, of a slide of w x h, meets the mask.
func (c *Coverage) Any(r image.Rectangle, w, h int) bool {
	fx, fy := float64(c.size.W)/float64(w), float64(c.size.H)/float64(h)
	x0, y0 := int(float64(r.Min.X)*fx), int(float64(r.Min.Y)*fy)
	x1, y1 := min(int(float64(r.Max.X)*fx)+1, c.size.W), min(int(float64(r.Max.Y)*fy)+1, c.size.H)
	return c.sums.in(x0, y0, x1, y1) > 0
}
