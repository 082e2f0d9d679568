package slide

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/synth"
)

// TestStainsNormalised: the model sees a slide of stains that it did not learn in
// others, which terminal and page say. Issue 25.
func TestStainsNormalised(t *testing.T) {
	pic, _ := synth.New(102, synth.Options{Solid: true}).Region(9000, 9000, 160, 160, 0.5)
	own, err := histology.FindStainVectors([]*image.RGBA{pic})
	require.NoError(t, err)
	pink := histology.StainVectors{Haematoxylin: [3]float64{0.373, 0.770, 0.517}, Eosin: [3]float64{0.144, 0.873, 0.467}}
	require.NoError(t, histology.NormaliseStains(pic, own, pink))
	dir := t.TempDir()
	path := filepath.Join(dir, "pink.png")
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, pic))
	require.NoError(t, f.Close())
	search := func(out string, args ...string) (objects, said string) {
		var text, log bytes.Buffer
		out = filepath.Join(dir, out)
		require.NoError(t, run(context.Background(), append([]string{"-slide", path, "-slide-mpp", "0.5", "-out", out}, args...), noEnv, &text, &log))
		b, err := os.ReadFile(filepath.Join(out, sam.CSVFile))
		require.NoError(t, err)
		return string(b), text.String()
	}
	was, said := search("as it is", "-normalise=false")
	assert.NotContains(t, said, "normalised")
	is, said := search("normalised")
	assert.NotEqual(t, was, is)
	assert.Contains(t, said, "degrees from those that the model learned: they were normalised")
	page, err := os.ReadFile(filepath.Join(dir, "normalised", pageFile))
	require.NoError(t, err)
	assert.Contains(t, string(page), "they were normalised")
}
