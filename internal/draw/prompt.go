package draw

import (
	"image/color"
	"math"
)

// pointRadius is the radius of a point's disc in pixels.
const pointRadius = 6

// Point draws a point prompt: a green disc with a plus for the foreground, a
// red one with a minus for the background. Points that are not finite or far
// outside are left out.
func (c *Canvas) Point(x, y float64, positive bool) {
	if !c.near(x, y, pointRadius+2) {
		return
	}
	col := background
	if positive {
		col = foreground
	}
	white := color.NRGBA{255, 255, 255, 255}
	c.shape(x, y, pointRadius+2, rim, rimAlpha, func(d, _, _ float64) bool { return d <= pointRadius+1.5 })
	c.shape(x, y, pointRadius+2, white, 1, func(d, _, _ float64) bool { return d <= pointRadius+0.5 })
	c.shape(x, y, pointRadius+2, col, 1, func(d, _, _ float64) bool { return d <= pointRadius-0.75 })
	c.shape(x, y, pointRadius+2, white, 1, func(_, dx, dy float64) bool {
		bar := func(along, across float64) bool {
			return math.Abs(along) <= pointRadius-2.5 && math.Abs(across) <= 0.9
		}
		return bar(dx, dy) || positive && bar(dy, dx)
	})
}

// near reports whether a marker of the given radius touches the picture.
func (c *Canvas) near(x, y, r float64) bool {
	b := c.img.Rect
	return x >= -r && y >= -r && x <= float64(b.Max.X)+r && y <= float64(b.Max.Y)+r
}

// shape blends the pixels of a shape around (x, y), each by the part of it
// that is inside, at 4 by 4 places. inside gets the distance and the offset
// from the centre.
func (c *Canvas) shape(x, y, r float64, col color.NRGBA, alpha float64, inside func(d, dx, dy float64) bool) {
	for py := int(math.Floor(y - r)); float64(py) < y+r; py++ {
		for px := int(math.Floor(x - r)); float64(px) < x+r; px++ {
			n := 0
			for i := range 16 {
				dx := float64(px) + (float64(i%4)+0.5)/4 - x
				dy := float64(py) + (float64(i/4)+0.5)/4 - y
				if inside(math.Hypot(dx, dy), dx, dy) {
					n++
				}
			}
			c.blend(px, py, col, alpha*float64(n)/16)
		}
	}
}

// Box draws a box prompt between two corners: a line of the given width
// around it, so that what it holds can be seen, and a dark rim on either side
// of the line. Boxes that are not finite are left out.
func (c *Canvas) Box(x0, y0, x1, y1 float64, col color.NRGBA, width int) {
	x0, x1 = math.Min(x0, x1), math.Max(x0, x1)
	y0, y1 = math.Min(y0, y1), math.Max(y0, y1)
	b := c.img.Rect
	// Sides beyond the picture are brought near it, where they still draw
	// nothing.
	far := float64(max(width, 0) + 2)
	clamp := func(v float64, end int) int { return int(math.Max(-far, math.Min(math.Round(v), float64(end)+far))) }
	if x0-x0 != 0 || y0-y0 != 0 || x1-x1 != 0 || y1-y1 != 0 {
		return
	}
	l, t, r, d := clamp(x0, b.Max.X), clamp(y0, b.Max.Y), clamp(x1, b.Max.X), clamp(y1, b.Max.Y)
	c.frame(l, t, r, d, rim, rimAlpha)
	for i := 1; i <= width; i++ {
		c.frame(l-i, t-i, r+i, d+i, col, 1)
	}
	i := max(width, 0) + 1
	c.frame(l-i, t-i, r+i, d+i, rim, rimAlpha)
}

// frame draws the outermost pixels of the rectangle [l, r) x [t, b).
func (c *Canvas) frame(l, t, r, b int, col color.NRGBA, alpha float64) {
	if l >= r || t >= b {
		return
	}
	for x := l; x < r; x++ {
		c.blend(x, t, col, alpha)
		if b-1 > t {
			c.blend(x, b-1, col, alpha)
		}
	}
	for y := t + 1; y < b-1; y++ {
		c.blend(l, y, col, alpha)
		if r-1 > l {
			c.blend(r-1, y, col, alpha)
		}
	}
}
