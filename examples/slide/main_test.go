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
