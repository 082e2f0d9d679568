package train_test

import (
	"bytes"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/train"
)

func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

func objective(l train.Loss) *train.Objective {
	r := rand.New(rand.NewPCG(1, 2))
	o := &train.Objective{
		Loss: l, Prompts: 2, Side: 6, H: 5, W: 4, Masks: []int{1, 2, 3}, Qualities: 4,
		Logits: random(r, 2*3*36), IoU: random(r, 8), Target: make([]float32, 72),
		Windows: []train.Window{{}, {X0: 1, Y0: 0, X1: 4, Y1: 2, Factor: 3, Share: make([]float32, 54)}},
	}
	for i := range o.Windows[1].Share {
		o.Windows[1].Share[i] = float32(r.IntN(5)) / 4
	}
	for i := range o.Target {
		o.Target[i] = float32(r.IntN(5)) / 4
	}
	return o
}

// TestSlopes checks the losses' gradients by central differences.
func TestSlopes(t *testing.T) {
	for name, l := range map[string]train.Loss{
		"sam": train.SAMLoss(), "micro-sam": train.MicroSAMLoss(), "bce": {BCE: 1, IoU: 2}, "focal": {Focal: 1}, "dice": {Dice: 1},
	} {
		t.Run(name, func(t *testing.T) {
			o := objective(l)
			require.NoError(t, o.Check())
			dl, dq := make([]float32, len(o.Logits)), make([]float32, len(o.IoU))
			w := []float32{0.5, 2}
			o.Slopes(dl, dq, w)
			value := func() float64 {
				r := o.Value()
				return 0.5*r[0].Loss + 2*r[1].Loss
			}
			check := func(x, d []float32) {
				for i, v := range x {
					const h = 1.0 / 1024 // exact in float32
					x[i] = v + h
					hi, top := value(), float64(x[i])
					x[i] = v - h
					// The measured quality has no slope, but the threshold at 0 has a step
					// wherever an interpolated logit crosses it.
					if v > h || v < -h {
						assert.InDelta(t, (hi-value())/(top-float64(x[i])), d[i], 2e-4, "element %d", i)
					}
					x[i] = v
				}
			}
			check(o.Logits, dl)
			check(o.IoU, dq)
		})
	}
}

// TestLossValues: a mask that fits has next to no loss, one beside it much.
func TestLossValues(t *testing.T) {
	for name, l := range map[string]train.Loss{"sam": train.SAMLoss(), "micro-sam": train.MicroSAMLoss()} {
		t.Run(name, func(t *testing.T) {
			o := &train.Objective{Loss: l, Prompts: 1, Side: 4, H: 4, W: 4, Masks: []int{0, 1}, Qualities: 2,
				Logits: make([]float32, 32), IoU: []float32{0, 1}, Target: make([]float32, 16)}
			for i := range 16 {
				o.Target[i] = float32(i % 2)
				o.Logits[16+i] = 40*o.Target[i] - 20
				o.Logits[i] = -o.Logits[16+i]
			}
			r := o.Value()[0]
			assert.Equal(t, 1, r.Best)
			assert.InDelta(t, 0, r.Loss, 1e-6)
			assert.Equal(t, []float64{0, 1}, r.IoUs)
		})
	}
}

func TestObjectiveCheck(t *testing.T) {
	o := objective(train.SAMLoss())
	o.Masks = []int{1, 2, 4}
	assert.ErrorContains(t, o.Check(), "no quality 4 of 4")
	o = objective(train.SAMLoss())
	o.Target = o.Target[1:]
	assert.ErrorContains(t, o.Check(), "71 targets")
}

// TestAdamW: against torch.optim.AdamW (1.13.1) on two steps of
// p = [1, -2, 0.5], g = [0.1, -0.2, 0] then [0.3, 0.1, -1], lr 0.1.
func TestAdamW(t *testing.T) {
	w := [][]float32{{1, -2, 0.5}}
	o := train.NewAdamW(train.AdamWOptions{Rate: 0.1}, []int{3})
	o.Step(w, [][]float32{{0.1, -0.2, 0}}, 1)
	assert.InDeltaSlice(t, []float32{0.89900005, -1.898, 0.4995}, w[0], 1e-6)
	o.Step(w, [][]float32{{0.3, 0.1, -1}}, 1)
	assert.InDeltaSlice(t, []float32{0.80632293, -1.86946833, 0.57341421}, w[0], 1e-6)
}

func TestClip(t *testing.T) {
	g := [][]float32{{3}, {0, 4}}
	assert.InDelta(t, 5, train.Clip(g, 10), 1e-6)
	assert.Equal(t, [][]float32{{3}, {0, 4}}, g)
	assert.InDelta(t, 5, train.Clip(g, 1), 1e-6)
	assert.InDelta(t, 0.6, g[0][0], 1e-5)
	assert.InDelta(t, 1, train.Norm(g), 1e-5)
}

func TestSchedule(t *testing.T) {
	s := train.Schedule{Warmup: 3, Steps: 13, Floor: 0.1}
	assert.Equal(t, []float64{0.25, 0.5, 0.75, 1}, []float64{s.Factor(0), s.Factor(1), s.Factor(2), s.Factor(3)})
	assert.InDelta(t, 0.55, s.Factor(8), 1e-12)
	assert.InDelta(t, 0.1, s.Factor(13), 1e-12)
	assert.InDelta(t, 0.1, s.Factor(99), 1e-12)
	assert.Equal(t, 1.0, train.Schedule{}.Factor(7))
}

func TestStopper(t *testing.T) {
	s := train.Stopper{Patience: 2}
	for _, tt := range []struct {
		score      float64
		best, stop bool
	}{{0.2, true, false}, {0.3, true, false}, {math.NaN(), false, false}, {0.4, true, false}, {0.4, false, false}, {0.1, false, true}} {
		best := s.Add(tt.score)
		assert.Equal(t, []bool{tt.best, tt.stop}, []bool{best, s.Done()}, "score %v", tt.score)
	}
}

// TestSameBits: the number of goroutines changes no bit of a step.
func TestSameBits(t *testing.T) {
	all := func() []float32 {
		r := rand.New(rand.NewPCG(3, 4))
		w, g := [][]float32{random(r, 70000), random(r, 5)}, [][]float32{random(r, 70000), random(r, 5)}
		a := train.NewAdamW(train.AdamWOptions{}, []int{70000, 5})
		for range 3 {
			train.Clip(g, 1)
			a.Step(w, g, 0.5)
		}
		o := objective(train.SAMLoss())
		d := make([]float32, len(o.Logits)+len(o.IoU))
		o.Slopes(d[:len(o.Logits)], d[len(o.Logits):], []float32{1, 1})
		return append(append(w[0], w[1]...), d...)
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := all()
	runtime.GOMAXPROCS(5)
	assert.Equal(t, want, all())
}

func disk(side int, x, y, r float64) *train.Target {
	t := &train.Target{Side: side, H: side, W: side - 2, Cell: 4, Share: make([]float32, side*side),
		Box: [4]float64{4 * (x - r), 4 * (y - r), 4 * (x + r), 4 * (y + r)}}
	for i := range t.Share {
		if math.Hypot(float64(i%side)+0.5-x, float64(i/side)+0.5-y) < r && i%side < t.W {
			t.Share[i] = 1
		}
	}
	return t
}

func TestRecipe(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	d := disk(16, 7, 8, 4)
	on := func(p train.Point) bool { return d.Share[int(p.Y/4)*16+int(p.X/4)] > 0.5 }
	recipe := train.DefaultRecipe()
	for range 50 {
		p, err := recipe.First(r, d, false)
		require.NoError(t, err)
		require.Len(t, p.Points, 1)
		assert.True(t, p.Points[0].In && on(p.Points[0]))
		assert.False(t, p.Single)

		// An answer that is shifted: both kinds of error.
		logits := make([]float32, 256)
		for i := range logits {
			logits[i] = -1
			if i%16 >= 3 && d.Share[i-3] > 0 {
				logits[i] = 1
			}
		}
		recipe.Correct(r, d, logits, &p, true)
		require.Len(t, p.Points, 3)
		assert.True(t, p.Points[1].In && on(p.Points[1]) && logits[int(p.Points[1].Y/4)*16+int(p.Points[1].X/4)] < 0)
		assert.True(t, !p.Points[2].In && !on(p.Points[2]) && logits[int(p.Points[2].Y/4)*16+int(p.Points[2].X/4)] > 0)
		assert.Equal(t, logits, p.Mask)
		assert.True(t, p.Single)
		recipe.Correct(r, d, logits, &p, false)
		assert.Nil(t, p.Mask)

		// A perfect one: a point on it and one near it.
		for i := range logits {
			logits[i] = d.Share[i] - 0.5
		}
		recipe.Correct(r, d, logits, &p, false)
		assert.True(t, on(p.Points[5]) && !on(p.Points[6]))
		assert.Less(t, math.Hypot(float64(p.Points[6].X)/4-7, float64(p.Points[6].Y)/4-8), 9.0)

		b, err := recipe.First(r, d, true)
		require.NoError(t, err)
		assert.True(t, b.Single)
		assert.InDelta(t, d.Box[0], b.Box[0], 0.025*32)
		assert.LessOrEqual(t, b.Box[0], d.Box[0])
		assert.GreaterOrEqual(t, b.Box[2], d.Box[2])
	}
	tiny := &train.Target{Side: 4, H: 4, W: 4, Cell: 4, Share: make([]float32, 16)}
	_, err := recipe.First(r, tiny, false)
	assert.EqualError(t, err, "train: prompt: the object is empty")
	_, err = recipe.First(r, tiny, true)
	assert.ErrorContains(t, err, "box")
	tiny.Share[5] = 0.1
	p, err := recipe.First(r, tiny, false)
	require.NoError(t, err)
	assert.Equal(t, []int{1, 1}, []int{int(p.Points[0].X / 4), int(p.Points[0].Y / 4)})
}

type head struct{ Step int }

func TestState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	r := rand.New(rand.NewPCG(7, 8))
	want := [][]float32{random(r, 9000), {}, random(r, 3)}
	require.NoError(t, train.SaveState(path, head{7}, want))
	got := [][]float32{make([]float32, 9000), {}, make([]float32, 3)}
	var h head
	require.NoError(t, train.LoadState(path, &h, got))
	assert.Equal(t, head{7}, h)
	assert.Equal(t, want, got)

	data, err := os.ReadFile(path)
	require.NoError(t, err)
	for name, change := range map[string]func([]byte) []byte{
		"cut":   func(b []byte) []byte { return b[:len(b)-5] },
		"bit":   func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
		"empty": func([]byte) []byte { return nil },
		"head":  func(b []byte) []byte { b[19] = 255; return b },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, change(bytes.Clone(data)), 0o600))
			assert.ErrorIs(t, train.LoadState(path, &h, got), train.ErrState)
		})
	}
	require.NoError(t, os.WriteFile(path, data, 0o600))
	assert.ErrorContains(t, train.LoadState(path, &h, got[:2]), "3 arrays, want 2")
	assert.ErrorContains(t, train.LoadState(path, &h, [][]float32{{}, {}, {}}), "array 0 has 9000 values")
}

func FuzzLoadState(f *testing.F) {
	path := filepath.Join(f.TempDir(), "state")
	if err := train.SaveState(path, head{3}, [][]float32{{1, 2, 3}}); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "state")
		require.NoError(t, os.WriteFile(path, data, 0o600))
		var h head
		_ = train.LoadState(path, &h, [][]float32{make([]float32, 3)})
	})
}
