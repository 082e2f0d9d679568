package sam_test

import (
	"context"
	"errors"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

// disks is a field of dark disks on light ground.
func disks(t *testing.T, w, h int, at ...[3]float64) sam.TrainingField {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	f := sam.TrainingField{Name: "disks", Image: img}
	in := func(d [3]float64, x, y int) bool {
		return math.Hypot(float64(x)+0.5-d[0], float64(y)+0.5-d[1]) < d[2]
	}
	for _, d := range at {
		m, err := sam.NewMask(sam.Size{H: h, W: w}, func(x, y int) bool { return in(d, x, y) })
		require.NoError(t, err)
		f.Objects = append(f.Objects, m)
	}
	for y := range h {
		for x := range w {
			c := color.RGBA{230, 220, 235, 255}
			for _, d := range at {
				if in(d, x, y) {
					c = color.RGBA{90, 60, 140, 255}
				}
			}
			img.SetRGBA(x, y, c)
		}
	}
	return f
}

func bundledCheckpoint(t *testing.T) *weights.Checkpoint {
	t.Helper()
	ck, err := bundled.Checkpoint()
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, ck.Close()) })
	return ck
}

func sixDisks(t *testing.T) []sam.TrainingField {
	return []sam.TrainingField{disks(t, 90, 70, [3]float64{15, 20, 9}, [3]float64{45, 20, 10}, [3]float64{75, 20, 8},
		[3]float64{15, 50, 9}, [3]float64{45, 50, 8}, [3]float64{75, 50, 10})}
}

// TestFineTune: a run that is cut off goes on to the same weights, which the
// checkpoint's file and the model have.
func TestFineTune(t *testing.T) {
	ctx, ck, fields := context.Background(), bundledCheckpoint(t), sixDisks(t)
	o := sam.FineTuneOptions{Steps: 4, Objects: 1, Corrections: 1, Every: 2, Turns: 2, Seed: 7}
	var seen sam.FineTuneProgress
	o.Progress = func(p sam.FineTuneProgress) { seen = p }
	whole, err := sam.FineTune(ctx, ck, fields, o)
	require.NoError(t, err)
	assert.Equal(t, []int{4, 4, 2, 2}, []int{seen.Step, seen.Steps, seen.Embedded, seen.Embeddings})
	assert.Len(t, whole.Steps, 4)
	require.Len(t, whole.Scores, 3)
	assert.Len(t, whole.HeldBack[0], 1)
	assert.Greater(t, whole.Scores[0].Box, 0.5)

	cut, cancel := context.WithCancel(ctx)
	o.State = filepath.Join(t.TempDir(), "state")
	o.Progress = func(p sam.FineTuneProgress) {
		if p.Step == 3 {
			cancel()
		}
	}
	_, err = sam.FineTune(cut, ck, fields, o)
	require.ErrorIs(t, err, context.Canceled)
	o.Progress = nil
	resumed, err := sam.FineTune(ctx, ck, fields, o)
	require.NoError(t, err)
	assert.Equal(t, whole.Steps, resumed.Steps)
	want, got := fingerprint(t, whole), fingerprint(t, resumed)
	assert.Equal(t, want, got)
	m, err := sam.Bundled()
	require.NoError(t, err)
	assert.NotEqual(t, m.Fingerprint(), want)

	out, err := resumed.Checkpoint()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "tuned.safetensors")
	require.NoError(t, out.Save(ctx, path, weights.ConvertOptions{}))
	loaded, err := sam.Load(path)
	require.NoError(t, err)
	assert.Equal(t, want, loaded.Fingerprint())
	assert.Equal(t, m.Defaults(), loaded.Defaults(), "of the model that it began with")

	o.Device = "cuda:99"
	_, err = sam.FineTune(ctx, ck, fields, o)
	require.ErrorIs(t, err, sam.ErrNoDevice)
	o.Device = sam.CPU
	onCPU, err := sam.FineTune(ctx, ck, fields, o)
	require.NoError(t, err)
	assert.Equal(t, want, fingerprint(t, onCPU), "goes on from the state that had no device")

	o.Seed = 8
	_, err = sam.FineTune(ctx, ck, fields, o)
	require.ErrorIs(t, err, sam.ErrTrainingState)
	assert.ErrorContains(t, err, "other pictures, weights or options")
	require.NoError(t, os.WriteFile(o.State, []byte("slidesam"), 0o600))
	_, err = sam.FineTune(ctx, ck, fields, o)
	require.ErrorIs(t, err, sam.ErrTrainingState)
}

func fingerprint(t *testing.T, f *sam.FineTuned) [16]byte {
	t.Helper()
	m, err := f.Model()
	require.NoError(t, err)
	return m.Fingerprint()
}

// TestFineTuneLoRA: the model merged here and the file in micro-sam's names,
// which Load merges, are one model.
func TestFineTuneLoRA(t *testing.T) {
	ctx, ck := context.Background(), bundledCheckpoint(t)
	o := sam.FineTuneOptions{Steps: 2, Objects: 1, Corrections: -1, Every: 2, Turns: 1, HeldBack: -1, LoRA: 2, LoRABlocks: 2, Rate: 1e-3}
	tuned, err := sam.FineTune(ctx, ck, sixDisks(t), o)
	require.NoError(t, err)
	want := fingerprint(t, tuned)
	adapted, err := tuned.Adapted()
	require.NoError(t, err)
	for _, name := range []string{
		"image_encoder.blocks.5.attn.qkv.qkv_proj.weight", "image_encoder.blocks.4.attn.qkv.qkv_proj.bias",
		"image_encoder.blocks.4.attn.qkv.w_a_linear_q.weight", "image_encoder.blocks.5.attn.qkv.w_b_linear_v.weight",
		"image_encoder.blocks.3.attn.qkv.weight",
	} {
		_, ok := adapted.Shape(name)
		assert.True(t, ok, name)
	}
	path := filepath.Join(t.TempDir(), "lora.safetensors")
	require.NoError(t, adapted.Save(ctx, path, weights.ConvertOptions{}))
	loaded, err := sam.Load(path)
	require.NoError(t, err)
	assert.Equal(t, want, loaded.Fingerprint())
	m, err := sam.Bundled()
	require.NoError(t, err)
	assert.Equal(t, m.Defaults(), loaded.Defaults(), "of the model that it began with")

	out, err := tuned.Checkpoint()
	require.NoError(t, err)
	const qkv = "image_encoder.blocks.5.attn.qkv.weight"
	before, err := ck.Tensor(qkv)
	require.NoError(t, err)
	after, err := out.Tensor(qkv)
	require.NoError(t, err)
	a, err := before.Float32s()
	require.NoError(t, err)
	b, err := after.Float32s()
	require.NoError(t, err)
	third := len(a) / 3
	assert.NotEqual(t, a[:third], b[:third], "queries")
	assert.Equal(t, a[third:2*third], b[third:2*third], "keys")
	assert.NotEqual(t, a[2*third:], b[2*third:], "values")
}

func TestFineTuneErrors(t *testing.T) {
	ck := bundledCheckpoint(t)
	other := disks(t, 50, 50, [3]float64{20, 20, 9})
	empty, err := sam.NewMask(sam.Size{H: 70, W: 90}, func(int, int) bool { return false })
	require.NoError(t, err)
	full, err := sam.NewMask(sam.Size{H: 70, W: 90}, func(int, int) bool { return true })
	require.NoError(t, err)
	for _, tt := range []struct {
		name   string
		change func(f *[]sam.TrainingField, o *sam.FineTuneOptions)
		want   string
		is     error
	}{
		{"no field", func(f *[]sam.TrainingField, _ *sam.FineTuneOptions) { *f = nil }, "no object on 0 fields", sam.ErrAnnotations},
		{"no object", func(f *[]sam.TrainingField, _ *sam.FineTuneOptions) { (*f)[0].Objects = nil }, "no object on 1 fields", sam.ErrAnnotations},
		{"no picture", func(f *[]sam.TrainingField, _ *sam.FineTuneOptions) { (*f)[0].Image = nil }, "field disks has no picture", sam.ErrAnnotations},
		{"empty", func(f *[]sam.TrainingField, _ *sam.FineTuneOptions) { (*f)[0].Objects[1] = empty }, "field disks: object 1 is empty: it may lie outside the picture", sam.ErrAnnotations},
		{"full", func(f *[]sam.TrainingField, _ *sam.FineTuneOptions) { (*f)[0].Objects[1] = full }, "object 1 fills the picture", sam.ErrAnnotations},
		{"size", func(f *[]sam.TrainingField, _ *sam.FineTuneOptions) { (*f)[0].Objects[1] = other.Objects[0] }, "object 1 is for a picture of 50 x 50, not 90 x 70", sam.ErrAnnotations},
		{"rank", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.LoRA = 1000 }, "adapters of rank 1000", nil},
		{"negative rank", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.LoRA = -1 }, "low-rank matrices of rank -1", nil},
		{"turns", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.Turns = 9 }, "9 turns, want 1 to 8", nil},
		{"rate", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.Rate = -1 }, "learning rate -1", nil},
		{"held back", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.HeldBack = 1 }, "none would be left", nil},
		{"loss", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.Loss = 9 }, "unknown loss 9", nil},
		{"steps", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.Steps = -1 }, "0 steps", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fields, o := sixDisks(t), sam.FineTuneOptions{}
			tt.change(&fields, &o)
			got, err := sam.FineTune(context.Background(), ck, fields, o)
			assert.Nil(t, got)
			require.ErrorContains(t, err, tt.want)
			assert.ErrorContains(t, err, "sam: fine-tune: ")
			if tt.is != nil {
				assert.ErrorIs(t, err, tt.is)
			}
		})
	}
}

// TestFineTuneDiverges: a rate beyond all measure is an error, with what was
// best before.
func TestFineTuneDiverges(t *testing.T) {
	o := sam.FineTuneOptions{Steps: 30, Objects: 1, Corrections: -1, Every: 1, Turns: 1, Rate: 1e30, Patience: -1}
	got, err := sam.FineTune(context.Background(), bundledCheckpoint(t), sixDisks(t), o)
	require.ErrorIs(t, err, sam.ErrDiverged)
	require.NotNil(t, got)
	m, merr := got.Model()
	require.NoError(t, merr)
	before, merr := sam.Bundled()
	require.NoError(t, merr)
	assert.Equal(t, before.Fingerprint(), m.Fingerprint(), "nothing was better than the beginning")
	assert.False(t, errors.Is(err, sam.ErrAnnotations))
}

// TestCheckpointWith: tensors are replaced by name and shape only.
func TestCheckpointWith(t *testing.T) {
	ck := weights.FromTensors(map[string]weights.TensorData{"a": {Shape: []int{2}, Data: []float32{1, 2}}, "b": {Shape: []int{1}, Data: []float32{3}}})
	out, err := ck.With(map[string]weights.TensorData{"b": {Shape: []int{1}, Data: []float32{4}}})
	require.NoError(t, err)
	for _, tt := range []struct {
		ck   *weights.Checkpoint
		name string
		want []float32
	}{{out, "a", []float32{1, 2}}, {out, "b", []float32{4}}, {ck, "b", []float32{3}}} {
		x, err := tt.ck.Tensor(tt.name)
		require.NoError(t, err)
		v, err := x.Float32s()
		require.NoError(t, err)
		assert.Equal(t, tt.want, v)
	}
	_, err = ck.With(map[string]weights.TensorData{"c": {Shape: []int{1}, Data: []float32{4}}})
	require.ErrorIs(t, err, weights.ErrUnexpected)
	_, err = ck.With(map[string]weights.TensorData{"a": {Shape: []int{1}, Data: []float32{4}}})
	require.ErrorIs(t, err, weights.ErrShape)
}
