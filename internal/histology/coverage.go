package histology

import (
	"image"

	"github.com/slidesam/sam/internal/mask"
)

// Coverage answers whether a rectangle of the slide meets a mask, by sums
// over rectangles.
type Coverage struct {
	size mask.Size
	sums []int32 // [H+1, W+1]
}

// NewCoverage returns the coverage of a mask.
func NewCoverage(m *mask.Mask) *Coverage {
	s := m.Size()
	c := &Coverage{s, make([]int32, (s.H+1)*(s.W+1))}
	for y := range s.H {
		row := int32(0)
		for x := range s.W {
			if m.At(x, y) {
				row++
			}
			c.sums[(y+1)*(s.W+1)+x+1] = c.sums[y*(s.W+1)+x+1] + row
		}
	}
	return c
}

// Any reports whether r, of a slide of w x h, meets the mask.
func (c *Coverage) Any(r image.Rectangle, w, h int) bool {
	fx, fy := float64(c.size.W)/float64(w), float64(c.size.H)/float64(h)
	x0, y0 := int(float64(r.Min.X)*fx), int(float64(r.Min.Y)*fy)
	x1, y1 := min(int(float64(r.Max.X)*fx)+1, c.size.W), min(int(float64(r.Max.Y)*fy)+1, c.size.H)
	n := c.size.W + 1
	return c.sums[y1*n+x1]-c.sums[y0*n+x1]-c.sums[y1*n+x0]+c.sums[y0*n+x0] > 0
}
