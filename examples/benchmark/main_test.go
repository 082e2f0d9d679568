package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

func TestRun(t *testing.T) {
	path := filepath.Join(t.TempDir(), "figures.json")
	var out strings.Builder
	require.NoError(t, run(context.Background(), []string{"-runs", "1", "-json", path}, &out))
	for _, s := range []string{"FMA rate", "encode", "one point", "64 points"} {
		assert.Contains(t, out.String(), s)
	}
	var r report
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &r))
	assert.Equal(t, "bundled", r.Model)
	for _, f := range r.Figures {
		assert.Positive(t, f.Best, f.What)
		assert.GreaterOrEqual(t, f.Median, f.Best, f.What)
	}
}

// TestEncoderMACs counts the encoders' work by hand: for ViT-B 12 blocks of
// 4096 tokens and 12*768^2 weights, 4 global and 8 windowed attentions, the
// patches and the neck.
func TestEncoderMACs(t *testing.T) {
	blocks := 12 * 4096 * 12 * 768.0 * 768
	global := 4 * 4096 * 768.0 * 2 * (4096 + 64)
	windows := 8 * 4096 * 768.0 * 2 * (196 + 14)
	ends := 4096*768.0*768 + 4096*(768*256+9*256*256.0)
	assert.InEpsilon(t, blocks+global+windows+ends, encoderMACs(sam.ViTB().Encoder), 1e-12)
}

func TestErrors(t *testing.T) {
	for want, args := range map[string][]string{
		"want at least 1":           {"-runs", "0"},
		"want vit_b, vit_l or":      {"-random", "vit_x"},
		"unknown argument":          {"sam.pth"},
		"none.pth":                  {"-model", "none.pth"},
		"none.png":                  {"-picture", "none.png"},
		"flag provided but not def": {"-hat"},
	} {
		assert.ErrorContains(t, run(context.Background(), args, io.Discard), want)
	}
}
