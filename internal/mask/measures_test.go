package mask_test

import (
	"image"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/mask"
)

func TestPerimeter(t *testing.T) {
	size := mask.Size{H: 300, W: 300}
	of := func(in func(x, y float64) bool) *mask.Mask {
		m, err := mask.New(size, func(x, y int) bool { return in(float64(x)+0.5, float64(y)+0.5) })
		require.NoError(t, err)
		return m
	}
	for _, r := range []float64{6, 12.3, 40, 100} {
		disc := of(func(x, y float64) bool { return math.Hypot(x-150.2, y-149.7) <= r })
		assert.InEpsilon(t, 2*math.Pi*r, disc.Perimeter(), 0.05, "radius %g", r)
		assert.Greater(t, disc.Circularity(), 0.93)
		assert.LessOrEqual(t, disc.Circularity(), 1.0)
	}
	ring := of(func(x, y float64) bool { d := math.Hypot(x-150, y-150); return d <= 100 && d > 50 })
	assert.InEpsilon(t, 2*math.Pi*150, ring.Perimeter(), 0.03, "a hole has an outline, too")
	long := of(func(x, y float64) bool { return x < 100 && y < 4 })
	assert.Less(t, long.Circularity(), 0.2)
	empty := of(func(x, y float64) bool { return false })
	assert.Zero(t, empty.Perimeter())
	assert.True(t, math.IsNaN(empty.Circularity()))

	// Crossings counted pixel by pixel, words and edges of the picture aside.
	r := rand.New(rand.NewPCG(3, 4))
	m := of(func(x, y float64) bool { return r.Float64() < 0.6 })
	want := 0.0
	for _, d := range []struct {
		by     image.Point
		weight float64
	}{{image.Pt(-1, 0), 1}, {image.Pt(0, -1), 1}, {image.Pt(-1, -1), math.Sqrt2 / 2}, {image.Pt(1, -1), math.Sqrt2 / 2}} {
		for y := range size.H {
			for x := range size.W {
				if m.At(x, y) && !m.At(x+d.by.X, y+d.by.Y) {
					want += math.Pi / 4 * d.weight
				}
			}
		}
	}
	assert.InEpsilon(t, want, m.Perimeter(), 1e-9)
}
