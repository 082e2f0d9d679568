package dataset_test

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/eval/dataset"
)

// annotated writes a slide of 300 x 200 pixels with squares of 10 pixels at
// the places given, and their export.
func annotated(t *testing.T, at ...image.Point) (slide, notes string) {
	t.Helper()
	dir := t.TempDir()
	img := image.NewGray(image.Rect(0, 0, 300, 200))
	var features []string
	for _, p := range at {
		for y := range 10 {
			for x := range 10 {
				img.SetGray(p.X+x, p.Y+y, color.Gray{200})
			}
		}
		features = append(features, fmt.Sprintf(`{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[%d,%d],[%d,%d],[%d,%d],[%d,%d],[%d,%d]]]},"properties":{}}`,
			p.X, p.Y, p.X+10, p.Y, p.X+10, p.Y+10, p.X, p.Y+10, p.X, p.Y))
	}
	slide, notes = filepath.Join(dir, "s.png"), filepath.Join(dir, "s.geojson")
	f, err := os.Create(slide)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, img))
	require.NoError(t, f.Close())
	require.NoError(t, os.WriteFile(notes, []byte(`{"type":"FeatureCollection","features":[`+strings.Join(features, ",")+`]}`), 0o600))
	return slide, notes
}

// TestQuPathSlide: every object is on one field, where the slide shows it.
func TestQuPathSlide(t *testing.T) {
	slide, notes := annotated(t, image.Pt(5, 5), image.Pt(40, 8), image.Pt(280, 185), image.Pt(150, 100))
	set, err := dataset.QuPathSlide("slide", slide, notes, dataset.SlideOptions{Side: 64})
	require.NoError(t, err)
	require.Equal(t, 3, set.Len())
	objects := 0
	for i := range set.Len() {
		p, err := set.Load(context.Background(), i)
		require.NoError(t, err)
		assert.Equal(t, "s", p.Group)
		seen := map[int32]int{}
		b := p.Image.Bounds()
		for k, id := range p.Truth.Pix {
			r, _, _, _ := p.Image.At(b.Min.X+k%p.Truth.W, b.Min.Y+k/p.Truth.W).RGBA()
			assert.Equal(t, id != 0, r > 0x8000)
			seen[id]++
		}
		for id, n := range seen {
			if id != 0 {
				objects++
				assert.Equal(t, 100, n)
			}
		}
	}
	assert.Equal(t, 4, objects)
}

// marked adds regions, corners of each, to an export.
func marked(t *testing.T, notes, class string, at ...image.Rectangle) string {
	t.Helper()
	b, err := os.ReadFile(notes)
	require.NoError(t, err)
	text := strings.TrimSuffix(string(b), "]}")
	for _, r := range at {
		text += fmt.Sprintf(`,{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[%d,%d],[%d,%d],[%d,%d],[%d,%d],[%d,%d]]]},"properties":{"classification":{"name":%q}}}`,
			r.Min.X, r.Min.Y, r.Max.X, r.Min.Y, r.Max.X, r.Max.Y, r.Min.X, r.Max.Y, r.Min.X, r.Min.Y, class)
	}
	path := filepath.Join(t.TempDir(), "marked.geojson")
	require.NoError(t, os.WriteFile(path, []byte(text+"]}"), 0o600))
	return path
}

// TestRegions: a field shows its region, what is known, and all objects on it.
func TestRegions(t *testing.T) {
	slide, notes := annotated(t, image.Pt(30, 20), image.Pt(65, 30), image.Pt(140, 90), image.Pt(210, 150), image.Pt(280, 20))
	small, large := image.Rect(20, 10, 70, 50), image.Rect(130, 80, 230, 170)
	notes = marked(t, notes, "Region*", small, large, image.Rect(90, 10, 110, 30))
	set, err := dataset.QuPathSlide("slide", slide, notes, dataset.SlideOptions{Side: 64, Regions: "Region*"})
	require.NoError(t, err)
	type field struct{ objects, pixels, known int }
	got := map[string]field{}
	for i := range set.Len() {
		p, err := set.Load(context.Background(), i)
		require.NoError(t, err)
		f, seen := field{known: p.Known.Area()}, map[int32]bool{}
		for k, id := range p.Truth.Pix {
			b := p.Image.Bounds()
			r, _, _, _ := p.Image.At(b.Min.X+k%p.Truth.W, b.Min.Y+k/p.Truth.W).RGBA()
			if id != 0 {
				assert.Greater(t, r, uint32(0x8000))
				f.pixels++
				seen[id] = true
			}
		}
		f.objects = len(seen)
		got[p.ID] = f
	}
	assert.Equal(t, map[string]field{
		"s (13, 0)":    {2, 200, 50 * 40}, // the second lies on the region in part, and is known as a whole
		"s (130, 80)":  {1, 100, 64 * 64},
		"s (194, 144)": {1, 100, 36 * 26},
	}, got, "the third region shows no object, nor do two parts of the second; the last object is on none")

	for want, o := range map[string]dataset.SlideOptions{
		`no object of class "Tumour": there are ["" "Region*"]`: {Regions: "Tumour"},
		`no object lies on the 1 regions of class "Bare"`:       {Regions: "Bare"},
	} {
		_, err := dataset.QuPathSlide("slide", slide, marked(t, notes, "Bare", image.Rect(250, 100, 260, 110)), o)
		require.ErrorIs(t, err, dataset.ErrLayout)
		if o.Regions == "Tumour" {
			want = strings.TrimSuffix(want, "]") + ` "Bare"]`
		}
		assert.ErrorContains(t, err, want)
	}
}

func TestQuPathSlideErrors(t *testing.T) {
	slide, notes := annotated(t, image.Pt(5, 5), image.Pt(280, 180))
	_, outside := annotated(t, image.Pt(295, 20))
	_, none := annotated(t)
	for _, tt := range []struct {
		name, notes string
		o           dataset.SlideOptions
		want        string
	}{
		{"outside", outside, dataset.SlideOptions{}, "feature 0 of " + outside + " lies outside the slide of 300 x 200 pixels"},
		{"nothing", none, dataset.SlideOptions{}, "nothing in " + none + ", want annotations with an area"},
		{"large", notes, dataset.SlideOptions{Side: 8}, "feature 0 is larger than a field of 8 pixels"},
		{"scale", notes, dataset.SlideOptions{QuPathOptions: dataset.QuPathOptions{MPP: 0.5}}, "does not say its scale"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dataset.QuPathSlide("slide", slide, tt.notes, tt.o)
			require.ErrorIs(t, err, dataset.ErrLayout)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}
