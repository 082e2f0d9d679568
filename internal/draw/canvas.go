// Package draw draws masks and prompts over pictures, for people to look at.
//
// Coordinates are pixels of the picture from its top left corner, x right,
// y down, (0, 0) the corner of the first pixel. Colours are safe for the
// common kinds of colour blindness, and every line and marker has a dark rim,
// so that it can be seen on pale stroma and on dark nuclei alike.
//
//	c, err := draw.New(img)
//	c.Fill(mask, draw.Color(0), 0.35)
//	c.Outline(mask, draw.Color(0), 2)
//	c.Box(4, 4, 16, 13, draw.Color(2), 1)
//	err = png.Encode(w, c.Image())
//
// The package's example is checked.
package draw

import (
	"image"
	"image/color"
	"math"

	"github.com/slidesam/sam/internal/picture"
)

// Mask is a set of pixels.
type Mask interface {
	At(x, y int) bool
	// Bounds holds all pixels of the set.
	Bounds() image.Rectangle
}

// palette holds the colours of Okabe and Ito (2008) but black and the reddish
// purple, which is that of H&E.
var palette = []color.NRGBA{
	{240, 228, 66, 255}, // yellow
	{0, 158, 115, 255},  // bluish green
	{86, 180, 233, 255}, // sky blue
	{230, 159, 0, 255},  // orange
	{0, 114, 178, 255},  // blue
	{213, 94, 0, 255},   // vermillion
}

// The colours of prompts.
var (
	foreground = color.NRGBA{0, 158, 115, 255}
	background = color.NRGBA{213, 94, 0, 255}
	rim        = color.NRGBA{0, 0, 0, 255}
)

// rimAlpha is how much of the picture a rim hides.
const rimAlpha = 0.5

// Color returns the colour of object i; there are six, then they repeat.
func Color(i int) color.NRGBA {
	n := len(palette)
	return palette[(i%n+n)%n]
}

// Canvas is a picture to draw on.
type Canvas struct {
	img   *image.NRGBA
	marks []uint8 // of each pixel, for Ring; nil before it
}

// New returns a Canvas with a copy of img, whose alpha is dropped. It returns
// an error if img is nil or empty.
func New(img image.Image) (*Canvas, error) {
	p, err := picture.New(img)
	if err != nil {
		return nil, err
	}
	size := p.Bounds()
	c := &Canvas{img: image.NewNRGBA(image.Rect(0, 0, size.W, size.H))}
	buf := make([]byte, size.W*3)
	for y := range size.H {
		row := c.img.Pix[y*c.img.Stride:]
		for x, src := 0, p.Row(y, buf); x < size.W; x++ {
			copy(row[4*x:4*x+3], src[3*x:3*x+3])
			row[4*x+3] = 255
		}
	}
	return c, nil
}

// Image returns the picture. It is the canvas's own: later drawing changes it.
func (c *Canvas) Image() *image.NRGBA { return c.img }

// blend puts col over the pixel; alpha 1 hides it. Pixels outside the picture
// are left alone.
func (c *Canvas) blend(x, y int, col color.NRGBA, alpha float64) {
	if !(image.Point{X: x, Y: y}).In(c.img.Rect) || !(alpha > 0) {
		return
	}
	a := uint32(math.Min(alpha, 1)*256 + 0.5)
	p := c.img.Pix[c.img.PixOffset(x, y):]
	for i, v := range [3]uint8{col.R, col.G, col.B} {
		p[i] = uint8((uint32(p[i])*(256-a) + uint32(v)*a + 128) >> 8)
	}
}

// Fill tints the mask's pixels; alpha is in 0 to 1.
func (c *Canvas) Fill(m Mask, col color.NRGBA, alpha float64) {
	b := m.Bounds().Intersect(c.img.Rect)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if m.At(x, y) {
				c.blend(x, y, col, alpha)
			}
		}
	}
}

// Outline draws the mask's border: those of its pixels that are fewer than
// width+1 steps from the outside, with a thin dark rim around them. Nothing of
// the border lies outside the mask, so that outlines of neighbours stay apart.
func (c *Canvas) Outline(m Mask, col color.NRGBA, width int) {
	b := m.Bounds().Inset(-1).Intersect(c.img.Rect)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			in := m.At(x, y)
			switch {
			case in && nearby(m, x, y, width, false):
				c.blend(x, y, col, 1)
			case !in && nearby(m, x, y, 1, true):
				c.blend(x, y, rim, rimAlpha)
			}
		}
	}
}

// nearby reports whether a pixel at most steps away, counted along rows and
// columns, is in the mask, or, if in is false, out of it.
func nearby(m Mask, x, y, steps int, in bool) bool {
	for dy := -steps; dy <= steps; dy++ {
		w := steps - max(dy, -dy)
		for dx := -w; dx <= w; dx++ {
			if m.At(x+dx, y+dy) == in {
				return true
			}
		}
	}
	return false
}
