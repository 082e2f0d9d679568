package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRun(t *testing.T) {
	dir := t.TempDir()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), dir, &out))
	assert.Equal(t, 7, strings.Count(out.String(), "predicted IoU"))
	assert.FileExists(t, filepath.Join(dir, "overlay.png"))
	b, err := os.ReadFile(filepath.Join(dir, "masks.geojson"))
	require.NoError(t, err)
	var fc struct{ Features []json.RawMessage }
	require.NoError(t, json.Unmarshal(b, &fc))
	assert.Len(t, fc.Features, 7)
}
