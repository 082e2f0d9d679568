package train_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/train"
)

var tiny = reference{Seed: 5, Config: golden.Config{
	ImgSize: 64, Patch: 8, Prompt: 32, DecoderDepth: 2, DecoderHeads: 8, DecoderMLP: 64, MaskChans: 16, IoUDepth: 3, IoUHidden: 32,
}}

func plan() train.Plan {
	r := train.DefaultRecipe()
	r.Corrections = 2
	return train.Plan{
		Seed: 3, Objects: 2, Recipe: r, Loss: train.SAMLoss(), AdamW: train.AdamWOptions{Rate: 1e-3},
		Rates: train.Schedule{Warmup: 2}, Clip: 1, Stopper: train.Stopper{Patience: 50},
	}
}

func views(t *testing.T) []train.View {
	t.Helper()
	var vs []train.View
	for i := range 2 {
		v := train.View{Embedding: golden.Values("embedding", 64*32, uint64(i))}
		for _, d := range [][3]float64{{9, 20, 5}, {20, 9, 6}, {15, 15, 4}} {
			disk := disk(32, d[0], d[1], d[2])
			disk.Cell = 2
			for j := range disk.Box {
				disk.Box[j] /= 2
			}
			v.Targets = append(v.Targets, disk)
		}
		vs = append(vs, v)
	}
	return vs
}

func start(t *testing.T) *train.Run {
	t.Helper()
	e, err := train.NewEngine(tiny.networks(t), plan().Loss, nil)
	require.NoError(t, err)
	return train.NewRun(plan(), e)
}

// step takes steps up to the given number, with a score after every second.
func step(t *testing.T, r *train.Run, vs []train.View, to int) {
	t.Helper()
	for r.Steps() < to {
		_, err := r.Step(context.Background(), vs)
		require.NoError(t, err)
		if r.Steps()%2 == 0 {
			_, err := r.Validate(context.Background(), vs[:1])
			require.NoError(t, err)
		}
	}
}

// TestResume: a run that is cut off and goes on gives the same bytes.
func TestResume(t *testing.T) {
	vs, dir := views(t), t.TempDir()
	whole := start(t)
	step(t, whole, vs, 9)
	require.NoError(t, whole.Save(filepath.Join(dir, "whole"), "id"))
	want, err := os.ReadFile(filepath.Join(dir, "whole"))
	require.NoError(t, err)
	for _, cut := range []int{1, 4, 7} {
		path := filepath.Join(dir, "cut")
		first := start(t)
		step(t, first, vs, cut)
		require.NoError(t, first.Save(path, "id"))
		step(t, first, vs, cut+1) // lost when it is killed

		second := start(t)
		require.NoError(t, second.Resume(path, "id"))
		assert.Equal(t, cut, second.Steps())
		step(t, second, vs, 9)
		require.NoError(t, second.Save(path, "id"))
		got, err := os.ReadFile(path)
		require.NoError(t, err)
		assert.True(t, string(want) == string(got), "cut after %d steps", cut)
	}

	other := start(t)
	err = other.Resume(filepath.Join(dir, "whole"), "other")
	require.ErrorIs(t, err, train.ErrState)
	step(t, other, vs, 9)
	require.NoError(t, other.Save(filepath.Join(dir, "other"), "id"))
	got, err := os.ReadFile(filepath.Join(dir, "other"))
	require.NoError(t, err)
	assert.True(t, string(want) == string(got), "a refused state changes nothing")
}

// TestRunSameBits: the number of goroutines changes no bit of a run.
func TestRunSameBits(t *testing.T) {
	vs := views(t)
	all := func() map[string][]float32 {
		r := start(t)
		step(t, r, vs, 4)
		out := map[string][]float32{}
		tensors, err := r.Best().Tensors()
		require.NoError(t, err)
		for name, v := range tensors {
			out[name] = v.Data
		}
		return out
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := all()
	runtime.GOMAXPROCS(4)
	assert.Equal(t, want, all())
}

// TestRunLearns: random weights come to find disks on a random embedding.
func TestRunLearns(t *testing.T) {
	vs := views(t)[:1]
	r := start(t)
	before, err := r.Validate(context.Background(), vs)
	require.NoError(t, err)
	step(t, r, vs, 360)
	after, err := r.Validate(context.Background(), vs)
	require.NoError(t, err)
	assert.Greater(t, after.Mean(), before.Mean()+0.6, "%+v to %+v", before, after)
	assert.Less(t, r.Curve[359].Loss, r.Curve[0].Loss)
}

func TestRunErrors(t *testing.T) {
	vs := views(t)
	r := start(t)
	vs[0].Embedding[7], vs[1].Embedding[7] = float32(math.NaN()), float32(math.NaN())
	_, err := r.Step(context.Background(), vs)
	assert.ErrorIs(t, err, train.ErrDiverged)
	assert.Equal(t, 0, r.Steps())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = r.Step(ctx, views(t))
	assert.ErrorIs(t, err, context.Canceled)
}
