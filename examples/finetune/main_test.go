package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

// TestRun is the example with less of everything.
func TestRun(t *testing.T) {
	var out bytes.Buffer
	path := filepath.Join(t.TempDir(), "tuned.safetensors")
	o := sam.FineTuneOptions{Steps: 1, Objects: 1, Corrections: -1, Turns: 1, HeldBack: -1, Seed: 1}
	require.NoError(t, run(t.Context(), 1, 1, o, path, &out))
	for _, want := range []string{"1 of 1 pictures embedded, step 1 of 1", "fluorescence  total points", "H&E   total boxes"} {
		assert.Contains(t, out.String(), want)
	}
	before, err := sam.Bundled()
	require.NoError(t, err)
	after, err := sam.Load(path)
	require.NoError(t, err)
	assert.NotEqual(t, before.Fingerprint(), after.Fingerprint())
}
