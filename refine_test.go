package sam_test

import (
	"fmt"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/paulmach/orb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/synth"
)

// TestRefineSlide refines coarse boxes of nuclei on a synthetic slide, which are
// half as wide and high again and out of place: the outlines fit the truth far
// better than what they came from.
func TestRefineSlide(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: takes seconds")
	}
	const side, mpp = 400, 0.25
	img, truth := synth.New(900_200_000, synth.Options{Solid: true}).Region(9000, 9000, side, side, mpp)
	boxes := make([]image.Rectangle, len(truth.List))
	for i, v := range truth.Nuclei {
		if v > 0 {
			boxes[v-1] = boxes[v-1].Union(image.Rect(i%side, i/side, i%side+1, i/side+1))
		}
	}
	var features []string
	var of []int
	for i, b := range boxes {
		if truth.List[i].Area < 150 || !b.Inset(-3).In(image.Rect(0, 0, side, side)) {
			continue
		}
		w, h := float64(b.Dx())*1.5, float64(b.Dy())*1.5
		x, y := float64(b.Min.X)-w/8, float64(b.Min.Y)-h/5
		of = append(of, i+1)
		features = append(features, fmt.Sprintf(`{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[%g,%g],[%g,%g],[%g,%g],[%g,%g],[%g,%g]]]},"properties":{"name":"%d"}}`,
			x, y, x+w, y, x+w, y+h, x, y+h, x, y, i+1))
	}
	require.Greater(t, len(features), 20)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "coarse.geojson"), filepath.Join(dir, "fine.geojson")
	require.NoError(t, os.WriteFile(in, []byte("["+strings.Join(features, ",")+"]"), 0o600))
	m, err := sam.Bundled()
	require.NoError(t, err)
	var last sam.RefineProgress
	res, err := m.RefineSlide(t.Context(), sam.SlideFromImage(img, mpp), in, out, sam.RefineOptions{Progress: func(p sam.RefineProgress) { last = p }})
	require.NoError(t, err)
	assert.Equal(t, len(features), res.Objects)
	assert.Equal(t, 1, res.Windows)
	assert.Equal(t, last.Refined, res.Refined)
	assert.Contains(t, res.Describe(), fmt.Sprintf("%d of %d objects refined", res.Refined, len(features)))

	coarse, fine := meanIoU(t, in, of, truth), meanIoU(t, out, of, truth)
	t.Logf("mean IoU with the truth: coarse %.3f, refined %.3f", coarse, fine)
	assert.Less(t, coarse, 0.45)
	assert.Greater(t, fine, 0.70)

	_, err = m.RefineSlide(t.Context(), sam.SlideFromImage(img, mpp), in, in, sam.RefineOptions{})
	assert.ErrorContains(t, err, "sam: refine slide: ")
	require.NoError(t, os.WriteFile(in, []byte("nothing"), 0o600))
	_, err = m.RefineSlide(t.Context(), sam.SlideFromImage(img, mpp), in, out, sam.RefineOptions{})
	assert.ErrorIs(t, err, sam.ErrGeoJSON)
}

// meanIoU compares the objects of a file with the nuclei of the given numbers.
func meanIoU(t *testing.T, path string, of []int, truth *synth.Truth) float64 {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	sum, n := 0.0, 0
	size := sam.Size{H: truth.H, W: truth.W}
	for o, err := range geojson.Read(f, geojson.Options{}) {
		require.NoError(t, err)
		got, err := sam.MaskFromPolygons(size, orb.MultiPolygon(geojson.Area(o.Geometry)))
		require.NoError(t, err)
		want, err := sam.NewMask(size, func(x, y int) bool { return truth.Nuclei[y*truth.W+x] == int32(of[n]) })
		require.NoError(t, err)
		sum += got.IoU(want)
		n++
	}
	require.Equal(t, len(of), n)
	return sum / float64(n)
}
