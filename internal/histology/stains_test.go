package histology_test

import (
	"encoding/hex"
	"encoding/json"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/synth"
)

// degrees is the angle between two stains.
func degrees(a, b [3]float64) float64 {
	return math.Acos(min(a[0]*b[0]+a[1]*b[1]+a[2]*b[2], 1)) * 180 / math.Pi
}

// TestStainVectorsAgainstTorchstain compares with another implementation of the
// paper, see testdata/stains.py.
func TestStainVectorsAgainstTorchstain(t *testing.T) {
	b, err := os.ReadFile("testdata/stains.json")
	require.NoError(t, err)
	var golden struct {
		Version  int
		Pictures []struct {
			Name   string
			Side   int
			Pixels string
			Stains [2][3]float64
		}
	}
	require.NoError(t, json.Unmarshal(b, &golden))
	require.Equal(t, 1, golden.Version, "run testdata/stains.py")
	for _, g := range golden.Pictures {
		pix, err := hex.DecodeString(g.Pixels)
		require.NoError(t, err)
		img := image.NewRGBA(image.Rect(0, 0, g.Side, g.Side))
		for i := range g.Side * g.Side {
			copy(img.Pix[4*i:], append(pix[3*i:3*i+3:3*i+3], 255))
		}
		got, err := histology.FindStainVectors([]*image.RGBA{img})
		require.NoError(t, err, g.Name)
		for c := range 3 {
			// Densities are float32 here.
			assert.InDelta(t, g.Stains[0][c], got.Haematoxylin[c], 1e-5, g.Name)
			assert.InDelta(t, g.Stains[1][c], got.Eosin[c], 1e-5, g.Name)
		}
	}
}

// stained draws amounts of two stains, the first of each pixel rising along x,
// the second along y.
func stained(a, b [3]float64) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, 60, 60))
	for y := range 60 {
		for x := range 60 {
			p := img.Pix[y*img.Stride+4*x:]
			for c := range 3 {
				od := float64(x)/60*a[c] + float64(y)/60*0.8*b[c]
				p[c] = uint8(math.Round(256*math.Pow(10, -od) - 1))
			}
			p[3] = 255
		}
	}
	return img
}

func unitOf(r, g, b float64) [3]float64 {
	n := math.Sqrt(r*r + g*g + b*b)
	return [3]float64{r / n, g / n, b / n}
}

// TestNormaliseStains: a picture of other stains becomes the one that the
// reference's would have given, and white stays white.
func TestNormaliseStains(t *testing.T) {
	to := histology.TrainingStains
	from := histology.StainVectors{Haematoxylin: unitOf(0.42, 0.78, 0.46), Eosin: unitOf(0.14, 0.87, 0.47)}
	img, want := stained(from.Haematoxylin, from.Eosin), stained(to.Haematoxylin, to.Eosin)
	require.NoError(t, histology.NormaliseStains(img, from, to))
	for i := range want.Pix {
		// The grey levels of dark pixels are coarse as densities.
		require.InDelta(t, want.Pix[i], img.Pix[i], 5, "byte %d", i)
	}
	assert.Equal(t, []uint8{255, 255, 255, 255}, img.Pix[:4])

	same := stained(from.Haematoxylin, from.Eosin)
	require.NoError(t, histology.NormaliseStains(same, from, from))
	for i, v := range stained(from.Haematoxylin, from.Eosin).Pix {
		require.InDelta(t, v, same.Pix[i], 1, "nothing to do")
	}
	err := histology.NormaliseStains(same, histology.StainVectors{Haematoxylin: to.Eosin, Eosin: to.Eosin}, to)
	assert.ErrorIs(t, err, histology.ErrNoStains)
}

// noisy draws pixels of any colour.
func noisy() *image.RGBA {
	r := rand.New(rand.NewPCG(1, 2))
	img := image.NewRGBA(image.Rect(0, 0, 60, 60))
	for i := range img.Pix {
		img.Pix[i] = uint8(r.IntN(200))
		if i%4 == 3 {
			img.Pix[i] = 255
		}
	}
	return img
}

// TestNoStains: what is no H&E is told.
func TestNoStains(t *testing.T) {
	h := histology.TrainingStains.Haematoxylin
	for _, tt := range []struct {
		name, want string
		pics       []*image.RGBA
	}{
		{"no picture", "little is stained", nil},
		{"glass", "little is stained", []*image.RGBA{stained([3]float64{}, [3]float64{})}},
		{"haematoxylin alone", "one stain", []*image.RGBA{stained(h, h)}},
		{"grey", "degrees", []*image.RGBA{stained(unitOf(1, 1, 1), unitOf(1, 1, 1))}},
		{"blinded", "not those of two stains", []*image.RGBA{noisy()}},
		{"haematoxylin and DAB", "degrees from them", []*image.RGBA{stained(unitOf(0.65, 0.70, 0.29), unitOf(0.27, 0.57, 0.78))}},
		{"methyl green and DAB", "degrees from them", []*image.RGBA{stained(unitOf(0.98, 0.14, 0.13), unitOf(0.27, 0.57, 0.78))}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := histology.FindStainVectors(tt.pics)
			require.ErrorIs(t, err, histology.ErrNoStains)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

// TestTrainingStains: the slides that the model learned from have the stains
// that are said to be theirs.
func TestTrainingStains(t *testing.T) {
	for seed := range uint64(3) {
		pic, _ := synth.New(seed+1, synth.Options{Solid: true}).Region(40_000, 40_000, 160, 160, 0.25)
		got, err := histology.FindStainVectors([]*image.RGBA{pic})
		require.NoError(t, err)
		assert.Less(t, degrees(got.Haematoxylin, histology.TrainingStains.Haematoxylin), 12.0)
		assert.Less(t, degrees(got.Eosin, histology.TrainingStains.Eosin), 12.0)
	}
}
