package sam_test

import (
	"context"
	"image"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/tensortest"
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/vit"
)

// tiny is a whole model in about 100,000 weights, with windows that do not
// divide the grid.
func tiny() sam.Config {
	return sam.Config{
		Encoder: vit.Config{
			ImageSize: 128, Patch: 8, Width: 32, Depth: 3, Heads: 2, HeadDim: 16, MLP: 64, Window: 7, Global: []int{1}, Out: 32,
		},
		Prompt: promptenc.Config{ImageSize: 128, Grid: 16, Channels: 32, MaskChannels: 16},
		Decoder: maskdec.Config{
			Grid: 16, Channels: 32, Depth: 2, Heads: 8, SelfDim: 32, CrossDim: 16, MLP: 64, MaskTokens: 4,
			IoUHidden: 32, IoUDepth: 3, Up1: 8, Up2: 4, HyperHidden: 32, HyperDepth: 3,
		},
	}
}

func tinyModel(t testing.TB, seed uint64) *sam.Model {
	t.Helper()
	m, err := sam.NewRandom(tiny(), seed)
	require.NoError(t, err)
	return m
}

func picture() image.Image { return golden.Picture(golden.Size{H: 90, W: 150}, 3) }

// prompts is every kind of prompt, in no order.
func prompts(low *sam.Logits) []sam.Prompt {
	box := &sam.Box{X0: 20, Y0: 10, X1: 120.5, Y1: 80}
	a := sam.Point{X: 40, Y: 30.25, Label: sam.Foreground}
	b := sam.Point{X: 100, Y: 60, Label: sam.Background}
	ps := []sam.Prompt{
		{Points: []sam.Point{a}}, {Box: box}, {Points: []sam.Point{a, b}}, {}, {Mask: low}, {Points: []sam.Point{b}, Mask: low},
		{Points: []sam.Point{a, b}, Box: box, Mask: low}, {Points: []sam.Point{b}, Box: box},
	}
	for i := 0; i < 6; i++ { // more than a batch of one shape
		ps = append(ps, sam.Prompt{Points: []sam.Point{{X: float64(10 * i), Y: float64(8 * i), Label: sam.Foreground}}})
	}
	return ps
}

func lowRes(t *testing.T, m *sam.Model, e *sam.Embedding) *sam.Logits {
	t.Helper()
	r, err := m.Predict(context.Background(), e, sam.Prompt{}, sam.PredictOptions{})
	require.NoError(t, err)
	return &r.LowRes[0]
}

func equalPrediction(t *testing.T, want, got *sam.Prediction, msg ...any) {
	t.Helper()
	require.Equal(t, want.IoUPred, got.IoUPred, msg...)
	require.Equal(t, want.LowRes, got.LowRes, msg...)
	require.Equal(t, want.Logits, got.Logits, msg...)
	require.Len(t, got.Masks, len(want.Masks), msg...)
	for i := range want.Masks {
		require.True(t, want.Masks[i].Equal(got.Masks[i]), msg...)
	}
}

func TestSameBitsForAnyNumberOfGoroutines(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	ctx := context.Background()
	var first []float32
	var want []*sam.Prediction
	for _, n := range []int{1, 2, 8} {
		runtime.GOMAXPROCS(n)
		m := tinyModel(t, 1)
		e, err := m.Embed(ctx, picture())
		require.NoError(t, err)
		data, _ := e.Tensor()
		got, err := m.PredictBatch(ctx, e, prompts(lowRes(t, m, e)), sam.PredictOptions{KeepLogits: true})
		require.NoError(t, err)
		if first == nil {
			first, want = data, got
			continue
		}
		require.Equal(t, first, data, "%d goroutines", n)
		for i := range want {
			equalPrediction(t, want[i], got[i], "%d goroutines, prompt %d", n, i)
		}
	}
}

func TestSameBitsAloneAndInBatch(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 2)
	e, err := m.Embed(ctx, picture())
	require.NoError(t, err)
	ps := prompts(lowRes(t, m, e))
	for _, o := range []sam.PredictOptions{{KeepLogits: true}, {SingleMask: true, KeepLogits: true}, {Local: true}} {
		batch, err := m.PredictBatch(ctx, e, ps, o)
		require.NoError(t, err)
		for i, p := range ps {
			alone, err := m.Predict(ctx, e, p, o)
			require.NoError(t, err)
			equalPrediction(t, alone, batch[i], "prompt %d", i)
		}
	}
}

func TestLocal(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 2)
	e, err := m.Embed(ctx, picture())
	require.NoError(t, err)
	ps := prompts(lowRes(t, m, e))
	all, err := m.PredictBatch(ctx, e, ps, sam.PredictOptions{})
	require.NoError(t, err)
	local, err := m.PredictBatch(ctx, e, ps, sam.PredictOptions{Local: true})
	require.NoError(t, err)
	outside, apart := 0, 0
	for i, p := range ps {
		for k, want := range all[i].Masks {
			area := want.Area()
			if p.Box != nil { // of (20, 10) to (120.5, 80); the middle of column 120 lies on the far border, which does not count
				want, err = want.Clip(image.Rect(20, 10, 120, 80))
				require.NoError(t, err)
				outside += area - want.Area()
				area = want.Area()
			}
			want = flood(t, want, p.Points)
			apart += area - want.Area()
			assert.True(t, want.Equal(local[i].Masks[k]), "prompt %d, mask %d", i, k)
		}
		assert.Equal(t, all[i].LowRes, local[i].LowRes)
		assert.Equal(t, all[i].IoUPred, local[i].IoUPred)
	}
	assert.Positive(t, outside)
	assert.Positive(t, apart)
}

// flood spreads from the foreground points over the mask, pixel by pixel.
func flood(t *testing.T, m *sam.Mask, points []sam.Point) *sam.Mask {
	seen := map[image.Point]bool{}
	var todo []image.Point
	visit := func(p image.Point) {
		if m.At(p.X, p.Y) && !seen[p] {
			seen[p] = true
			todo = append(todo, p)
		}
	}
	for _, p := range points {
		if p.Label == sam.Foreground {
			visit(image.Pt(int(p.X), int(p.Y)))
		}
	}
	if len(todo) == 0 {
		return m
	}
	for len(todo) > 0 {
		p := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for dy := -1; dy <= 1; dy++ {
			for dx := -1; dx <= 1; dx++ {
				visit(p.Add(image.Pt(dx, dy)))
			}
		}
	}
	out, err := sam.NewMask(m.Size(), func(x, y int) bool { return seen[image.Pt(x, y)] })
	require.NoError(t, err)
	return out
}

// TestManyGoroutines uses one model from 16 goroutines; -race checks it.
func TestManyGoroutines(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 3)
	shared, err := m.Embed(ctx, picture())
	require.NoError(t, err)
	want, err := m.PredictBatch(ctx, shared, prompts(nil), sam.PredictOptions{})
	require.NoError(t, err)
	shared, err = m.Embed(ctx, picture()) // one whose image side is not made yet
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := 0; g < 16; g++ {
		wg.Go(func() {
			e := shared
			if g%2 == 0 {
				var err error
				if e, err = m.Embed(ctx, picture()); !assert.NoError(t, err) {
					return
				}
			}
			got, err := m.PredictBatch(ctx, e, prompts(nil), sam.PredictOptions{})
			if !assert.NoError(t, err) {
				return
			}
			e.Tensor()
			for i := range want {
				assert.Equal(t, want[i].IoUPred, got[i].IoUPred)
				assert.Equal(t, want[i].LowRes, got[i].LowRes)
			}
		})
	}
	wg.Wait()
}

// TestEachWay runs the networks' graphs as they are lowered, node by node, and
// under gorgonia's own machine: the plain graph is the definition, what is
// fused takes its sums in another order.
func TestEachWay(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 4)
	check := func(t *testing.T, a sam.Answers, err error) {
		require.NoError(t, err)
		require.NotEmpty(t, a.Plain)
		for i := range a.Plain {
			require.Equal(t, a.Plain[i], a.TapeMachine[i])
			tensortest.Close(t, a.Plain[i], a.Lowered[i], 2e-5, 2e-5)
		}
	}
	t.Run("encoder", func(t *testing.T) {
		a, err := m.EncodeEachWay(ctx, picture())
		check(t, a, err)
		assert.Equal(t, a.Plain, a.Lowered)
	})
	e, err := m.Embed(ctx, picture())
	require.NoError(t, err)
	var many []sam.Point
	for i := range 40 {
		many = append(many, sam.Point{X: float64(2 * i), Y: float64(i), Label: sam.Foreground})
	}
	for name, prompt := range map[string]sam.Prompt{
		"decoder":              {Points: many[:1]},
		"decoder, many tokens": {Points: many},
		"decoder with mask":    {Box: &sam.Box{X0: 1, Y0: 2, X1: 33, Y1: 44}, Mask: lowRes(t, m, e)},
		"decoder, mask alone":  {Mask: lowRes(t, m, e)},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := m.DecodeEachWay(ctx, e, prompt)
			check(t, a, err)
			assert.NotEqual(t, a.Plain, a.Lowered, "the decoder is lowered")
		})
	}
}

func TestBadPrompts(t *testing.T) {
	ctx := context.Background()
	m := tinyModel(t, 1)
	e, err := m.Embed(ctx, picture()) // 150 x 90
	require.NoError(t, err)
	nan := math.NaN()
	at := func(x, y float64, l sam.Label) sam.Prompt {
		return sam.Prompt{Points: []sam.Point{{X: x, Y: y, Label: l}}}
	}
	box := func(x0, y0, x1, y1 float64) sam.Prompt {
		return sam.Prompt{Box: &sam.Box{X0: x0, Y0: y0, X1: x1, Y1: y1}}
	}
	badMask := make([]float32, 64*64)
	badMask[77] = float32(math.Inf(1))
	for _, tt := range []struct {
		name string
		p    sam.Prompt
		want string
	}{
		{"left of the picture", at(-0.1, 3, 1), "sam: bad prompt: point 0 at (-0.1, 3) is outside the picture of 150 x 90 pixels"},
		{"below the picture", at(3, 90.5, 1), "point 0 at (3, 90.5) is outside"},
		{"NaN point", at(nan, 3, 1), "point 0 at (NaN, 3) is outside"},
		{"infinite point", at(3, math.Inf(1), 1), "point 0 at (3, +Inf) is outside"},
		{"label", at(3, 3, 2), "point 0 has label 2, want 0 (background) or 1 (foreground)"},
		{"box outside", box(3, 3, 151, 20), "box (3, 3, 151, 20) is outside the picture of 150 x 90 pixels: clip it first"},
		{"NaN box", box(3, 3, 20, nan), "box (3, 3, 20, NaN) is outside"},
		{"box corners swapped", box(30, 3, 20, 20), "want the upper left corner, then the lower right one"},
		{"too many points", sam.Prompt{Points: make([]sam.Point, sam.MaxPoints+1)}, "4097 points, at most 4096 are possible"},
		{"mask of another size", sam.Prompt{Mask: &sam.Logits{H: 32, W: 64, Data: make([]float32, 32*64)}}, "mask of 64 x 32 with 2048 values, want the 64 x 64 logits of Prediction.LowRes"},
		{"mask too short", sam.Prompt{Mask: &sam.Logits{H: 64, W: 64, Data: badMask[:100]}}, "mask of 64 x 64 with 100 values"},
		{"infinite mask", sam.Prompt{Mask: &sam.Logits{H: 64, W: 64, Data: badMask}}, "mask value 77 is +Inf"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := m.Predict(ctx, e, tt.p, sam.PredictOptions{})
			require.ErrorIs(t, err, sam.ErrPrompt)
			assert.ErrorContains(t, err, tt.want)
			_, err = m.PredictBatch(ctx, e, []sam.Prompt{{}, tt.p}, sam.PredictOptions{})
			require.ErrorIs(t, err, sam.ErrPrompt)
			assert.ErrorContains(t, err, "sam: prompt 1: bad prompt: ")
		})
	}
	t.Run("border of the picture", func(t *testing.T) {
		_, err := m.Predict(ctx, e, sam.Prompt{Points: at(150, 90, 1).Points, Box: &sam.Box{X1: 150, Y1: 90}}, sam.PredictOptions{})
		assert.NoError(t, err)
	})
	t.Run("no prompts", func(t *testing.T) {
		out, err := m.PredictBatch(ctx, e, nil, sam.PredictOptions{})
		assert.NoError(t, err)
		assert.Empty(t, out)
	})
}

func TestEmbeddingOfAnotherModel(t *testing.T) {
	ctx := context.Background()
	e, err := tinyModel(t, 1).Embed(ctx, picture())
	require.NoError(t, err)
	_, err = tinyModel(t, 2).Predict(ctx, e, sam.Prompt{}, sam.PredictOptions{})
	assert.ErrorIs(t, err, sam.ErrOtherModel)
	assert.ErrorContains(t, err, "embed the picture with this model")
	_, err = tinyModel(t, 2).Predict(ctx, nil, sam.Prompt{}, sam.PredictOptions{})
	assert.ErrorContains(t, err, "sam: predict: no embedding: call Embed first")
}

func TestEmptyPictures(t *testing.T) {
	m := tinyModel(t, 1)
	for _, img := range []image.Image{nil, image.NewGray(image.Rect(0, 0, 0, 5)), image.NewRGBA(image.Rectangle{})} {
		_, err := m.Embed(context.Background(), img)
		assert.ErrorContains(t, err, "sam: embed: ")
	}
}

// countdown is a context that ends after n looks at it.
type countdown struct {
	context.Context
	mu sync.Mutex
	n  int
}

func (c *countdown) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return nil
}

// TestCancelStopsAtEachNode ends the context at every point of the work and
// expects an error each time, which shows that each node looks at it.
func TestCancelStopsAtEachNode(t *testing.T) {
	m := tinyModel(t, 1)
	looks := 0
	var e *sam.Embedding
	for ; e == nil; looks++ {
		var err error
		if e, err = m.Embed(&countdown{Context: context.Background(), n: looks}, picture()); err != nil {
			require.ErrorIs(t, err, context.Canceled)
			require.Nil(t, e)
		}
	}
	assert.Greater(t, looks, 7*tiny().Encoder.Depth, "at least one look at the context for each node of a block")
	for n := 0; ; n++ {
		out, err := m.Predict(&countdown{Context: context.Background(), n: n}, e, sam.Prompt{}, sam.PredictOptions{})
		if err == nil {
			assert.Len(t, out.Masks, 3)
			assert.Greater(t, n, 40)
			break
		}
		require.ErrorIs(t, err, context.Canceled)
	}
}

// TestCancelWhileWaiting: a prediction that waits for another goroutine's work
// on the same embedding gives up with its context, and goes on when it can.
func TestCancelWhileWaiting(t *testing.T) {
	m := tinyModel(t, 1)
	e, err := m.Embed(context.Background(), picture())
	require.NoError(t, err)
	release := e.HoldImageSide()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = m.Predict(ctx, e, sam.Prompt{}, sam.PredictOptions{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	done := make(chan error)
	go func() {
		_, err := m.Predict(context.Background(), e, sam.Prompt{}, sam.PredictOptions{})
		done <- err
	}()
	release()
	assert.NoError(t, <-done)
}

func TestDeadline(t *testing.T) {
	m := tinyModel(t, 1)
	ctx, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := m.Embed(ctx, picture())
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestBadConfigs(t *testing.T) {
	for name, change := range map[string]func(*sam.Config){
		"Width":                func(c *sam.Config) { c.Encoder.Width = 0 },
		"no multiple of Patch": func(c *sam.Config) { c.Encoder.ImageSize = 100 },
		"Window":               func(c *sam.Config) { c.Encoder.Window = 0 },
		"Global":               func(c *sam.Config) { c.Encoder.Global = []int{2, 1} },
		"grids differ":         func(c *sam.Config) { c.Decoder.Grid = 8 },
		"channels differ":      func(c *sam.Config) { c.Prompt.Channels = 64 },
		"MaskChannels":         func(c *sam.Config) { c.Prompt.MaskChannels = 3 },
		"pictures of 64":       func(c *sam.Config) { c.Prompt.ImageSize = 64 },
		"heads do not divide":  func(c *sam.Config) { c.Decoder.SelfDim = 33 },
		"HyperDepth":           func(c *sam.Config) { c.Decoder.HyperDepth = 0 },
	} {
		t.Run(name, func(t *testing.T) {
			c := tiny()
			change(&c)
			_, err := sam.NewRandom(c, 1)
			assert.ErrorContains(t, err, name)
		})
	}
}

// TestConfigIsACopy: a model does not change with the Config that it was made
// from, nor with the one that it gives.
func TestConfigIsACopy(t *testing.T) {
	c := tiny()
	m, err := sam.NewRandom(c, 1)
	require.NoError(t, err)
	c.Encoder.Global[0] = 2
	assert.Equal(t, tiny(), m.Config())
	m.Config().Encoder.Global[0] = 2
	assert.Equal(t, tiny(), m.Config())
	_, err = m.Embed(context.Background(), picture())
	assert.NoError(t, err, "the graph is built from the shape of the weights")
}

func TestPublishedShapes(t *testing.T) {
	for _, c := range []sam.Config{sam.ViTB(), sam.ViTL(), sam.ViTH()} {
		assert.NoError(t, c.Validate())
	}
}
