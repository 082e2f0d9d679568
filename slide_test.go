package sam_test

import (
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

var pyramid = filepath.Join("internal", "tiff", "testdata", "pyramid-subifd.tif")

func TestSlide(t *testing.T) {
	s, err := sam.OpenSlideWith(pyramid, sam.SlideOptions{CacheBytes: 1 << 16})
	require.NoError(t, err)
	defer s.Close()
	size := s.Size()
	w, h := size.W, size.H
	x, y := s.MPP()
	assert.Equal(t, []int{83, 61}, []int{w, h})
	assert.InDelta(t, 0.25, x, 1e-9)
	assert.InDelta(t, 0.25, y, 1e-9)
	assert.Len(t, s.Levels(), 3)
	assert.Equal(t, []any{"tiff", 0.0, "", []string(nil)}, []any{s.Format(), s.Objective(), s.Description(), s.AssociatedNames()})
	_, err = s.Associated("label")
	assert.Error(t, err)

	ctx := context.Background()
	img, err := s.ReadAt(ctx, 0.5, image.Rect(0, 0, 41, 30))
	require.NoError(t, err)
	assert.Equal(t, uint8(255), img.RGBAAt(40, 29).A)
	for _, r := range []image.Rectangle{{}, image.Rect(0, 0, 1<<20, 1<<20)} {
		_, err = s.ReadRegion(ctx, 0, r)
		assert.Error(t, err, "%v", r)
	}
	_, err = s.ReadRegion(ctx, 3, image.Rect(0, 0, 4, 4))
	assert.ErrorContains(t, err, "level 3 of 3")

	_, err = sam.OpenSlide("slide_test.go")
	assert.ErrorIs(t, err, sam.ErrSlideFormat)
	_, err = sam.OpenSlide("none.svs")
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// checker is a source without a file.
type checker struct{}

func (checker) Levels() []sam.SlideLevel {
	return []sam.SlideLevel{{W: 1 << 20, H: 1 << 20, Downsample: 1}, {W: 1 << 18, H: 1 << 18, Downsample: 4}}
}

func (checker) ReadRegion(_ context.Context, level int, p image.Point, dst *image.RGBA) error {
	if level == 1 {
		return errors.New("level 1 is asleep")
	}
	for y := range dst.Rect.Dy() {
		for x := range dst.Rect.Dx() {
			dst.SetRGBA(x, y, color.RGBA{byte(p.X + x), byte(p.Y + y), 0, 255})
		}
	}
	return nil
}

func TestNewSlide(t *testing.T) {
	s, err := sam.NewSlide(checker{}, 0.5)
	require.NoError(t, err)
	img, err := s.ReadRegion(context.Background(), 0, image.Rect(500_000, 70, 500_004, 72))
	require.NoError(t, err)
	assert.Equal(t, color.RGBA{35, 71, 0, 255}, img.RGBAAt(3, 1))
	_, err = s.ReadAt(context.Background(), 2, image.Rect(0, 0, 4, 4))
	assert.ErrorContains(t, err, "asleep")
	assert.NoError(t, s.Close())
}

func ExampleOpenSlide() {
	s, err := sam.OpenSlide(pyramid)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	for _, l := range s.Levels() {
		fmt.Printf("%d x %d, 1 : %.2f\n", l.W, l.H, l.Downsample)
	}
	img, err := s.ReadRegion(context.Background(), 0, image.Rect(10, 20, 42, 36))
	fmt.Println(img.Bounds(), err)
	// Output:
	// 83 x 61, 1 : 1.00
	// 41 x 30, 1 : 2.03
	// 20 x 15, 1 : 4.11
	// (0,0)-(32,16) <nil>
}
