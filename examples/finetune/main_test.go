package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

func finetune(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out, progress bytes.Buffer
	err := run(context.Background(), append([]string{"-quiet", "-known=false"}, args...), &out, &progress)
	return out.String(), err
}

// pairs writes a picture of six discs and its mask.
func pairs(t *testing.T) (images, masks string) {
	t.Helper()
	dir := t.TempDir()
	images, masks = filepath.Join(dir, "i"), filepath.Join(dir, "m")
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
	for dir, picture := range map[string]image.Image{images: img, masks: mask} {
		require.NoError(t, os.Mkdir(dir, 0o755))
		f, err := os.Create(filepath.Join(dir, "a.png"))
		require.NoError(t, err)
		require.NoError(t, png.Encode(f, picture))
		require.NoError(t, f.Close())
	}
	return images, masks
}

// TestRun: two steps on a field of a lab's own; the objects held back measure.
func TestRun(t *testing.T) {
	images, masks := pairs(t)
	dir := filepath.Join(t.TempDir(), "out")
	args := []string{"-data", "pairs=" + images + "," + masks, "-out", dir, "-steps", "2", "-objects", "1", "-corrections", "-1", "-turns", "1"}
	out, err := finetune(t, args...)
	require.NoError(t, err)
	assert.Contains(t, out, "1 fields, 6 objects; 2 steps")
	assert.Regexp(t, `held back\s+total boxes`, out)
	m, err := sam.Load(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	before, err := sam.Bundled()
	require.NoError(t, err)
	assert.Equal(t, before.Config(), m.Config())

	page, err := os.ReadFile(filepath.Join(dir, "report.html"))
	require.NoError(t, err)
	for _, want := range []string{"<svg", "data:image/png;base64,", "finetune -quiet", "1 fields with 6 objects, 1 of them held back; 2 steps"} {
		assert.Contains(t, string(page), want)
	}
	assert.NotContains(t, string(page), "ZgotmplZ")
	assert.NotContains(t, string(page), "http", "the page loads nothing")

	// Going on from a finished run gives the same weights.
	out, err = finetune(t, append(args, "-resume")...)
	require.NoError(t, err)
	assert.Contains(t, out, "2 steps")
	again, err := sam.Load(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	assert.Equal(t, m.Fingerprint(), again.Fingerprint())
}

func TestErrors(t *testing.T) {
	images, masks := pairs(t)
	empty := filepath.Join(t.TempDir(), "a.png")
	f, err := os.Create(empty)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, image.NewGray(image.Rect(0, 0, 96, 64))))
	require.NoError(t, f.Close())
	for _, tt := range []struct {
		name string
		args []string
		want string
	}{
		{"argument", []string{"x"}, `"x" is not a flag`},
		{"loss", []string{"-loss", "mse"}, `-loss "mse": want sam, micro-sam or bce`},
		{"slide", []string{"-slide", "s.svs"}, "-slide and -annotations go together"},
		{"data", []string{"-data", "pairs"}, `-data "pairs": want KIND=FOLDER,FOLDER`},
		{"kind", []string{"-data", "x=a,b"}, `kind "x" is not known`},
		{"scale", []string{"-test", "pairs=a,b,c"}, `"c" is not micrometres per pixel`},
		{"no object", []string{"-data", "pairs=" + images + "," + filepath.Dir(empty)}, "no object on 1 fields"},
		{"model", []string{"-data", "pairs=" + images + "," + masks, "-model", filepath.Join(t.TempDir(), "none.pth")}, "none.pth"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := finetune(t, append(tt.args, "-out", filepath.Join(t.TempDir(), "out"))...)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	_, err = finetune(t, "-no-such-flag")
	assert.True(t, errors.Is(err, flag.ErrHelp))
}

// TestDemo: the demonstration's fields have nuclei and are not H&E.
func TestDemo(t *testing.T) {
	d, err := dark(trainSlides[:1]).Load(context.Background(), 0)
	require.NoError(t, err)
	f, _, err := field(d)
	require.NoError(t, err)
	assert.Greater(t, len(f.Objects), 10)
	h, err := old().Load(context.Background(), 0)
	require.NoError(t, err)
	r, _, b, _ := d.Image.At(3, 3).RGBA()
	assert.LessOrEqual(t, r, b)
	r, _, b, _ = h.Image.At(3, 3).RGBA()
	assert.Greater(t, r+b, uint32(0x10000))
}
