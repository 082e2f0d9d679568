package finetune

import (
	"bytes"
	"context"
	"flag"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cli"
)

func finetune(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, progress bytes.Buffer
	err := run(t.Context(), append([]string{"-quiet", "-known=false"}, args...), &out, &progress)
	return out.String(), err
}

// short are flags for a run of seconds.
func short(args ...string) []string {
	return append([]string{"-steps", "2", "-objects", "1", "-corrections", "0", "-turns", "1"}, args...)
}

// pairs writes a picture of six discs and its mask, and returns them as -data
// takes them.
func pairs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	images, masks := filepath.Join(dir, "i"), filepath.Join(dir, "m")
	img, mask := image.NewRGBA(image.Rect(0, 0, 96, 64)), image.NewGray(image.Rect(0, 0, 96, 64))
	for y := range 64 {
		for x := range 96 {
			c := color.RGBA{230, 190, 215, 255}
			if dx, dy := x%32-16, y%32-16; dx*dx+dy*dy < 64 {
				c = color.RGBA{90, 60, 140, 255}
				mask.SetGray(x, y, color.Gray{255})
			}
			img.SetRGBA(x, y, c)
		}
	}
	savePNG(t, filepath.Join(images, "a.png"), img)
	savePNG(t, filepath.Join(masks, "a.png"), mask)
	return "pairs=" + images + "," + masks
}

func savePNG(t *testing.T, path string, img image.Image) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, img))
	require.NoError(t, f.Close())
}

// TestRun: two steps on a field of a lab's own; the objects held back measure.
func TestRun(t *testing.T) {
	data := pairs(t)
	dir := filepath.Join(t.TempDir(), "a lab's")
	args := short("-data", data, "-out", dir, "-clicks", "2")
	out, err := finetune(t, args...)
	require.NoError(t, err)
	assert.Contains(t, out, "1 fields with 6 objects, 1 of them held back; 2 steps")
	assert.Regexp(t, `held back\s+total boxes`, out)
	assert.Regexp(t, `held back\s+clicks to 0.90, at most 2`, out)
	m, err := sam.Load(filepath.Join(dir, modelFile))
	require.NoError(t, err)
	before, err := sam.Bundled()
	require.NoError(t, err)
	assert.Equal(t, before.Config(), m.Config())

	page, err := os.ReadFile(filepath.Join(dir, reportFile))
	require.NoError(t, err)
	for _, want := range []string{
		"<svg", "data:image/png;base64,", "slidesam finetune -quiet", "1 fields with 6 objects, 1 of them held back; 2 steps", "clicks before", "their figures flatter",
	} {
		assert.Contains(t, string(page), want)
	}
	assert.NotContains(t, string(page), "ZgotmplZ")
	assert.NotContains(t, string(page), "http", "the page loads nothing")

	// The same command goes on from the finished run: the same weights.
	out, err = finetune(t, args...)
	require.NoError(t, err)
	assert.Contains(t, out, "2 steps")
	again, err := sam.Load(filepath.Join(dir, modelFile))
	require.NoError(t, err)
	assert.Equal(t, m.Fingerprint(), again.Fingerprint())

	// Another one does not overwrite its results unless it is told to.
	args = append(args, "-seed", "2")
	_, err = finetune(t, args...)
	require.ErrorIs(t, err, sam.ErrTrainingState)
	assert.ErrorContains(t, err, "give another -out, or -restart")
	_, err = finetune(t, append(args, "-restart")...)
	require.NoError(t, err)
}

// TestStopped: a run that is stopped says so, keeps the best weights, and goes
// on.
func TestStopped(t *testing.T) {
	dir := t.TempDir()
	args := short("-data", pairs(t), "-out", dir, "-steps", "3", "-every", "1", "-known=false")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var out bytes.Buffer
	progress := writer(func(b []byte) {
		if bytes.Contains(b, []byte("step 2 of 3")) {
			stop()
		}
	})
	err := run(ctx, args, &out, progress)
	require.ErrorIs(t, err, context.Canceled)
	assert.FileExists(t, filepath.Join(dir, modelFile))
	assert.NoFileExists(t, filepath.Join(dir, reportFile))
	got, err := finetune(t, args...)
	require.NoError(t, err)
	assert.Contains(t, got, "3 steps")
}

type writer func(b []byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args, want string
	}{
		{"x", `"x" is not a flag`},
		{"-loss mse", `-loss "mse": want sam, micro-sam or bce`},
		{"-steps 0", "-steps 0, want 1 or more"},
		{"-steps -5", "-steps -5, want 1 or more"},
		{"-objects 0", "-objects 0, want 1 or more"},
		{"-every 0", "-every 0, want 1 or more"},
		{"-turns 9", "-turns 9, want 1 to 8"},
		{"-turns 0", "-turns 0, want 1 or more"},
		{"-lora -1", "-lora -1, want 0 or more"},
		{"-lora 4 -lora-blocks 0", "-lora-blocks 0, want 1 or more"},
		{"-corrections -1", "-corrections -1, want 0 or more"},
		{"-patience -1", "-patience -1, want 0 or more"},
		{"-clicks -1", "-clicks -1, want 0 or more"},
		{"-rate 0", "-rate 0, want more than 0"},
		{"-rate NaN", "-rate NaN, want more than 0"},
		{"-held-back 1", "-held-back 1, want 0 or more and less than 1"},
		{"-held-back NaN", "-held-back NaN"},
		{"-mpp -1", "-mpp -1, want micrometres per pixel"},
		{"-mpp 0.5", "-mpp, -classes and -nucleus go with -slide"},
		{"-slide s.svs", "-slide and -annotations go together"},
		{"-annotations a.geojson", "-slide and -annotations go together"},
		{"-adapter", "give their rank"},
		{"-data pairs", `-data "pairs": want two folders`},
		{"-data x=a,b", `kind "x" is not known`},
		{"-test pairs=a,b,c", `"c" is not micrometres per pixel`},
		{"-no-such-flag", "not defined"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			_, err := finetune(t, append(strings.Fields(tt.args), "-out", filepath.Join(t.TempDir(), "out"))...)
			require.ErrorContains(t, err, tt.want)
			var usage *cli.UsageError
			assert.ErrorAs(t, err, &usage)
		})
	}
	_, err := finetune(t, "-h")
	assert.ErrorIs(t, err, flag.ErrHelp)
}

func TestFaults(t *testing.T) {
	data := pairs(t)
	images, _, _ := strings.Cut(strings.TrimPrefix(data, "pairs="), ",")
	empty := filepath.Join(t.TempDir(), "empty")
	savePNG(t, filepath.Join(empty, "a.png"), image.NewGray(image.Rect(0, 0, 96, 64)))
	white := image.NewGray(image.Rect(0, 0, 96, 64))
	for i := range white.Pix {
		white.Pix[i] = 255
	}
	full := filepath.Join(t.TempDir(), "full")
	savePNG(t, filepath.Join(full, "a.png"), white)
	notes := func(name, json string) []string {
		path := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(path, []byte(json), 0o600))
		return []string{"-slide", filepath.Join(images, "a.png"), "-annotations", path}
	}
	square := func(at string) string {
		return `{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[` + at + `]]},"properties":{"classification":{"name":"Tumour"}}}`
	}
	inside := square(`[10,10],[20,10],[20,20],[10,20],[10,10]`)
	outside := square(`[1010,10],[1020,10],[1020,20],[1010,20],[1010,10]`)
	collection := func(features string) string { return `{"type":"FeatureCollection","features":[` + features + `]}` }
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"no object", []string{"-data", "pairs=" + images + "," + empty}, "no object on 1 fields"},
		{"nothing but the object", []string{"-data", "pairs=" + images + "," + full}, "fills the picture: there is nothing to tell it from"},
		{"no model", []string{"-data", data, "-model", filepath.Join(t.TempDir(), "none.pth")}, "none.pth"},
		{"no folder", []string{"-data", "labels=" + empty + "/none,x"}, "none"},
		{"no annotation", notes("n.geojson", collection("")), "annotations with an area"},
		{"annotations that are no JSON", notes("n.geojson", "{"), "n.geojson"},
		{"annotations outside", notes("n.geojson", collection(inside+","+outside)), "feature 1 of"},
		{"another class", append(notes("n.geojson", collection(inside)), "-classes", "Stroma"), `no object of class "Stroma": there are ["Tumour"]`},
		{"a slide that is not there", []string{"-slide", "none.svs", "-annotations", "none.geojson"}, "none.svs"},
		{"an adapter too large", short("-data", data, "-lora", "1000"), "adapters of rank 1000"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			_, err := finetune(t, append(tt.args, "-out", out)...)
			require.ErrorContains(t, err, tt.want)
			assert.NoFileExists(t, filepath.Join(out, modelFile))
		})
	}
}
