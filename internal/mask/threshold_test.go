package mask_test

import (
	"fmt"
	"image"
	"image/color"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/resample"
)

func TestThresholdAgainstSegmentAnything(t *testing.T) {
	_, cases, err := golden.Interpolations()
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, c := range cases {
		t.Run(fmt.Sprintf("%d in %d to %v", c.Low, c.Size, c.Picture), func(t *testing.T) {
			u, err := resample.NewUpscaler(resample.Size{H: c.Low, W: c.Low}, c.Size, resample.Size(c.Cropped), resample.Size(c.Picture))
			require.NoError(t, err)
			m, err := mask.Threshold(u, c.Input(), 0)
			require.NoError(t, err)
			require.Equal(t, mask.Size(c.Picture), m.Size())
			full := make([]bool, c.Picture.H*c.Picture.W)
			for i := range full {
				full[i] = m.At(i%c.Picture.W, i/c.Picture.W)
			}
			differ, compared, err := c.Mask.Diff(0, full)
			require.NoError(t, err)
			assert.LessOrEqual(t, differ, compared/10000)
			assert.InDelta(t, c.Area, m.Area(), float64(len(full))/10000)
		})
	}
}

// The mask is the one of the full logits, whatever is skipped on the way.
func TestThresholdIsThatOfLogits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		picture := resample.Size{H: rapid.IntRange(1, 300).Draw(t, "h"), W: rapid.IntRange(1, 300).Draw(t, "w")}
		u, err := resample.NewUpscaler(resample.Size{H: 16, W: 16}, 64, resample.LongestSide(picture, 64), picture)
		require.NoError(t, err)
		low := make([]float32, 256)
		for range rapid.IntRange(0, 8).Draw(t, "spots") {
			x, y := rapid.IntRange(0, 15).Draw(t, "x"), rapid.IntRange(0, 15).Draw(t, "y")
			low[16*y+x] = float32(rapid.IntRange(-4, 8).Draw(t, "v"))
		}
		limit := rapid.SampledFrom([]float32{-1, 0, 0.25, 1, 7}).Draw(t, "limit")
		full := make([]float32, picture.H*picture.W)
		require.NoError(t, u.Logits(full, low))
		want, err := mask.FromLogits(mask.Size(picture), full, limit)
		require.NoError(t, err)
		got, err := mask.Threshold(u, low, limit)
		require.NoError(t, err)
		assert.True(t, want.Equal(got))
	})
}

func TestThresholdRefuses(t *testing.T) {
	s := resample.Size{H: 4, W: 4}
	u, err := resample.NewUpscaler(s, 16, resample.Size{H: 16, W: 16}, s)
	require.NoError(t, err)
	_, err = mask.Threshold(u, make([]float32, 15), 0)
	assert.ErrorIs(t, err, resample.ErrSize)
}

func BenchmarkThreshold(b *testing.B) {
	for _, picture := range []resample.Size{{H: 1000, W: 1000}, {H: 2967, W: 2220}} {
		u, err := resample.NewUpscaler(resample.Size{H: 256, W: 256}, 1024, resample.LongestSide(picture, 1024), picture)
		require.NoError(b, err)
		for _, side := range []int{10, 100, 400} { // of the object, in low-resolution pixels
			low := make([]float32, 256*256)
			for i := range low {
				y, x := i/256, i%256
				low[i] = float32(side)/2 - float32(max(x-128, 128-x, y-128, 128-y)) + 0.1
			}
			b.Run(fmt.Sprintf("object=%d/picture=%v", side, picture), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := mask.Threshold(u, low, 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// Masks of 0 and 1 are what they say, issue 24: they came out empty.
func TestFromImageOfZeroAndOne(t *testing.T) {
	want := func(x, y int) bool { return x+y == 2 }
	r := image.Rect(2, 1, 7, 5) // the mask begins at its corner
	small, deep, rgb := image.NewGray(r), image.NewGray16(r), image.NewNRGBA(r)
	for y := range r.Dy() {
		for x := range r.Dx() {
			if want(x, y) {
				small.SetGray(2+x, 1+y, color.Gray{Y: 1})
				deep.SetGray16(2+x, 1+y, color.Gray16{Y: 1})
				rgb.SetNRGBA(2+x, 1+y, color.NRGBA{R: 1, G: 1, B: 1, A: 255})
			}
		}
	}
	for _, img := range []image.Image{small, deep, rgb} {
		m, err := mask.FromImage(img)
		require.NoError(t, err)
		for y := range r.Dy() {
			for x := range r.Dx() {
				require.Equal(t, want(x, y), m.At(x, y), "%T %d %d", img, x, y)
			}
		}
	}
	small.SetGray(2, 1, color.Gray{Y: 2})
	m, err := mask.FromImage(small)
	require.NoError(t, err)
	require.Zero(t, m.Area())
}
