package wsi_test

import (
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/wsi"
)

// TestThumbnailOf compares parts of a thumbnail with the whole one: the same
// pixels where they are reduced as much, and the slide's own where they are not.
func TestThumbnailOf(t *testing.T) {
	img := image.NewRGBA(image.Rect(0, 0, 400, 300))
	for y := range 300 {
		for x := range 400 {
			img.SetRGBA(x, y, color.RGBA{uint8(x), uint8(y), uint8(x * y / 400), 255})
		}
	}
	s := wsi.FromImage(img, 0.25, 0.25)
	ctx := t.Context()
	whole, err := s.Thumbnail(ctx, 100) // a quarter
	require.NoError(t, err)
	part, at, f, err := s.ThumbnailOf(ctx, image.Rect(40, 80, 240, 200), 50)
	require.NoError(t, err)
	assert.Equal(t, []any{4.0, image.Pt(10, 20), image.Pt(50, 30)}, []any{f, at, part.Rect.Size()})
	for y := range 30 {
		for x := range 50 {
			require.Equal(t, whole.RGBAAt(x+10, y+20), part.RGBAAt(x, y), "at %d, %d", x, y)
		}
	}
	part, at, f, err = s.ThumbnailOf(ctx, image.Rect(300, 250, 900, 900), 2000)
	require.NoError(t, err)
	assert.Equal(t, []any{1.0, image.Pt(300, 250), image.Pt(100, 50)}, []any{f, at, part.Rect.Size()})
	assert.Equal(t, img.RGBAAt(399, 299), part.RGBAAt(99, 49))
	_, _, _, err = s.ThumbnailOf(ctx, image.Rect(400, 0, 500, 10), 10)
	assert.ErrorContains(t, err, "wsi: thumbnail")
}
