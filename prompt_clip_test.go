package sam_test

import (
	"context"
	"image"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

func TestBoxClip(t *testing.T) {
	s := sam.Size{H: 10, W: 20}
	for _, tt := range []struct {
		in, want sam.Box
		ok       bool
	}{
		{sam.Box{X0: 1, Y0: 2, X1: 3, Y1: 4}, sam.Box{X0: 1, Y0: 2, X1: 3, Y1: 4}, true},
		{sam.Box{X0: -1, Y0: -0.2, X1: 30, Y1: 10.5}, sam.Box{X0: 0, Y0: 0, X1: 20, Y1: 10}, true},
		{sam.Box{X0: 21, Y0: 2, X1: 30, Y1: 4}, sam.Box{}, false},
		{sam.Box{X0: 3, Y0: 2, X1: 1, Y1: 4}, sam.Box{}, false},
		{sam.Box{X0: math.NaN(), Y0: 2, X1: 1, Y1: 4}, sam.Box{}, false},
	} {
		got, ok := tt.in.Clip(s)
		assert.Equal(t, tt.ok, ok)
		assert.Equal(t, tt.want, got)
	}
}

// A list of prompts that is nil means none where it is said to, issue 24.
func TestEverythingPromptsOnly(t *testing.T) {
	m := tinyModel(t, 3)
	e, err := m.Embed(context.Background(), picture())
	require.NoError(t, err)
	for _, o := range []sam.EverythingOptions{{PromptsOnly: true}, {Prompts: []sam.Prompt{}}} {
		rs, err := m.EverythingIn(context.Background(), e, o)
		require.NoError(t, err)
		assert.Empty(t, rs)
	}
	_, err = m.EverythingIn(context.Background(), e, sam.EverythingOptions{PromptsOnly: true, PointsPerSide: 3})
	assert.ErrorContains(t, err, "want one")
}

// A finder's box a little outside the window is clipped and counted; one far
// outside is refused, as Predict refuses both.
func TestFinderPromptsAtTheEdge(t *testing.T) {
	m := tinyModel(t, 3)
	slide := sam.SlideFromImage(picture(), 0.5)
	finder := func(over float64) sam.SegmentOptions {
		return sam.SegmentOptions{AllTiles: true, FindName: "edge", Find: func(_ context.Context, img *image.RGBA, _ float64) ([]sam.Prompt, error) {
			return []sam.Prompt{{Box: &sam.Box{X0: -over, Y0: 3, X1: 30, Y1: 30}}}, nil
		}}
	}
	r, err := m.SegmentSlide(context.Background(), slide, t.TempDir(), finder(0.2))
	require.NoError(t, err)
	assert.Positive(t, r.Tally.Clipped)
	_, err = m.SegmentSlide(context.Background(), slide, t.TempDir(), finder(5))
	assert.ErrorIs(t, err, sam.ErrPrompt)
}
