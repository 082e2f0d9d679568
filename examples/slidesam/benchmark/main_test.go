package benchmark

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/weights/bundled"
)

func TestRun(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	path := filepath.Join(t.TempDir(), "figures.json")
	var out strings.Builder
	require.NoError(t, run(context.Background(), []string{
		"-runs", "1", "-scaling", "-everything", "-points-per-side", "4", "-pass", "0.3", "-json", path}, &out))
	var r report
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &r))
	assert.Equal(t, "bundled", r.Model)
	var what []string
	for _, f := range r.Figures {
		what = append(what, f.What)
		assert.Contains(t, out.String(), f.What)
		assert.Positive(t, f.Best, f.What)
		assert.GreaterOrEqual(t, f.Median, f.Best, f.What)
		if strings.HasPrefix(f.What, "encode") {
			assert.Positive(t, f.Share, f.What) // above 1 where a busy machine slows the measurement of the rate
			assert.InEpsilon(t, 2*r.GMACs/f.Best/f.FMARate, f.Share, 1e-9, f.What)
		}
	}
	assert.Equal(t, []string{"load", "encode", "encode, 1 thread", "encode, 2 threads", "one point", "64 points", "everything, 4 x 4 points"}, what)
	assert.InEpsilon(t, r.Figures[2].Best/r.Figures[3].Best, r.Scaling, 1e-9)
	require.NotNil(t, r.Figures[6].Masks)
	assert.Positive(t, *r.Figures[6].Masks)
}

// TestPrecision: the figures say in what they were measured.
func TestPrecision(t *testing.T) {
	path := filepath.Join(t.TempDir(), "figures.json")
	require.NoError(t, run(context.Background(), []string{"-runs", "1", "-prompts=false", "-precision", "int8", "-json", path}, io.Discard))
	var r report
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &r))
	assert.Equal(t, "bundled, int8", r.Model)
	assert.Contains(t, r.Kernels, ", int8 ")
	err = run(context.Background(), []string{"-runs", "1", "-precision", "bf16"}, io.Discard)
	assert.ErrorIs(t, err, sam.ErrNoDevice)
}

// TestThresholds checks that the thresholds let the share pass that was asked
// for: of the grid that they were chosen on, to a few masks.
func TestThresholds(t *testing.T) {
	ctx := context.Background()
	m, err := sam.Bundled()
	require.NoError(t, err)
	e, err := m.Embed(ctx, bundled.Picture())
	require.NoError(t, err)
	count := func(iou, stability float64) int {
		rs, err := m.EverythingIn(ctx, e, sam.EverythingOptions{
			PointsPerSide: 8, PredIoUThresh: iou, StabilityScoreThresh: stability, BoxNMSThresh: 2})
		require.NoError(t, err)
		return len(rs)
	}
	all := count(-1, -1)
	for _, share := range []float64{0.1, 0.3} {
		iou, stability, err := thresholds(ctx, m, e, share)
		require.NoError(t, err)
		assert.InDelta(t, share*float64(all), count(iou, stability), 2, "share %g", share)
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
		"-runs 0: want at least 1":  {"-runs", "0"},
		"-points-per-side 0: want":  {"-points-per-side", "0"},
		"want a share":              {"-pass", "1.5"},
		"want vit_b, vit_l or":      {"-random", "vit_x"},
		"unknown argument":          {"sam.pth"},
		"none.pth":                  {"-model", "none.pth"},
		"none.png":                  {"-picture", "none.png"},
		"flag provided but not def": {"-hat"},
	} {
		assert.ErrorContains(t, run(context.Background(), args, io.Discard), want)
	}
}
