package sam_test

import (
	"context"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/synth"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

func TestDefaults(t *testing.T) {
	b, err := sam.Bundled()
	require.NoError(t, err)
	assert.Equal(t, sam.Defaults{MPP: 0.25, PredIoUThresh: 0.56, StabilityScoreThresh: 0.4}, b.Defaults())
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

// TestDefaultsSaved: a file's own defaults count, but not for weights of
// another architecture.
func TestDefaultsSaved(t *testing.T) {
	ck, err := bundled.Checkpoint()
	require.NoError(t, err)
	defer ck.Close()
	tuned, err := sam.FineTune(t.Context(), ck, sixDisks(t), sam.FineTuneOptions{Steps: 1, Objects: 1, Corrections: -1, Turns: 1, HeldBack: -1})
	require.NoError(t, err)
	saved, err := tuned.Checkpoint()
	require.NoError(t, err)
	entries := saved.Metadata()
	require.Contains(t, entries, "slidesam.defaults")
	dir := t.TempDir()
	load := func(ck *weights.Checkpoint, entry string) (*sam.Model, error) {
		noted, err := ck.WithMetadata(map[string]string{"slidesam.defaults": entry})
		require.NoError(t, err)
		path := filepath.Join(dir, "x.npz")
		require.NoError(t, noted.Save(t.Context(), path, weights.ConvertOptions{}))
		return sam.Load(path)
	}
	entry := entries["slidesam.defaults"]
	m, err := load(saved, strings.Replace(entry, `"MPP":0.25`, `"MPP":0.5`, 1))
	require.NoError(t, err)
	assert.Equal(t, sam.Defaults{MPP: 0.5, PredIoUThresh: 0.56, StabilityScoreThresh: 0.4}, m.Defaults())

	for _, tt := range []struct{ name, entry, want string }{
		{"no JSON", "{", "metadata slidesam.defaults: "},
		{"a resolution of nothing", strings.Replace(entry, `"MPP":0.25`, `"MPP":-1`, 1), "mean nothing"},
		{"a threshold no mask reaches", strings.Replace(entry, `"PredIoUThresh":0.56`, `"PredIoUThresh":6`, 1), "mean nothing"},
		{"another architecture", strings.Replace(entry, `"Architecture":"`, `"Architecture":"x`, 1), "are for another architecture"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			require.NotEqual(t, entry, tt.entry)
			_, err := load(saved, tt.entry)
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "x.npz")
		})
	}
}

// TestEnlargedThresholds: the coarser a slide that is enlarged, the lower the
// least scores, up to 1 micrometre per pixel. Issue 25.
func TestEnlargedThresholds(t *testing.T) {
	m, err := sam.Bundled()
	require.NoError(t, err)
	pic, _ := synth.New(102, synth.Options{Solid: true}).Region(9000, 9000, 128, 128, 1)
	for own, least := range map[float64][2]float64{0.35: {0.5, 0.05}, 0.5: {0.5, 0.05}, 1: {0.4, 0.1}, 1.6: {0.4, 0.1}} {
		s := sam.SlideFromImage(pic, own)
		o := sam.SegmentOptions{AllTiles: true, Find: sam.FindNuclei, FindName: "nuclei", Sharpen: true}
		dir := t.TempDir()
		open, err := m.SegmentSlide(t.Context(), s, dir, o)
		require.NoError(t, err)
		o.Everything.PredIoUThresh = least[0]
		o.Everything.StabilityScoreThresh = m.Defaults().StabilityScoreThresh - least[1]
		given, err := m.SegmentSlide(t.Context(), s, dir, o)
		require.NoError(t, err, "the same run")
		assert.Equal(t, open.Tally, given.Tally, "%g", own)
	}
}

// TestEnlarged: a slide that is enlarged has a threshold of its own, and being
// sharpened is part of what a run is known by.
func TestEnlarged(t *testing.T) {
	m, err := sam.Bundled()
	require.NoError(t, err)
	ctx := context.Background()
	pic, _ := synth.New(102, synth.Options{Solid: true}).Region(9000, 9000, 160, 160, 0.5)
	s := sam.SlideFromImage(pic, 0.5)
	o := sam.SegmentOptions{AllTiles: true, Find: sam.FindNuclei, FindName: "nuclei", Sharpen: true}
	open, err := m.SegmentSlide(ctx, s, t.TempDir(), o)
	require.NoError(t, err)
	dir := t.TempDir()
	o.Everything.PredIoUThresh = 0.5
	o.Everything.StabilityScoreThresh = m.Defaults().StabilityScoreThresh - 0.05
	given, err := m.SegmentSlide(ctx, s, dir, o)
	require.NoError(t, err)
	assert.Equal(t, given.Tally, open.Tally)
	o.Sharpen = false
	_, err = m.SegmentSlide(ctx, s, dir, o)
	require.ErrorIs(t, err, sam.ErrOtherRun)
	blurred, err := m.SegmentSlide(ctx, s, t.TempDir(), o)
	require.NoError(t, err)
	assert.NotEqual(t, open.Tally, blurred.Tally, "the model saw another picture")
	// At the slide's own resolution nothing is enlarged.
	o.Everything.PredIoUThresh, o.MPP = 0, 0.5
	own, err := m.SegmentSlide(ctx, s, dir+"/own", o)
	require.NoError(t, err)
	o.Sharpen, o.Everything.PredIoUThresh = true, m.Defaults().PredIoUThresh
	same, err := m.SegmentSlide(ctx, s, t.TempDir(), o)
	require.NoError(t, err)
	assert.Equal(t, own.Tally, same.Tally)
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
