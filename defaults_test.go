package sam_test

import (
	"context"
	"image"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

func TestDefaults(t *testing.T) {
	b, err := sam.Bundled()
	require.NoError(t, err)
	assert.Equal(t, sam.Defaults{MPP: 0.25, PredIoUThresh: 0.6, StabilityScoreThresh: 0.4}, b.Defaults())
	assert.Equal(t, b.Defaults(), b.Mirrored().Defaults())

	// A file of the same weights is the same model.
	ck, err := bundled.Checkpoint()
	require.NoError(t, err)
	defer ck.Close()
	path := filepath.Join(t.TempDir(), "copy.safetensors")
	require.NoError(t, ck.Save(t.Context(), path, weights.ConvertOptions{}))
	m, err := sam.Load(path)
	require.NoError(t, err)
	assert.Equal(t, b.Defaults(), m.Defaults())
}

// TestDefaultsFindNuclei: with the bundled model zero options find what is
// there, on a real slide.
func TestDefaultsFindNuclei(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes seconds")
	}
	data := os.Getenv("SAM_TESTDATA")
	if data == "" {
		t.Skip("set SAM_TESTDATA to a folder of real slides")
	}
	s, err := sam.OpenSlide(filepath.Join(data, "slides", "cmu-1-small-region.svs"))
	require.NoError(t, err)
	defer s.Close()
	m, err := sam.Bundled()
	require.NoError(t, err)
	ctx := context.Background()
	region := image.Rect(700, 1000, 1300, 1600)
	for name, o := range map[string]sam.SegmentOptions{
		"region alone": {Region: region}, "nuclei": {Region: region, Find: sam.FindNuclei, FindName: "nuclei"},
	} {
		t.Run(name, func(t *testing.T) {
			res, err := m.SegmentSlide(ctx, s, t.TempDir(), o)
			require.NoError(t, err)
			t.Log(res.Describe(), res.Hint())
			assert.Greater(t, res.Objects, 50)
			assert.Equal(t, res.Tally.Masks-res.Tally.LowIoU-res.Tally.LowStability-res.Tally.Edge-res.Tally.Size-res.Tally.Duplicates, res.Tally.Seen)
		})
	}
	pic, err := s.ReadAt(ctx, 0.25, image.Rect(1400, 2000, 2200, 2800))
	require.NoError(t, err)
	rs, err := m.Everything(ctx, pic, sam.EverythingOptions{})
	require.NoError(t, err)
	assert.Greater(t, len(rs), 50)
}
