package histology_test

import (
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/slidesam/sam/internal/histology"
)

// TestSharpen sharpens a ramp between two greys: its ends move apart, what lies
// far from it stays, and nothing wraps round at black and white.
func TestSharpen(t *testing.T) {
	draw := func(dark, light int) *image.RGBA {
		img := image.NewRGBA(image.Rect(0, 0, 60, 7))
		for y := range 7 {
			for x := range 60 {
				v := uint8(dark + (light-dark)*min(max(x-27, 0), 6)/6) // from x = 27 to 33
				img.SetRGBA(x, y, color.RGBA{v, v, 100, 255})
			}
		}
		return img
	}
	img, was := draw(80, 170), draw(80, 170)
	histology.Sharpen(img, 2)
	assert.Equal(t, was.RGBAAt(3, 3), img.RGBAAt(3, 3))
	assert.Equal(t, was.RGBAAt(56, 3), img.RGBAAt(56, 3))
	assert.Less(t, img.RGBAAt(28, 3).R, was.RGBAAt(28, 3).R-5)
	assert.Greater(t, img.RGBAAt(32, 3).G, was.RGBAAt(32, 3).G+5)
	assert.Equal(t, color.RGBA{img.RGBAAt(30, 3).R, img.RGBAAt(30, 3).R, 100, 255}, img.RGBAAt(30, 3), "channels by themselves")

	img = draw(0, 255)
	histology.Sharpen(img, 2)
	for x := range 60 {
		if x < 27 {
			assert.Zero(t, img.RGBAAt(x, 3).R, x)
		} else if x > 33 {
			assert.EqualValues(t, 255, img.RGBAAt(x, 3).R, x)
		}
	}
}
