package histology_test

import (
	"image"
	"image/color"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/mask"
)

// TestMeanStain mixes known amounts of both stains and finds them again.
func TestMeanStain(t *testing.T) {
	unit := func(v [3]float64) [3]float64 {
		n := math.Hypot(math.Hypot(v[0], v[1]), v[2])
		return [3]float64{v[0] / n, v[1] / n, v[2] / n}
	}
	h, e := unit([3]float64{0.650, 0.704, 0.286}), unit([3]float64{0.072, 0.990, 0.105})
	img := image.NewRGBA(image.Rect(0, 0, 40, 10))
	amounts := [][2]float64{{0, 0}, {0.6, 0}, {0, 0.4}, {0.5, 0.3}}
	for y := range 10 {
		for x := range 40 {
			a := amounts[x/10]
			var c [3]uint8
			for i := range c {
				c[i] = uint8(math.Round(256*math.Pow(10, -a[0]*h[i]-a[1]*e[i]) - 1))
			}
			img.SetRGBA(x, y, color.RGBA{c[0], c[1], c[2], 255})
		}
	}
	for k, want := range amounts {
		m, err := mask.New(mask.Size{H: 10, W: 40}, func(x, y int) bool { return x/10 == k && y > 2 })
		require.NoError(t, err)
		got := histology.MeanStain(img, m)
		assert.InDelta(t, want[0], got.Haematoxylin, 0.01)
		assert.InDelta(t, want[1], got.Eosin, 0.01)
	}
	both, err := mask.New(mask.Size{H: 10, W: 40}, func(x, y int) bool { return x < 20 })
	require.NoError(t, err)
	assert.InDelta(t, 0.3, histology.MeanStain(img, both).Haematoxylin, 0.01, "the mean")
	assert.Equal(t, histology.Stain{}, histology.MeanStain(img, nil))
}
