package pointgrid_test

import (
	"image"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/slidesam/sam/internal/pointgrid"
)

func TestEven(t *testing.T) {
	assert.Equal(t, []pointgrid.Point{{X: 0.25, Y: 0.25}, {X: 0.75, Y: 0.25}, {X: 0.25, Y: 0.75}, {X: 0.75, Y: 0.75}}, pointgrid.Even(2))
	assert.Equal(t, []pointgrid.Point{{X: 0.5, Y: 0.5}}, pointgrid.Even(1))
}

// TestCrops has what generate_crop_boxes((30, 50), 1, 0.5) returns.
func TestCrops(t *testing.T) {
	var got []image.Rectangle
	for _, c := range pointgrid.Crops(50, 30, 1, 0.5) {
		got = append(got, c.Rect)
	}
	assert.Equal(t, []image.Rectangle{
		image.Rect(0, 0, 50, 30), image.Rect(0, 0, 33, 23), image.Rect(0, 8, 33, 30), image.Rect(18, 0, 50, 23), image.Rect(18, 8, 50, 30),
	}, got)
}

// TestTile: each point of a slide's grid is in one tile, and where tiles and
// crops look from does not move it.
func TestTile(t *testing.T) {
	seen := map[pointgrid.Point]int{}
	for _, core := range []image.Rectangle{image.Rect(0, 0, 33, 40), image.Rect(33, 0, 70, 40)} {
		tile := pointgrid.Tile{Window: core.Inset(-5), Core: core}
		whole := image.Rect(0, 0, tile.Window.Dx(), tile.Window.Dy())
		for _, p := range tile.Points(whole, 6, 7) {
			assert.True(t, tile.Owns(whole, p.X, p.Y))
			seen[pointgrid.Point{X: p.X + float64(tile.Window.Min.X), Y: p.Y + float64(tile.Window.Min.Y)}]++
		}
		assert.False(t, tile.Owns(whole, 2, 20), "the window's margin is another tile's")
	}
	assert.Len(t, seen, 12*6) // of spacing 6 up to 70, of 7 up to 40
	for p, n := range seen {
		assert.Equal(t, 1, n, p)
	}
}
