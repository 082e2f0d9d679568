package sam_test

import (
	"context"
	"errors"
	"image"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

// TestMergeNowhere: merging a folder that holds no run, mistyped perhaps,
// changes nothing.
func TestMergeNowhere(t *testing.T) {
	ctx, s := context.Background(), sam.SlideFromImage(image.NewRGBA(image.Rect(0, 0, 300, 300)), 0)
	o := sam.SegmentOptions{AllTiles: true}
	dir := filepath.Join(t.TempDir(), "mistyped")
	_, err := sam.MergeSlide(ctx, s, dir, finder(findColours), o)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "mistyped holds no run")
	assert.NoDirExists(t, dir)

	empty := t.TempDir()
	_, err = sam.MergeSlide(ctx, s, empty, finder(findColours), o)
	require.ErrorIs(t, err, os.ErrNotExist)
	left, err := os.ReadDir(empty)
	require.NoError(t, err)
	assert.Empty(t, left)
}

// slowSource counts the reads that are under way.
type slowSource struct{ reading *atomic.Int32 }

func (slowSource) Levels() []sam.SlideLevel {
	return []sam.SlideLevel{{W: 2000, H: 300, TileW: 256, TileH: 256, Downsample: 1}}
}

func (s slowSource) ReadRegion(_ context.Context, _ int, _ image.Point, _ *image.RGBA) error {
	s.reading.Add(1)
	defer s.reading.Add(-1)
	time.Sleep(50 * time.Millisecond)
	return nil
}

// TestNoReadAfterError: a caller may close the slide when SegmentSlide has
// returned, also with an error.
func TestNoReadAfterError(t *testing.T) {
	var reading atomic.Int32
	s, err := sam.NewSlide(slowSource{&reading}, 0)
	require.NoError(t, err)
	asleep := errors.New("the model fell asleep")
	for range 5 {
		_, err = segmentWith(context.Background(), s, t.TempDir(), sam.SegmentOptions{AllTiles: true, Tile: 256}, func(context.Context, *image.RGBA, []sam.Point) ([]sam.Region, error) {
			return nil, asleep
		})
		require.ErrorIs(t, err, asleep)
		assert.Zero(t, reading.Load())
	}
}
