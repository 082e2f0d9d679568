package finetune

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
)

// tinyInstances writes a small encoder with an instance decoder, as a training
// of both keeps them.
func tinyInstances(t *testing.T, maps int) string {
	t.Helper()
	enc := vit.Config{ImageSize: 64, Patch: 8, Width: 32, Depth: 2, Heads: 2, HeadDim: 16, MLP: 64, Window: 7, Global: []int{1}, Out: 32}
	dec := instance.Config{Grid: 8, Embed: 32, Features: [4]int{32, 16, 8, 8}, Out: maps, Transposed: true, BatchNorm: true}
	all := map[string]weights.TensorData{}
	for prefix, specs := range map[string][]weights.Spec{"model_state.encoder.": weights.Specs(vit.NewParams(enc)), "model_state.": instance.Specs(dec)} {
		ck := weights.Random(specs, 7)
		for _, s := range specs {
			x, err := ck.Tensor(s.Name)
			require.NoError(t, err)
			v, err := x.Float32s()
			require.NoError(t, err)
			all[prefix+s.Name] = weights.TensorData{Shape: s.Shape, Data: v}
		}
	}
	path := filepath.Join(t.TempDir(), "tiny.safetensors")
	require.NoError(t, weights.FromTensors(all).Save(t.Context(), path, weights.ConvertOptions{}))
	return path
}

// fields writes pictures of dark discs and their labels, and returns them as
// -data takes them.
func fields(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		img, labels := image.NewRGBA(image.Rect(0, 0, 96, 64)), image.NewGray(image.Rect(0, 0, 96, 64))
		for y := range 64 {
			for x := range 96 {
				c := color.RGBA{230, 190, 215, 255}
				if dx, dy := x%32-14-i, y%32-16; dx*dx+dy*dy < 80 {
					c = color.RGBA{90, 60, 140, 255}
					labels.SetGray(x, y, color.Gray{uint8(1 + x/32 + 3*(y/32))})
				}
				img.SetRGBA(x, y, c)
			}
		}
		name := fmt.Sprintf("%d.png", i)
		savePNG(t, filepath.Join(dir, "i", name), img)
		savePNG(t, filepath.Join(dir, "l", name), labels)
	}
	return "labels=" + filepath.Join(dir, "i") + "," + filepath.Join(dir, "l")
}

// TestInstances: a decoder learns from a lab's own fields, the report has F1
// and PQ of those held back, and the file is read with its model's.
func TestInstances(t *testing.T) {
	model, data, dir := tinyInstances(t, 3), fields(t, 3), filepath.Join(t.TempDir(), "out")
	args := []string{"-train", "instances", "-model", model, "-data", data, "-out", dir, "-steps", "60", "-every", "20", "-turns", "2", "-rate", "3e-3", "-patience", "0"}
	out, err := finetune(t, args...)
	require.NoError(t, err)
	assert.Contains(t, out, "3 fields with 18 objects, 1 fields held back; 60 steps")
	assert.Regexp(t, `held back +1 +6 +0\.000 +(1\.000|0\.[5-9]\d\d) +0\.000 +0\.[5-9]\d\d +\+0\.`, out)
	assert.Contains(t, out, "The fields held back chose the weights")
	assert.NotContains(t, out, "The weights are those that it began with")
	assert.Contains(t, out, "Fields of 96 pixels are enlarged for the network")
	page, err := os.ReadFile(filepath.Join(dir, reportFile))
	require.NoError(t, err)
	for _, want := range []string{"<svg", "data:image/png;base64,", "F1 at IoU 0.5 before", "All objects, without a prompt", "slidesam finetune -quiet"} {
		assert.Contains(t, string(page), want)
	}
	assert.NotContains(t, string(page), "ZgotmplZ")
	assert.NotContains(t, string(page), "union Dice")

	file := filepath.Join(dir, decoderFile)
	_, err = sam.LoadInstances(file)
	require.Error(t, err, "a decoder alone is no model")
	_, err = sam.LoadInstances(model, file)
	require.NoError(t, err)
	again, err := finetune(t, args...)
	require.NoError(t, err)
	assert.Contains(t, again, "60 steps", "the same command goes on from the finished run")
	out, err = finetune(t, "-train", "instances", "-model", model, "-decoder", file, "-data", data, "-out", t.TempDir(), "-steps", "1", "-turns", "1")
	require.NoError(t, err)
	assert.Regexp(t, `held back +1 +6 +(1\.000|0\.[5-9]\d\d)`, out, "it begins with what was learned")
	out, err = finetune(t, "-train", "instances", "-model", model, "-data", data, "-out", t.TempDir(), "-steps", "1", "-turns", "1", "-rate", "1e-12")
	require.NoError(t, err)
	assert.Contains(t, out, "The weights are those that it began with")
}

// TestInstancesOnSlide: objects of a slide, in the regions where all are
// annotated.
func TestInstancesOnSlide(t *testing.T) {
	data := fields(t, 1)
	images, _, _ := strings.Cut(strings.TrimPrefix(data, "labels="), ",")
	square := func(class string, x, y, side int) string {
		return fmt.Sprintf(`{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[%d,%d],[%d,%d],[%d,%d],[%d,%d],[%d,%d]]]},"properties":{"classification":{"name":%q}}}`,
			x, y, x+side, y, x+side, y+side, x, y+side, x, y, class)
	}
	notes := filepath.Join(t.TempDir(), "n.geojson")
	text := strings.Join([]string{square("Nucleus", 6, 8, 15), square("Nucleus", 38, 8, 15), square("Region", 0, 0, 32), square("Region", 32, 0, 32)}, ",")
	require.NoError(t, os.WriteFile(notes, []byte(`{"type":"FeatureCollection","features":[`+text+`]}`), 0o600))
	args := []string{"-train", "instances", "-model", tinyInstances(t, 3), "-slide", filepath.Join(images, "0.png"), "-annotations", notes, "-out", t.TempDir(), "-steps", "2", "-turns", "1"}
	out, err := finetune(t, append(args, "-region", "Region")...)
	require.NoError(t, err)
	assert.Contains(t, out, "2 fields with 2 objects, 1 fields held back")
	_, err = finetune(t, append(args, "-region", "Tumour")...)
	assert.ErrorContains(t, err, `no object of class "Tumour"`)
}

// TestInstancesKilled: a run that is stopped at a random step and begun again
// gives the same bytes as one that was not.
func TestInstancesKilled(t *testing.T) {
	model, data := tinyInstances(t, 3), fields(t, 2)
	dirs := []string{t.TempDir(), t.TempDir()}
	args := func(dir string) []string {
		return []string{"-train", "instances", "-model", model, "-data", data, "-out", dir, "-steps", "6", "-every", "1", "-turns", "1", "-known=false"}
	}
	_, err := finetune(t, args(dirs[0])...)
	require.NoError(t, err)
	at := 2 + rand.IntN(4)
	t.Logf("stopped at step %d", at)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var said bytes.Buffer
	err = run(ctx, args(dirs[1]), &bytes.Buffer{}, writer(func(b []byte) {
		said.Write(b)
		if bytes.Contains(b, fmt.Appendf(nil, "step %d of 6", at)) {
			stop()
		}
	}))
	require.ErrorIs(t, err, context.Canceled)
	assert.Contains(t, said.String(), "the best decoder so far is in ")
	assert.FileExists(t, filepath.Join(dirs[1], stateFile))
	_, err = finetune(t, args(dirs[1])...)
	require.NoError(t, err)
	var want [2][]byte
	for i, dir := range dirs {
		want[i], err = os.ReadFile(filepath.Join(dir, decoderFile))
		require.NoError(t, err)
	}
	assert.True(t, string(want[0]) == string(want[1]), "the bytes differ")
}

func TestInstancesUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-train all", `-train "all": want prompts or instances`},
		{"-decoder d", "-decoder goes with -train instances"},
		{"-region R", "-region goes with -train instances"},
		{"-train instances -loss bce", "-loss is of prompts"},
		{"-train instances -lora 4", "-lora is of prompts"},
		{"-train instances -corrections 2", "-corrections is of prompts"},
		{"-train instances -clicks 2", "-clicks is of prompts"},
		{"-train instances -slide s -annotations a", "outline in QuPath where every object is annotated"},
		{"-train instances -region R", "-region goes with -slide"},
		{"-train instances -slide s -annotations a -classes R -region R", `-classes and -region both have "R"`},
		{"-crop 256", "-crop goes with -train instances"},
		{"-train instances -crop 0", "-crop 0, want pixels"},
		{"-train instances -steps 0", "-steps 0, want 1 or more"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			_, err := finetune(t, append(strings.Fields(tt.args), "-out", filepath.Join(t.TempDir(), "out"))...)
			require.ErrorContains(t, err, tt.want)
			var usage *cli.UsageError
			assert.ErrorAs(t, err, &usage)
		})
	}
}

func TestInstancesFaults(t *testing.T) {
	data := fields(t, 1)
	images, _, _ := strings.Cut(strings.TrimPrefix(data, "labels="), ",")
	specks := image.NewGray(image.Rect(0, 0, 96, 64))
	specks.SetGray(3, 3, color.Gray{255})
	small := filepath.Join(t.TempDir(), "small")
	savePNG(t, filepath.Join(small, "0.png"), specks)
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"all too small", []string{"-model", tinyInstances(t, 3), "-data", "labels=" + images + "," + small}, "no object of 1 fields has a part of 25 pixels or more"},
		{"classes", []string{"-model", tinyInstances(t, 6), "-data", data}, "a decoder of 6 classes: want one of instances"},
		{"diverges", []string{"-model", tinyInstances(t, 3), "-data", data, "-rate", "1e30", "-turns", "1"}, "lower the learning rate (the best weights until then are in "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := finetune(t, append([]string{"-train", "instances", "-out", t.TempDir()}, tt.args...)...)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}
