package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/sbinet/npyio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShardsAreRepeatable(t *testing.T) {
	a, b := t.TempDir(), t.TempDir()
	require.NoError(t, run(a, 70, 3, 64, 2, 0.3, 0))
	require.NoError(t, run(b, 70, 3, 64, 2, 0.3, 0))
	files, err := filepath.Glob(filepath.Join(a, "*"))
	require.NoError(t, err)
	assert.Len(t, files, 10) // two shards of five files
	for _, f := range files {
		x, err := os.ReadFile(f)
		require.NoError(t, err)
		y, err := os.ReadFile(filepath.Join(b, filepath.Base(f)))
		require.NoError(t, err)
		assert.Equal(t, x, y, filepath.Base(f))
	}
}

func TestShardReadsBack(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, run(dir, 9, 1, 96, 1, 0, 0.5))
	var index []entry
	b, err := os.ReadFile(filepath.Join(dir, "0000-index.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &index))
	require.Len(t, index, 1)
	assert.Equal(t, 0.5, index[0].MPP)
	f, err := os.Open(filepath.Join(dir, "0000-nuclei.npy"))
	require.NoError(t, err)
	defer f.Close()
	r, err := npyio.NewReader(f)
	require.NoError(t, err)
	assert.Equal(t, []int{1, 96, 96}, r.Header.Descr.Shape)
	var labels []uint16
	require.NoError(t, r.Read(&labels))
	most := 0
	for _, v := range labels {
		most = max(most, int(v))
	}
	assert.Equal(t, index[0].Nuclei, most)
}

func TestUnwritable(t *testing.T) {
	f := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(f, nil, 0o600))
	assert.Error(t, run(f, 1, 1, 64, 1, 0, 0.5))
}
