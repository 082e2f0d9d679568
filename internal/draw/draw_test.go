package draw_test

import (
	"fmt"
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/draw"
)

// square is the set of pixels of a rectangle.
type square image.Rectangle

func (s square) At(x, y int) bool        { return image.Pt(x, y).In(image.Rectangle(s)) }
func (s square) Bounds() image.Rectangle { return image.Rectangle(s) }

var (
	grey = color.NRGBA{100, 100, 100, 255}
	red  = color.NRGBA{255, 0, 0, 255}
	dark = color.NRGBA{50, 50, 50, 255} // the rim over grey
)

func canvas(t *testing.T, w, h int) *draw.Canvas {
	img := image.NewNRGBA(image.Rect(7, 7, 7+w, 7+h))
	for i := range img.Pix {
		img.Pix[i] = 100
	}
	c, err := draw.New(img)
	require.NoError(t, err)
	require.Equal(t, image.Rect(0, 0, w, h), c.Image().Rect)
	return c
}

// show writes each pixel as one letter.
func show(c *draw.Canvas, letters map[color.NRGBA]rune) []string {
	var out []string
	b := c.Image().Rect
	for y := range b.Dy() {
		line := ""
		for x := range b.Dx() {
			r, ok := letters[c.Image().NRGBAAt(x, y)]
			if !ok {
				r = '?'
			}
			line += string(r)
		}
		out = append(out, line)
	}
	return out
}

var letters = map[color.NRGBA]rune{grey: '.', red: '#', dark: ':'}

func TestFill(t *testing.T) {
	c := canvas(t, 4, 3)
	c.Fill(square(image.Rect(1, 1, 9, 9)), red, 0.5)
	assert.Equal(t, grey, c.Image().NRGBAAt(0, 0))
	assert.Equal(t, color.NRGBA{178, 50, 50, 255}, c.Image().NRGBAAt(3, 2))
	c.Fill(square(image.Rect(0, 0, 1, 1)), red, 7)
	assert.Equal(t, red, c.Image().NRGBAAt(0, 0))
	c.Fill(square(image.Rect(1, 0, 2, 1)), red, math.NaN())
	assert.Equal(t, grey, c.Image().NRGBAAt(1, 0))
}

func TestOutline(t *testing.T) {
	c := canvas(t, 9, 8)
	c.Outline(square(image.Rect(2, 2, 7, 6)), red, 1)
	assert.Equal(t, []string{
		".........",
		"..:::::..",
		".:#####:.",
		".:#...#:.",
		".:#...#:.",
		".:#####:.",
		"..:::::..",
		".........",
	}, show(c, letters))

	c = canvas(t, 6, 5)
	c.Outline(square(image.Rect(-3, -3, 5, 4)), red, 2)
	assert.Equal(t, []string{
		"...##:",
		"...##:",
		"#####:",
		"#####:",
		":::::.",
	}, show(c, letters), "the picture's edge is no border")
}

func TestBox(t *testing.T) {
	c := canvas(t, 10, 8)
	c.Box(6.8, 4.6, 3.2, 3.4, red, 1) // columns 3 to 6, rows 3 and 4
	assert.Equal(t, []string{
		"..........",
		".::::::::.",
		".:######:.",
		".:#::::#:.",
		".:#::::#:.",
		".:######:.",
		".::::::::.",
		"..........",
	}, show(c, letters))
}

func TestBoxesAndPointsOutside(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	c := canvas(t, 10, 8)
	for _, v := range []float64{nan, inf, -inf} {
		c.Box(v, 1, 4, 4, red, 1)
		c.Box(1, 1, 4, v, red, 1)
		c.Point(v, 2, true)
		c.Point(2, v, false)
	}
	c.Box(-1e300, -1e300, 1e300, 1e300, red, 3)
	c.Box(20, 20, 40, 40, red, 2)
	c.Point(1e300, 3, true)
	c.Point(-50, 3, true)
	for _, line := range show(c, letters) {
		assert.Equal(t, "..........", line)
	}
	c.Point(-3, 4, true) // its right half can be seen
	assert.NotEqual(t, grey, c.Image().NRGBAAt(0, 4))
	c.Box(2, 2, 2, 2, red, 1) // a box without area is a dot
	assert.Equal(t, red, c.Image().NRGBAAt(2, 2))
}

func TestPointsDiffer(t *testing.T) {
	plus, minus := canvas(t, 21, 21), canvas(t, 21, 21)
	plus.Point(10.5, 10.5, true)
	minus.Point(10.5, 10.5, false)
	white := color.NRGBA{255, 255, 255, 255}
	for _, c := range []*draw.Canvas{plus, minus} {
		assert.Equal(t, white, c.Image().NRGBAAt(8, 10), "bar")
		assert.Equal(t, white, c.Image().NRGBAAt(10, 4), "ring")
		assert.Equal(t, grey, c.Image().NRGBAAt(1, 10))
	}
	assert.Equal(t, white, plus.Image().NRGBAAt(10, 8))
	assert.NotEqual(t, white, minus.Image().NRGBAAt(10, 8))
	assert.NotEqual(t, plus.Image().NRGBAAt(8, 8), minus.Image().NRGBAAt(8, 8))
}

func TestColorsRepeat(t *testing.T) {
	seen := map[color.NRGBA]bool{}
	for i := range 6 {
		seen[draw.Color(i)] = true
		assert.Equal(t, draw.Color(i), draw.Color(i+6))
		assert.Equal(t, draw.Color(i), draw.Color(i-6))
	}
	assert.Len(t, seen, 6)
}

func TestNewRefuses(t *testing.T) {
	_, err := draw.New(nil)
	assert.Error(t, err)
	_, err = draw.New(image.NewRGBA(image.Rectangle{}))
	assert.Error(t, err)
}

func BenchmarkOutline(b *testing.B) {
	c, err := draw.New(image.NewNRGBA(image.Rect(0, 0, 1000, 1000)))
	require.NoError(b, err)
	m := square(image.Rect(100, 100, 900, 900))
	b.ReportAllocs()
	for b.Loop() {
		c.Outline(m, red, 2)
	}
}

func Example() {
	img := image.NewGray(image.Rect(0, 0, 30, 20))
	c, err := draw.New(img)
	if err != nil {
		fmt.Println(err)
		return
	}
	nucleus := square(image.Rect(5, 5, 15, 12))
	c.Fill(nucleus, draw.Color(0), 0.5)
	c.Outline(nucleus, draw.Color(0), 1)
	c.Box(4, 4, 16, 13, draw.Color(2), 1)
	fmt.Println(c.Image().Rect, c.Image().NRGBAAt(5, 5), c.Image().NRGBAAt(10, 8))
	// Output: (0,0)-(30,20) {240 228 66 255} {120 114 33 255}
}

func TestRing(t *testing.T) {
	green := color.NRGBA{0, 255, 0, 255}
	plain := image.NewGray(image.Rect(0, 0, 30, 20))
	for i := range plain.Pix {
		plain.Pix[i] = 200
	}
	c, err := draw.New(plain)
	require.NoError(t, err)
	ring := func(x0, y0, x1, y1 float64) [][2]float64 {
		return [][2]float64{{x0, y0}, {x1, y0}, {x1, y1}, {x0, y1}, {x0, y0}}
	}
	draw.Ring(c, ring(4, 4, 14, 12), red)
	draw.Ring(c, ring(13, 4, 24, 12), green)
	draw.Ring(c, ring(26, 16, 28, 18), red)   // small: no rim
	draw.Ring(c, ring(-9, -9, 40, 40), green) // outside
	for _, tt := range []struct {
		x, y int
		want color.NRGBA
	}{
		{4, 8, red}, {9, 4, red}, {24, 8, green}, {3, 8, color.NRGBA{100, 100, 100, 255}}, {9, 13, color.NRGBA{100, 100, 100, 255}},
		{9, 8, color.NRGBA{200, 200, 200, 255}}, {14, 8, red}, // the neighbour's rim leaves the line alone
		{13, 8, green}, {26, 17, red}, {25, 17, color.NRGBA{200, 200, 200, 255}},
	} {
		assert.Equal(t, tt.want, c.Image().NRGBAAt(tt.x, tt.y), "(%d, %d)", tt.x, tt.y)
	}
}
