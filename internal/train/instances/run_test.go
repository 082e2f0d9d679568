package instances_test

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
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/train"
	"github.com/slidesam/sam/internal/train/instances"
	decoder "github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/weights"
)

var tiny = decoder.Config{Grid: 4, Embed: 8, Features: [4]int{16, 16, 8, 8}, Out: 3, Transposed: true, BatchNorm: true}

const frame = 64 // of tiny's encoder

func shape(t testing.TB, h, w int, in func(x, y int) bool) *mask.Mask {
	t.Helper()
	m, err := mask.New(mask.Size{H: h, W: w}, in)
	require.NoError(t, err)
	return m
}

// field is disks on a picture of h x w pixels.
func field(t testing.TB, h, w int, known *mask.Mask, disks ...[3]float64) *instances.Field {
	t.Helper()
	f := train.Field{Name: "disks", Picture: mask.Size{H: h, W: w}, Known: known}
	for _, d := range disks {
		f.Objects = append(f.Objects, shape(t, h, w, func(x, y int) bool { return math.Hypot(float64(x)-d[0], float64(y)-d[1]) < d[2] }))
	}
	out, err := instances.NewField(f)
	require.NoError(t, err)
	return out
}

func plan(s instance.Settings) instances.Plan {
	return instances.Plan{
		Plan: train.Plan{
			Seed: 3, AdamW: train.AdamWOptions{Rate: 3e-3}, Rates: train.Schedule{Warmup: 2}, Clip: 1, Stopper: train.Stopper{Patience: 50},
		},
		Views: 2, Frame: frame, Settings: s,
	}
}

var settings = map[string]instance.Settings{"batch": {}, "running": {RunningStats: true, AsIs: true}}

// views are two fields of one disk and of three, each with its own embedding.
func views(t testing.TB) []instances.View {
	t.Helper()
	var out []instances.View
	for i, f := range []*instances.Field{
		field(t, 64, 64, nil, [3]float64{20, 24, 13}), field(t, 32, 48, nil, [3]float64{8, 8, 6}, [3]float64{30, 9, 7}, [3]float64{20, 24, 6}),
	} {
		v := instances.View{Field: f, Input: mask.Size{H: 64, W: 64}, Embedding: golden.Values("embedding", tiny.Grid*tiny.Grid*tiny.Embed, uint64(i))}
		if i == 1 {
			v.Input = mask.Size{H: 43, W: 64}
		}
		out = append(out, v)
	}
	return out
}

func start(t testing.TB, s instance.Settings) *instances.Run {
	t.Helper()
	r, err := instances.NewRun(plan(s), newDecoder(t, tiny, 5))
	require.NoError(t, err)
	return r
}

// step takes steps up to the given number, with a score after every second.
func step(t testing.TB, r *instances.Run, vs []instances.View, to int) {
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
	for name, s := range settings {
		t.Run(name, func(t *testing.T) {
			vs, dir := views(t), t.TempDir()
			whole := start(t, s)
			step(t, whole, vs, 9)
			require.NoError(t, whole.Save(filepath.Join(dir, "whole"), "id"))
			want, err := os.ReadFile(filepath.Join(dir, "whole"))
			require.NoError(t, err)
			for _, cut := range []int{1, 4} {
				path := filepath.Join(dir, "cut")
				first := start(t, s)
				step(t, first, vs, cut)
				require.NoError(t, first.Save(path, "id"))
				step(t, first, vs, cut+1) // lost when it is killed

				second := start(t, s)
				require.NoError(t, second.Resume(path, "id"))
				step(t, second, vs, 9)
				require.NoError(t, second.Save(path, "id"))
				got, err := os.ReadFile(path)
				require.NoError(t, err)
				assert.True(t, string(want) == string(got), "cut after %d steps", cut)
			}
			require.ErrorIs(t, start(t, s).Resume(filepath.Join(dir, "whole"), "other"), train.ErrState)
		})
	}
}

// TestRunSameBits: the number of goroutines changes no bit of a run.
func TestRunSameBits(t *testing.T) {
	vs := views(t)
	all := func() map[string]weights.TensorData {
		r := start(t, instance.Settings{})
		step(t, r, vs, 4)
		return r.Best()
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := all()
	runtime.GOMAXPROCS(4)
	assert.Equal(t, want, all())
}

// TestRunLearns: random weights come to find disks on random embeddings, and
// the statistics follow only where the decoder uses the picture's own.
func TestRunLearns(t *testing.T) {
	for name, s := range settings {
		t.Run(name, func(t *testing.T) {
			vs := views(t)
			r := start(t, s)
			before, err := r.Validate(context.Background(), vs)
			require.NoError(t, err)
			const steps = 200
			for r.Steps() < steps {
				_, err := r.Step(context.Background(), vs)
				require.NoError(t, err)
			}
			after, err := r.Validate(context.Background(), vs)
			require.NoError(t, err)
			t.Logf("%+v to %+v, loss %.3f to %.3f", before, after, r.Curve[0].Loss, r.Curve[steps-1].Loss)
			assert.Less(t, before.F1, 0.5)
			assert.Equal(t, 1.0, after.F1)
			assert.Greater(t, after.PQ, 0.8)
			assert.Less(t, r.Curve[steps-1].Loss, r.Curve[0].Loss/2)

			old := weights.Random(decoder.Specs(tiny), 5)
			for name, v := range r.Best() {
				if filepath.Ext(name) == ".running_var" {
					x, err := old.Tensor(name)
					require.NoError(t, err)
					was, err := x.Float32s()
					require.NoError(t, err)
					if s.RunningStats {
						assert.Equal(t, was, v.Data, name)
					} else {
						assert.NotEqual(t, was, v.Data, name)
					}
				}
			}
		})
	}
}

func TestRunErrors(t *testing.T) {
	vs := views(t)
	vs[1].Embedding[7] = float32(math.NaN())
	for name, s := range settings {
		r := start(t, s)
		newest := func() map[string]weights.TensorData {
			_, err := r.Validate(context.Background(), nil)
			require.NoError(t, err)
			return r.Best()
		}
		failed := 0
		for range 12 { // a step's first view may be the sound one: what it gathered is forgotten
			before, steps := newest(), r.Steps()
			if _, err := r.Step(context.Background(), vs); err != nil {
				failed++
				require.ErrorIs(t, err, train.ErrDiverged)
				assert.Equal(t, steps, r.Steps())
				assert.Equal(t, before, newest(), "%s: weights and statistics are those before the step", name)
			}
		}
		assert.Greater(t, failed, 4)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := start(t, instance.Settings{}).Step(ctx, views(t))
	require.ErrorIs(t, err, context.Canceled)
	classes := tiny
	classes.Out = 6
	_, err = instances.NewRun(plan(instance.Settings{}), newDecoder(t, classes, 5))
	assert.ErrorContains(t, err, "a decoder of 6 classes, not of instances")
}
