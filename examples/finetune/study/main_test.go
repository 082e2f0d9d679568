package main

import (
	"bytes"
	"encoding/json"
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

	"github.com/slidesam/sam/internal/cli"
)

// discs writes two pictures of discs and their masks, as -data takes them.
func discs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for k, shade := range []uint8{60, 110} {
		img, mask := image.NewRGBA(image.Rect(0, 0, 96, 64)), image.NewGray(image.Rect(0, 0, 96, 64))
		for y := range 64 {
			for x := range 96 {
				c := color.RGBA{230, 190, 215, 255}
				if dx, dy := x%32-16, y%32-16; dx*dx+dy*dy < 64 {
					c = color.RGBA{shade + 30, shade, 140, 255}
					mask.SetGray(x, y, color.Gray{255})
				}
				img.SetRGBA(x, y, c)
			}
		}
		for folder, p := range map[string]image.Image{"i": img, "m": mask} {
			require.NoError(t, os.MkdirAll(filepath.Join(dir, folder), 0o755))
			f, err := os.Create(filepath.Join(dir, folder, fmt.Sprintf("%c.png", 'a'+k)))
			require.NoError(t, err)
			require.NoError(t, png.Encode(f, p))
			require.NoError(t, f.Close())
		}
	}
	return "pairs=" + filepath.Join(dir, "i") + "," + filepath.Join(dir, "m")
}

// TestRun: each picture is left out once, and a study that is done is not done
// again.
func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "study.json")
	args := strings.Fields("-train 1 -seeds 1 -steps 1 -objects 1 -corrections -1 -turns 1 -held-back -1 -measure 2 -clicks 2 -click-objects 1 -synthetic 0 -out " + path)
	args = append(args, "-data", discs(t))
	var out, log bytes.Buffer
	require.NoError(t, run(t.Context(), args, &out, &log))
	assert.Equal(t, 4, strings.Count(log.String(), ": done"), "two as they were, two that learned")
	assert.Regexp(t, `\| 1 +\| left out +\| total points +\| union Dice +\| \d\.\d{3} `, out.String())
	assert.Regexp(t, `clicks to 0\.90, at most 2 +\| clicks`, out.String())
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	var f file
	require.NoError(t, json.Unmarshal(b, &f))
	require.Len(t, f.Records, 4)
	for _, r := range f.Records {
		if r.Train == 1 {
			assert.NotContains(t, r.From, r.Left)
			assert.Len(t, r.From, 1)
		}
	}

	first := out.String()
	out.Reset()
	log.Reset()
	require.NoError(t, run(t.Context(), args, &out, &log))
	assert.Equal(t, first, out.String())
	assert.Empty(t, log.String())
	require.ErrorContains(t, run(t.Context(), append(args, "-rate", "1"), &out, &log), "holds another study")
	require.NoError(t, os.WriteFile(path, []byte("{"), 0o600))
	require.ErrorContains(t, run(t.Context(), args, &out, &log), "is not what a study keeps")
}

func TestUsage(t *testing.T) {
	data := discs(t)
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "-data is missing"},
		{[]string{"-data", data, "x"}, `"x" is not a flag`},
		{[]string{"-data", data, "-train", "0"}, "want numbers of pictures"},
		{[]string{"-data", data, "-train", "2"}, "there are 2 pictures, of which one is left out"},
		{[]string{"-data", data, "-seeds", "0"}, "-seeds want at least 1"},
		{[]string{"-data", data, "-loss", "mse"}, "want sam, micro-sam or bce"},
		{[]string{"-data", "x=a,b"}, `kind "x" is not known`},
	} {
		t.Run(tt.want, func(t *testing.T) {
			err := run(t.Context(), append(tt.args, "-out", filepath.Join(t.TempDir(), "s.json")), &bytes.Buffer{}, &bytes.Buffer{})
			require.ErrorContains(t, err, tt.want)
			var usage *cli.UsageError
			assert.ErrorAs(t, err, &usage)
		})
	}
}
