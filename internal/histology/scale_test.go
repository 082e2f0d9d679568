package histology_test

import (
	"context"
	"fmt"
	"image"
	"image/draw"
	_ "image/jpeg"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	xdraw "golang.org/x/image/draw"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/synth"
)

// TestScale tells the size of pixels of drawn tissue, which has nuclei of
// several kinds and sizes, at the scales that scanners and exports have.
func TestScale(t *testing.T) {
	ctx := context.Background()
	for _, seed := range []uint64{100, 103} {
		s := synth.New(seed, synth.Options{Solid: true})
		for _, mpp := range []float64{0.37, 0.5, 1} {
			side := int(170 / mpp)
			pic, _ := s.Region(int(5000/mpp), int(5000/mpp), side, side, mpp)
			got, factor, err := histology.Scale(ctx, []*image.RGBA{pic})
			require.NoError(t, err)
			t.Logf("slide %d: true %.2f, told %.3f", seed, mpp, got)
			assert.InDelta(t, 1, got/mpp, 0.5)
			assert.Greater(t, mpp, got/factor)
			assert.Less(t, mpp, got*factor)
		}
		far, _ := s.Region(800, 800, 250, 250, 6)
		_, _, err := histology.Scale(ctx, []*image.RGBA{far})
		assert.ErrorIs(t, err, histology.ErrNoNuclei, "pixels as large as nuclei")
	}
	r := rand.New(rand.NewPCG(1, 2))
	grain := image.NewRGBA(image.Rect(0, 0, 400, 400))
	for i := range grain.Pix {
		grain.Pix[i] = uint8(120 + r.IntN(100))
	}
	for name, pics := range map[string][]*image.RGBA{"grain": {grain}, "nothing": nil, "too small": {image.NewRGBA(image.Rect(0, 0, 9, 9))}} {
		_, _, err := histology.Scale(ctx, pics)
		assert.ErrorIs(t, err, histology.ErrNoNuclei, name)
	}
	ctx, stop := context.WithCancel(ctx)
	stop()
	_, _, err := histology.Scale(ctx, []*image.RGBA{grain})
	assert.ErrorIs(t, err, context.Canceled)
}

// TestScaleOfRealTissue tells that of pictures whose resolution is known, and
// of what is left of them when they are reduced.
func TestScaleOfRealTissue(t *testing.T) {
	data := os.Getenv("SAM_TESTDATA")
	if data == "" {
		t.Skip("SAM_TESTDATA is not set: no real pictures")
	}
	files, err := filepath.Glob(filepath.Join(data, "nuclei", "images", "*.jpg"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		in, err := os.Open(f)
		require.NoError(t, err)
		img, _, err := image.Decode(in)
		require.NoError(t, err)
		require.NoError(t, in.Close())
		for _, k := range []float64{2, 4} {
			pic := image.NewRGBA(image.Rect(0, 0, int(float64(img.Bounds().Dx())/k), int(float64(img.Bounds().Dy())/k)))
			xdraw.CatmullRom.Scale(pic, pic.Rect, img, img.Bounds(), draw.Src, nil)
			mpp := 0.25 * k
			got, _, err := histology.Scale(context.Background(), []*image.RGBA{pic})
			require.NoError(t, err, fmt.Sprint(filepath.Base(f), k))
			t.Logf("%s: true %.2f, told %.3f", filepath.Base(f), mpp, got)
			assert.Greater(t, got/mpp, 1/1.8)
			assert.Less(t, got/mpp, 1.8)
		}
	}
}
