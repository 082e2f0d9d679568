package refine

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/synth"
)

func TestRefine(t *testing.T) {
	dir := t.TempDir()
	pic, _ := synth.New(5, synth.Options{Solid: true}).Region(9000, 9000, 240, 200, 0.5)
	slide, notes := filepath.Join(dir, "a.png"), filepath.Join(dir, "a.json")
	f, err := os.Create(slide)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, pic))
	require.NoError(t, f.Close())
	require.NoError(t, os.WriteFile(notes, []byte(`[{"type":"Feature","geometry":{"type":"MultiPoint","coordinates":[[50,50],[900,20]]},"properties":{"classification":{"name":"Tumor"}}},
{"type":"Feature","geometry":{"type":"Point","coordinates":[60,60]},"properties":{"classification":{"name":"Stroma"}}}]`), 0o600))
	var out, log bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"-slide", slide, "-annotations", notes, "-class", "Tumor", "-slide-mpp", "0.5", "-overlap", "0"}, &out, &log))
	assert.Contains(t, out.String(), "1 of 3 objects refined, 1 left alone: of another class, 1 left alone: beside the slide, in "+filepath.Join(dir, "a.refined.geojson"))
	assert.FileExists(t, filepath.Join(dir, "a.refined.geojson"))
	assert.Contains(t, log.String(), "total=1")

	out.Reset()
	require.NoError(t, run(t.Context(), []string{"-slide", slide, "-annotations", notes, "-class", "Nobody", "-estimate-mpp=false"}, &out, &log))
	assert.Contains(t, out.String(), "0 of 3 objects refined")
	assert.Contains(t, out.String(), "-slide-mpp", "the picture has no resolution")
	out.Reset()
	require.NoError(t, run(t.Context(), []string{"-slide", slide, "-annotations", notes, "-class", "Nobody"}, &out, &log))
	assert.Contains(t, out.String(), "Warning: the slide does not say its resolution")

	err = run(t.Context(), []string{"-slide", slide, "-annotations", slide}, &out, &log)
	assert.ErrorIs(t, err, sam.ErrGeoJSON)
	err = run(t.Context(), []string{"-slide", slide, "-annotations", notes, "-out", notes}, &out, &log)
	assert.ErrorContains(t, err, "would be overwritten")
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", "give the slide"}, {"-slide a", "-annotations"}, {"-slide a -annotations b c", "unknown argument"}, {"-slide a -annotations b -overlap 2", "-overlap"},
		{"-slide a -annotations b -iou NaN", "-iou"}, {"-slide a -annotations b -stability -1", "-stability"}, {"-slide a -annotations b -mpp -1", "-mpp"}, {"-nothing", "nothing"},
	} {
		var usage *cli.UsageError
		err := run(t.Context(), strings.Fields(tt.args), &bytes.Buffer{}, &bytes.Buffer{})
		assert.ErrorAs(t, err, &usage, tt.args)
		assert.ErrorContains(t, err, tt.want)
	}
}
