package sam_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	machinery "github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/weights"
)

// TestInstanceFineTune: a decoder that learns from two fields goes on after it
// was cut off to the same weights, and its file says how it is to be used.
func TestInstanceFineTune(t *testing.T) {
	ctx := context.Background()
	m := settled(t)
	fields := append(sixDisks(t), disks(t, 90, 70, [3]float64{20, 30, 12}, [3]float64{60, 40, 12}))
	o := sam.FineTuneOptions{Steps: 2, Objects: 1, Every: 1, Turns: 1, Seed: 7, Rate: 1e-3}
	var seen sam.FineTuneProgress
	o.Progress = func(p sam.FineTuneProgress) { seen = p }
	whole, err := m.FineTune(ctx, fields, o)
	require.NoError(t, err)
	assert.Equal(t, []int{2, 2, 2, 2, 1}, []int{seen.Step, seen.Steps, seen.Embedded, seen.Embeddings, seen.Instances.Step})
	assert.Len(t, whole.Steps, 2)
	assert.Len(t, whole.Scores, 3)
	assert.Len(t, whole.HeldBack, 1)

	cut, cancel := context.WithCancel(ctx)
	o.State = filepath.Join(t.TempDir(), "state")
	o.Progress = func(p sam.FineTuneProgress) {
		if p.Step == 1 {
			cancel()
		}
	}
	_, err = m.FineTune(cut, fields, o)
	require.ErrorIs(t, err, context.Canceled)
	o.Progress = nil
	resumed, err := m.FineTune(ctx, fields, o)
	require.NoError(t, err)
	assert.Equal(t, whole.Steps, resumed.Steps)
	want, err := whole.Model()
	require.NoError(t, err)
	got, err := resumed.Model()
	require.NoError(t, err)
	assert.Equal(t, want.Fingerprint(), got.Fingerprint())

	file := filepath.Join(t.TempDir(), "decoder.safetensors")
	require.NoError(t, resumed.Checkpoint().Save(ctx, file, weights.ConvertOptions{}))
	loaded, err := sam.LoadInstances(saved(t, tensors(t, sam.Specs(tiny()), 4, under(""))), file)
	require.NoError(t, err)
	assert.Equal(t, want.Fingerprint(), loaded.Fingerprint())
	how := func(m *sam.InstanceModel) string {
		return m.Finder(sam.InstanceOptions{}, false).Name[len("instances ")+32:]
	}
	assert.Contains(t, how(m), "MinSize:7")
	assert.Equal(t, how(m), how(loaded), "its file says how it is to be used")

	o.Seed = 8
	_, err = m.FineTune(ctx, fields, o)
	require.ErrorIs(t, err, sam.ErrTrainingState)
}

func TestInstanceFineTuneErrors(t *testing.T) {
	m := settled(t)
	specks := disks(t, 90, 70, [3]float64{20, 30, 2}, [3]float64{60, 40, 2})
	known, err := sam.NewMask(sam.Size{H: 9, W: 9}, func(int, int) bool { return true })
	require.NoError(t, err)
	for _, tt := range []struct {
		name   string
		change func(f *[]sam.TrainingField, o *sam.FineTuneOptions)
		want   string
		is     error
	}{
		{"no object", func(f *[]sam.TrainingField, _ *sam.FineTuneOptions) { (*f)[0].Objects = nil }, "no object on 1 fields", sam.ErrAnnotations},
		{"all too small", func(f *[]sam.TrainingField, _ *sam.FineTuneOptions) { (*f)[0] = specks }, "no object of 1 fields has a part of 25 pixels or more: annotate at a finer scale", sam.ErrAnnotations},
		{"known", func(f *[]sam.TrainingField, _ *sam.FineTuneOptions) { (*f)[0].Known = known }, "what is known is of a picture of 9 x 9, not 90 x 70", sam.ErrAnnotations},
		{"rank", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.LoRA = 2 }, "LoRA, Corrections and Loss are of prompts", nil},
		{"loss", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.Loss = sam.LossBCE }, "LoRA, Corrections and Loss are of prompts", nil},
		{"turns", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.Turns = 9 }, "9 turns, want 1 to 8", nil},
		{"device", func(_ *[]sam.TrainingField, o *sam.FineTuneOptions) { o.Device = "cuda:99" }, "cuda:99", sam.ErrNoDevice},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fields, o := sixDisks(t), sam.FineTuneOptions{}
			tt.change(&fields, &o)
			tuned, err := m.FineTune(t.Context(), fields, o)
			require.ErrorContains(t, err, tt.want)
			assert.Nil(t, tuned)
			if tt.is != nil {
				assert.ErrorIs(t, err, tt.is)
			}
		})
	}
}

// TestInstanceFineTuneDiverges: what was best until then is kept.
func TestInstanceFineTuneDiverges(t *testing.T) {
	m, fields := settled(t), sixDisks(t)
	tuned, err := m.FineTune(t.Context(), fields, sam.FineTuneOptions{Steps: 20, Objects: 1, Every: 20, Turns: 1, Rate: 1e30})
	require.ErrorIs(t, err, sam.ErrDiverged)
	require.NotNil(t, tuned)
	kept, err := tuned.Model()
	require.NoError(t, err)
	want, err := m.Predict(t.Context(), fields[0].Image, sam.InstanceOptions{})
	require.NoError(t, err)
	got, err := kept.Predict(t.Context(), fields[0].Image, sam.InstanceOptions{})
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// settled is the tiny model with a decoder whose file says how it is used.
func settled(t *testing.T) *sam.InstanceModel {
	t.Helper()
	c := tinyDecoder()
	c.BatchNorm = true
	notes, err := machinery.Settings{MinSize: 7, RunningStats: true, AsIs: true}.Entries()
	require.NoError(t, err)
	ck, err := weights.FromTensors(tensors(t, instance.Specs(c), 5, under(""))).WithMetadata(notes)
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "decoder.safetensors")
	require.NoError(t, ck.Save(t.Context(), file, weights.ConvertOptions{}))
	m, err := sam.LoadInstances(saved(t, tensors(t, sam.Specs(tiny()), 4, under(""))), file)
	require.NoError(t, err)
	return m
}
