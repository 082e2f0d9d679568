package main

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/weights/bundled"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "slide.png")
	f, err := os.Create(file)
	require.NoError(t, err)
	require.NoError(t, png.Encode(f, bundled.Picture()))
	require.NoError(t, f.Close())
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), []string{file}, filepath.Join(dir, "out"), &out))
	assert.Contains(t, out.String(), "nuclei in")
	assert.FileExists(t, filepath.Join(dir, "out", sam.GeoJSONFile))
	assert.Error(t, run(t.Context(), nil, dir, &out))
}

// TestSheets reads sheets as spreadsheets write them.
func TestSheets(t *testing.T) {
	for name, text := range map[string]string{
		"plain": "slide,out\na.svs,x\nb.svs,\n", "mark": "\xef\xbb\xbfslide,out\r\na.svs,x\r\nb.svs,\r\n",
		"semicolons": "\xef\xbb\xbfslide;out\r\na.svs;x\r\nb.svs;\r\n", "tabs": "slide\tout\na.svs\tx\nb.svs\t\n",
		"quoted": "\xef\xbb\xbf\"slide\",\"out\"\n\"a.svs\",\"x\"\n\"b.svs\",\"\"\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "sheet.csv")
			require.NoError(t, os.WriteFile(p, []byte(text), 0o600))
			got, err := readSheet(p, "out")
			require.NoError(t, err)
			dir := filepath.Dir(p)
			assert.Equal(t, []sample{{filepath.Join(dir, "a.svs"), "x"}, {filepath.Join(dir, "b.svs"), filepath.Join("out", "b")}}, got)
		})
	}
}
