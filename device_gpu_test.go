//go:build gpu && cgo && linux

package sam_test

import (
	"context"
	"errors"
	"math"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/tensortest"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/vit/tinyvit"
	"github.com/slidesam/sam/weights"
)

// onGPU returns m on the first GPU; where there is none it skips the test, and
// fails it with SAM_CUDA set, as the gate does.
func onGPU(t *testing.T, m *sam.Model, p sam.Precision) *sam.Model {
	t.Helper()
	c, err := m.On("cuda:0", p)
	if errors.Is(err, sam.ErrNoDevice) && os.Getenv("SAM_CUDA") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	return c
}

// needsStandIn skips the test on a real GPU.
func needsStandIn(t *testing.T, m *sam.Model) {
	t.Helper()
	if !strings.HasPrefix(m.Device().Model, "stand-in") {
		t.Skip("not on the stand-in for libcuda.so.1")
	}
}

// TestParityOnGPU compares with segment_anything as TestParitySmall does, and
// the published sizes too if SAM_PARITY is "full", on a real GPU.
func TestParityOnGPU(t *testing.T) {
	for _, name := range golden.List() {
		if strings.HasPrefix(name, "full_") && os.Getenv("SAM_PARITY") != "full" || !strings.HasPrefix(name, "full_") && !strings.HasPrefix(name, "small_") {
			continue
		}
		t.Run(name, func(t *testing.T) {
			ref, err := golden.LoadModel(name)
			require.NoError(t, err)
			m, err := sam.NewRandom(configOf(ref.Config), ref.Seed)
			require.NoError(t, err)
			parityModel(t, name, ref, onGPU(t, m, sam.FP32))
		})
	}
}

// What the GPU computes can be used on the CPU and the other way round, in any
// order; alone, in batches and from several goroutines a GPU gives the same
// bits.
func TestGPUBesideCPU(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 1)
	g := onGPU(t, m, sam.FP32)
	assert.Equal(t, "cuda:0", g.Device().Name)
	assert.Equal(t, m.Fingerprint(), g.Fingerprint())
	e, err := m.Embed(ctx, picture())
	require.NoError(t, err)
	ge, err := g.Embed(ctx, picture())
	require.NoError(t, err)
	want, _ := e.Tensor()
	got, _ := ge.Tensor()
	assert.LessOrEqual(t, tensortest.RelL2(want, got), 1e-5)

	ps := prompts(lowRes(t, m, e))
	onCPU, err := m.PredictBatch(ctx, e, ps, sam.PredictOptions{KeepLogits: true})
	require.NoError(t, err)
	var wg sync.WaitGroup
	for _, of := range []*sam.Embedding{e, ge} {
		batch, err := g.PredictBatch(ctx, of, ps, sam.PredictOptions{KeepLogits: true})
		require.NoError(t, err)
		for i, p := range ps {
			for k := range onCPU[i].Logits {
				tensortest.Close(t, onCPU[i].Logits[k].Data, batch[i].Logits[k].Data, 5e-5, 1e-5)
			}
			wg.Go(func() {
				one, err := g.Predict(ctx, of, p, sam.PredictOptions{KeepLogits: true})
				if assert.NoError(t, err) {
					assert.Equal(t, batch[i].Logits, one.Logits)
				}
			})
		}
		wg.Wait()
	}
	again, err := m.PredictBatch(ctx, e, ps, sam.PredictOptions{KeepLogits: true})
	require.NoError(t, err)
	for i := range ps {
		equalPrediction(t, onCPU[i], again[i], "what the GPU left with the embedding is not used on the CPU")
	}
}

// Regions, which come of many masks, are the CPU's.
func TestEverythingOnGPU(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 1)
	g := onGPU(t, m, sam.FP32)
	o := sam.EverythingOptions{PointsPerSide: 6, PredIoUThresh: -1, StabilityScoreThresh: -1, BoxNMSThresh: 1}
	want, err := m.Everything(ctx, picture(), o)
	require.NoError(t, err)
	got, err := g.Everything(ctx, picture(), o)
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		assert.InDelta(t, want[i].IoUPred, got[i].IoUPred, 1e-4)
		assert.GreaterOrEqual(t, want[i].Mask.IoU(got[i].Mask), 0.999)
	}
	assert.Greater(t, len(want), 2)
}

// Another precision is another model.
func TestGPUPrecision(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 1)
	e, err := m.Embed(ctx, picture())
	require.NoError(t, err)
	want, _ := e.Tensor()
	seen := map[[16]byte]bool{m.Fingerprint(): true}
	for p, most := range map[sam.Precision]float64{sam.TF32: 2e-3, sam.FP16: 2e-3, sam.BF16: 2e-2} {
		g, err := m.On("cuda:0", p)
		if errors.Is(err, sam.ErrNoDevice) && os.Getenv("SAM_CUDA") == "" {
			t.Skip(err)
		}
		require.NoError(t, err)
		for _, c := range []*sam.Model{g, g.Mirrored()} {
			assert.False(t, seen[c.Fingerprint()], p)
			seen[c.Fingerprint()] = true
		}
		back, err := g.On(sam.CPU, sam.FP32)
		require.NoError(t, err)
		assert.Equal(t, m.Fingerprint(), back.Fingerprint())
		mirrored, err := m.Mirrored().On("cuda:0", p)
		require.NoError(t, err)
		assert.Equal(t, mirrored.Fingerprint(), g.Mirrored().Fingerprint())
		_, err = g.Predict(ctx, e, sam.Prompt{}, sam.PredictOptions{})
		assert.ErrorIs(t, err, sam.ErrOtherModel)
		ge, err := g.Embed(ctx, picture())
		require.NoError(t, err)
		got, _ := ge.Tensor()
		d := tensortest.RelL2(want, got)
		t.Logf("%v: relative L2 %.1e", p, d)
		assert.LessOrEqual(t, d, most, p)
		assert.Greater(t, d, 1e-6, p)
		r, err := g.Predict(ctx, ge, sam.Prompt{Box: &sam.Box{X0: 20, Y0: 10, X1: 120, Y1: 80}}, sam.PredictOptions{})
		require.NoError(t, err)
		assert.False(t, math.IsNaN(float64(r.IoUPred[0])))
	}
}

// A GPU without room, one that is too old and one that falls off give errors
// that say so; Auto goes to the CPU and says why.
func TestGPUFaults(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 1)
	g := onGPU(t, m, sam.FP32)
	needsStandIn(t, g)
	e, err := g.Embed(ctx, picture())
	require.NoError(t, err)

	t.Run("memory", func(t *testing.T) {
		t.Setenv("STANDIN_MEMORY", "1000")
		other := tinyModel(t, 2)
		_, err := other.On("cuda:0", sam.FP32)
		require.ErrorIs(t, err, sam.ErrDeviceMemory)
		c, err := other.On(sam.Auto, sam.FP32)
		require.NoError(t, err)
		assert.Equal(t, sam.CPU, c.Device().Name)
		assert.Contains(t, c.Device().Why, "out of device memory of stand-in")
		_, err = c.Embed(ctx, picture())
		assert.NoError(t, err)
	})
	t.Run("no such GPU", func(t *testing.T) {
		_, err := m.On("cuda:1", sam.FP32)
		require.ErrorIs(t, err, sam.ErrNoDevice)
		assert.ErrorContains(t, err, "device 1 of 1")
	})
	t.Run("too old", func(t *testing.T) {
		t.Setenv("STANDIN_DEVICES", "2")
		t.Setenv("STANDIN_CC", "70")
		_, err := m.On("cuda:1", sam.FP32)
		require.ErrorIs(t, err, sam.ErrNoDevice)
		assert.ErrorContains(t, err, "compute capability 7.0")
		t.Setenv("STANDIN_CC", "90")
		t.Setenv("STANDIN_DRIVER", "11080")
		_, err = m.On("cuda:1", sam.FP32)
		assert.ErrorContains(t, err, "driver is too old")
	})
	t.Run("Turing has no tensor cores for BF16", func(t *testing.T) {
		t.Setenv("STANDIN_DEVICES", "2")
		t.Setenv("STANDIN_CC", "75")
		_, err := m.On("cuda:1", sam.BF16)
		require.ErrorIs(t, err, sam.ErrNoDevice)
		assert.ErrorContains(t, err, "compute capability 7.5, want 8.0 (Ampere)")
		c, err := m.On("cuda:1", sam.FP32)
		require.NoError(t, err)
		_, err = c.Embed(ctx, picture())
		assert.NoError(t, err)
	})
	t.Run("lost", func(t *testing.T) {
		t.Setenv("STANDIN_LOSE", "3")
		r, err := g.Predict(ctx, e, sam.Prompt{Points: []sam.Point{{X: 40, Y: 30, Label: sam.Foreground}}}, sam.PredictOptions{})
		require.ErrorIs(t, err, sam.ErrDeviceLost)
		assert.Nil(t, r)
		_, err = g.Embed(ctx, picture())
		require.ErrorIs(t, err, sam.ErrDeviceLost)
		_, err = m.Embed(ctx, picture())
		require.NoError(t, err, "the CPU works as before")
		t.Setenv("STANDIN_LOSE", "-1")
		again, err := m.On("cuda:0", sam.FP32)
		require.NoError(t, err, "it is back")
		_, err = again.Embed(ctx, picture())
		require.NoError(t, err)
	})
}

// Both networks of an instance model run on the GPU, with the pictures'
// statistics and with the training's, and so does MobileSAM's encoder. Where
// the decoder has no room, Auto takes the whole model to the CPU.
func TestInstancesOnGPU(t *testing.T) {
	ctx := context.Background()
	m := tinyInstances(t, tinyDecoder())
	onGPU(t, tinyModel(t, 1), sam.FP32) // or skip
	g, err := m.On("cuda:0", sam.FP32)
	require.NoError(t, err)
	assert.Equal(t, "cuda:0", g.Device().Name)
	assert.Equal(t, m.Fingerprint(), g.Fingerprint())
	for _, o := range []sam.InstanceOptions{{}, {RunningStats: true}} {
		want, err := m.Predict(ctx, picture(), o)
		require.NoError(t, err)
		got, err := g.Predict(ctx, picture(), o)
		require.NoError(t, err)
		tensortest.Close(t, want.Foreground, got.Foreground, 1e-4, 0)
		tensortest.Close(t, want.Centre, got.Centre, 1e-4, 0)
		tensortest.Close(t, want.Boundary, got.Boundary, 1e-4, 0)
	}
	c := tiny()
	c.Encoder = vit.Config{ImageSize: 256, Patch: 16, Out: 32}
	c.TinyViT = &tinyvit.Config{ImageSize: 256, Hidden: 4, Out: 32, Stages: [4]tinyvit.Stage{
		{Width: 8, Depth: 1, Hidden: 16}, {Width: 16, Depth: 1, Hidden: 32, Heads: 2, Window: 7},
		{Width: 24, Depth: 2, Hidden: 48, Heads: 3, Window: 14}, {Width: 320, Depth: 1, Hidden: 64, Heads: 10, Window: 7},
	}}
	c.Prompt.ImageSize = 256
	mobile, err := sam.NewRandom(c, 3)
	require.NoError(t, err)
	e, err := mobile.Embed(ctx, picture())
	require.NoError(t, err)
	ge, err := onGPU(t, mobile, sam.FP32).Embed(ctx, picture())
	require.NoError(t, err)
	want, _ := e.Tensor()
	got, _ := ge.Tensor()
	assert.LessOrEqual(t, tensortest.RelL2(want, got), 1e-5)

	t.Run("memory", func(t *testing.T) {
		needsStandIn(t, onGPU(t, tinyModel(t, 1), sam.FP32))
		wide := tinyDecoder()
		wide.Features = [4]int{128, 64, 32, 16}
		m := tinyInstances(t, wide)
		t.Setenv("STANDIN_MEMORY", "12000000")
		_, err := m.On("cuda:0", sam.FP32)
		require.ErrorIs(t, err, sam.ErrDeviceMemory)
		a, err := m.On(sam.Auto, sam.FP32)
		require.NoError(t, err)
		assert.Equal(t, sam.CPU, a.Device().Name)
		assert.Contains(t, a.Device().Why, "out of device memory")
		_, err = a.Predict(ctx, picture(), sam.InstanceOptions{})
		require.NoError(t, err)
	})
}

// TestFineTuneOnGPU: fields that the GPU embeds teach what those of the CPU do.
func TestFineTuneOnGPU(t *testing.T) {
	onGPU(t, tinyModel(t, 1), sam.FP32)
	ck, err := weights.Open("internal/golden/testdata/hf_small.safetensors")
	require.NoError(t, err)
	defer ck.Close()
	fields := sixDisks(t)
	o := sam.FineTuneOptions{Steps: 2, Objects: 1, Corrections: -1, Turns: 1, Seed: 7}
	want, err := sam.FineTune(context.Background(), ck, fields, o)
	require.NoError(t, err)
	o.Device = "cuda:0"
	got, err := sam.FineTune(context.Background(), ck, fields, o)
	require.NoError(t, err)
	require.Len(t, got.Steps, len(want.Steps))
	assert.NotEqual(t, want.Steps, got.Steps, "sums in another order: the GPU was used")
	for i, s := range want.Steps {
		assert.InDelta(t, s.Loss, got.Steps[i].Loss, 1e-3*s.Loss, "embeddings within 1e-5 of each other")
	}
}
