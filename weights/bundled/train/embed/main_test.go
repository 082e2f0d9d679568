package main

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRun embeds a picture once, as the model does.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	img := image.NewNRGBA(image.Rect(0, 0, 40, 30))
	for i := range img.Pix {
		img.Pix[i] = byte(i * 7)
	}
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, img))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.png"), b.Bytes(), 0o600))
	require.NoError(t, run(t.Context(), "", dir, 1))
	path := filepath.Join(dir, "a.npy")
	got, err := os.ReadFile(path)
	require.NoError(t, err)
	m, err := load("")
	require.NoError(t, err)
	e, err := m.Embed(t.Context(), img)
	require.NoError(t, err)
	data, shape := e.Tensor()
	assert.Equal(t, [3]int{128, 64, 64}, shape)
	var want bytes.Buffer
	require.NoError(t, binary.Write(&want, binary.LittleEndian, data))
	require.Len(t, got, 128+want.Len())
	assert.Contains(t, string(got[:128]), "'descr': '<f4', 'fortran_order': False, 'shape': (128, 64, 64), }")
	assert.True(t, bytes.Equal(want.Bytes(), got[128:]))

	require.NoError(t, os.WriteFile(path, []byte("kept"), 0o600))
	require.NoError(t, run(t.Context(), "", dir, 0))
	got, err = os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "kept", string(got))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "b.png"), []byte("no picture"), 0o600))
	assert.ErrorContains(t, run(t.Context(), "", dir, 0), "b.png")
	assert.ErrorContains(t, run(t.Context(), "", "", 0), "no folder given")
}
