package draw

import (
	"image/color"
	"math"
)

// What a pixel of a canvas was drawn for by Ring.
const (
	markRim  = 1
	markLine = 2
)

// rimSide is the least side of a ring, in pixels, that gets a rim: dots of a
// pixel or two would drown in theirs.
const rimSide = 6

// Ring draws a line one pixel wide through points (x, y), which are closed,
// with a thin dark rim around it. Rims leave the lines of other rings alone.
func Ring[P ~[2]float64](c *Canvas, ring []P, col color.NRGBA) {
	if c.marks == nil {
		c.marks = make([]uint8, c.img.Rect.Dx()*c.img.Rect.Dy())
	}
	lo, hi := [2]float64{math.Inf(1), math.Inf(1)}, [2]float64{math.Inf(-1), math.Inf(-1)}
	var line [][2]int
	for k, p := range ring {
		for i, v := range p {
			lo[i], hi[i] = min(lo[i], v), max(hi[i], v)
		}
		if k == 0 {
			continue
		}
		q := ring[k-1]
		n := int(max(math.Abs(p[0]-q[0]), math.Abs(p[1]-q[1]))) + 1
		for i := range n + 1 {
			t := float64(i) / float64(n)
			x, y := int(math.Floor(q[0]+(p[0]-q[0])*t)), int(math.Floor(q[1]+(p[1]-q[1])*t))
			c.mark(x, y, col, 1, markLine)
			line = append(line, [2]int{x, y})
		}
	}
	if max(hi[0]-lo[0], hi[1]-lo[1]) < rimSide {
		return
	}
	for _, p := range line {
		for _, d := range [4][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}} {
			c.mark(p[0]+d[0], p[1]+d[1], rim, rimAlpha, markRim)
		}
	}
}

// mark blends the pixel unless it was drawn for something of the same or a
// higher rank.
func (c *Canvas) mark(x, y int, col color.NRGBA, alpha float64, rank uint8) {
	if x < 0 || y < 0 || x >= c.img.Rect.Dx() || y >= c.img.Rect.Dy() {
		return
	}
	if m := &c.marks[y*c.img.Rect.Dx()+x]; *m < rank || rank == markLine {
		*m = rank
		c.blend(x, y, col, alpha)
	}
}
