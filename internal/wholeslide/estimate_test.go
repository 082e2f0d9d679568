package wholeslide_test

import (
	"context"
	"encoding/binary"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/synth"
	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
	"github.com/slidesam/sam/internal/wholeslide"
	"github.com/slidesam/sam/internal/wsi"
)

// TestEstimateMPP estimates by the objective first, then by nuclei, and says so
// if neither tells.
func TestEstimateMPP(t *testing.T) {
	ctx := context.Background()
	page := tifftest.Tiled(tifftest.Gradient(64, 64, 3), 64, 64, 3, 64, 64)
	page.Fields[tiff.ImageDescription] = tifftest.Text("Aperio\r\n64x64|AppMag = 40")
	path := filepath.Join(t.TempDir(), "a.svs")
	require.NoError(t, os.WriteFile(path, tifftest.Builder{Order: binary.LittleEndian}.File(page), 0o600))
	tagged, err := wsi.Open(path, wsi.Options{})
	require.NoError(t, err)
	defer tagged.Close()
	e, err := wholeslide.EstimateMPP(ctx, tagged)
	require.NoError(t, err)
	assert.Equal(t, "0.25 micrometres per pixel by its objective, between 0.22 and 0.29 in nine of ten slides", e.String())

	// A section in a corner of much glass: the field is found.
	slide := image.NewRGBA(image.Rect(0, 0, 2000, 1700))
	for i := range slide.Pix {
		slide.Pix[i] = 243
		if i%4 == 3 {
			slide.Pix[i] = 255
		}
	}
	section, _ := synth.New(102, synth.Options{Solid: true}).Region(9000, 9000, 420, 400, 0.5)
	for y := range 400 {
		copy(slide.Pix[slide.PixOffset(1400, 1100+y):], section.Pix[section.PixOffset(0, y):][:4*420])
	}
	e, err = wholeslide.EstimateMPP(ctx, wsi.FromImage(slide, 0, 0))
	require.NoError(t, err)
	assert.Equal(t, "nuclei", e.By)
	assert.InDelta(t, 0.5, e.MPP, 0.15)
	assert.Less(t, e.Low, e.MPP)
	assert.Greater(t, e.High, e.MPP)
	again, err := wholeslide.EstimateMPP(ctx, wsi.FromImage(slide, 0, 0))
	require.NoError(t, err)
	assert.Equal(t, e, again)

	for i := range slide.Pix {
		slide.Pix[i] = 243
	}
	_, err = wholeslide.EstimateMPP(ctx, wsi.FromImage(slide, 0, 0))
	require.ErrorIs(t, err, wsi.ErrNoMPP)
}
