//go:build gpu && cgo && linux

package cuda_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/cuda"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/maskdec/instance"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/vit/tinyvit"
	"github.com/slidesam/sam/weights"
)

// device opens the first device; where there is none it skips the test, and
// fails it with SAM_CUDA set, as the gate does.
func device(t *testing.T) *cuda.Device {
	t.Helper()
	d, err := cuda.Open(0)
	if errors.Is(err, cuda.ErrUnavailable) && os.Getenv("SAM_CUDA") == "" {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// bound binds random weights of these parameters.
func bound[P any](t *testing.T, p P) P {
	t.Helper()
	require.NoError(t, weights.Bind(weights.Random(weights.Specs(p), 7), p))
	return p
}

// net is a graph, built anew by each call, with its outputs.
type net func(b *graph.Builder) []*G.Node

func encoder(t *testing.T, c vit.Config) net {
	e, err := vit.New(c, bound(t, vit.NewParams(c)))
	require.NoError(t, err)
	return func(b *graph.Builder) []*G.Node { return []*G.Node{e.Build(b)} }
}

func prompts(t *testing.T, c promptenc.Config, batch, n int) (*promptenc.Encoder, net) {
	e, err := promptenc.New(c, bound(t, promptenc.NewParams(c)))
	require.NoError(t, err)
	return e, func(b *graph.Builder) []*G.Node {
		return []*G.Node{e.Sparse(b, batch, n), e.Dense(b, batch), e.Positions(b)}
	}
}

// decoder is the whole decoder from an embedding and points; masked gives each
// prompt a mask too.
func decoder(t *testing.T, c maskdec.Config, image int, batch maskdec.Batch, masked bool) net {
	pe, _ := prompts(t, promptenc.Config{ImageSize: image, Grid: c.Grid, Channels: c.Channels, MaskChannels: 8}, 1, 1)
	d, err := maskdec.New(c, bound(t, maskdec.NewParams(c)))
	require.NoError(t, err)
	return func(b *graph.Builder) []*G.Node {
		emb := b.Input("embedding", c.Grid*c.Grid, c.Channels)
		img := d.Image(b, b.Apply(op.Add{}, emb, pe.NoMask(b)), pe.Positions(b))
		if masked {
			img = maskdec.Image{Rows: b.Apply(op.Add{}, pe.Dense(b, batch.Prompts), emb), Positions: pe.Positions(b)}
		}
		logits, iou := d.Masks(b, batch, img, pe.Sparse(b, batch.Prompts, batch.Tokens))
		return []*G.Node{logits, iou}
	}
}

// tiny is MobileSAM's encoder.
func tiny(t *testing.T, c tinyvit.Config) net {
	p := &struct {
		Encoder *tinyvit.Params `weight:"image_encoder"`
	}{tinyvit.NewParams(c)}
	require.NoError(t, weights.Bind(weights.Random(weights.Specs(p), 7), p))
	e, err := tinyvit.New(c, p.Encoder)
	require.NoError(t, err)
	return func(b *graph.Builder) []*G.Node { return []*G.Node{e.Build(b)} }
}

// objects is the instance decoder.
func objects(t *testing.T, c instance.Config, s instance.Stats) net {
	p := instance.NewParams(c)
	require.NoError(t, weights.Bind(weights.Random(instance.Specs(c), 7), p))
	d, err := instance.New(c, p)
	require.NoError(t, err)
	return func(b *graph.Builder) []*G.Node {
		return []*G.Node{d.Build(b, b.Input("embedding", c.Grid*c.Grid, c.Embed), s)}
	}
}

// nets are the networks, each of several shapes.
func nets(t *testing.T) map[string]net {
	_, few := prompts(t, promptenc.Config{ImageSize: 64, Grid: 4, Channels: 16, MaskChannels: 8}, 2, 3)
	_, odd := prompts(t, promptenc.Config{ImageSize: 100, Grid: 5, Channels: 6, MaskChannels: 4}, 1, 1)
	_, wide := prompts(t, promptenc.Config{ImageSize: 128, Grid: 8, Channels: 256, MaskChannels: 16}, 3, 5)
	small := maskdec.Config{Grid: 4, Channels: 16, Depth: 2, Heads: 2, SelfDim: 16, CrossDim: 8, MLP: 24, MaskTokens: 4, IoUHidden: 12, IoUDepth: 3, Up1: 4, Up2: 2, HyperHidden: 16, HyperDepth: 3}
	deep := maskdec.Config{Grid: 7, Channels: 24, Depth: 3, Heads: 4, SelfDim: 24, CrossDim: 12, MLP: 33, MaskTokens: 6, IoUHidden: 8, IoUDepth: 2, Up1: 6, Up2: 3, HyperHidden: 10, HyperDepth: 2}
	published := maskdec.Config{Grid: 17, Channels: 256, Depth: 2, Heads: 8, SelfDim: 256, CrossDim: 128, MLP: 256, MaskTokens: 4, IoUHidden: 256, IoUDepth: 3, Up1: 64, Up2: 32, HyperHidden: 256, HyperDepth: 3}
	mobile := tinyvit.Config{ImageSize: 64, Hidden: 4, Out: 8, Stages: [4]tinyvit.Stage{
		{Width: 8, Depth: 1, Hidden: 16}, {Width: 16, Depth: 1, Hidden: 32, Heads: 2, Window: 3},
		{Width: 24, Depth: 2, Hidden: 48, Heads: 3, Window: 3}, {Width: 320, Depth: 1, Hidden: 64, Heads: 10, Window: 2},
	}}
	bilinear := instance.Config{Grid: 4, Embed: 12, Features: [4]int{32, 16, 8, 4}, Out: 3}
	transposed := instance.Config{Grid: 3, Embed: 5, Features: [4]int{16, 8, 6, 2}, Out: 6, Transposed: true}
	return map[string]net{
		"TinyViT":                  tiny(t, mobile),
		"instances":                objects(t, bilinear, instance.BatchStats),
		"instances, kept":          objects(t, bilinear, instance.RunningStats),
		"classes, transposed":      objects(t, transposed, instance.BatchStats),
		"encoder":                  encoder(t, vit.Config{ImageSize: 64, Patch: 8, Width: 24, Depth: 3, Heads: 3, HeadDim: 8, MLP: 48, Window: 3, Global: []int{1}, Out: 16}),
		"encoder, windows":         encoder(t, vit.Config{ImageSize: 256, Patch: 16, Width: 96, Depth: 2, Heads: 2, HeadDim: 48, MLP: 384, Window: 7, Global: []int{1}, Out: 64}),
		"encoder, heads of ViT-H":  encoder(t, vit.Config{ImageSize: 144, Patch: 16, Width: 160, Depth: 2, Heads: 2, HeadDim: 80, MLP: 320, Window: 5, Global: []int{0}, Out: 32}),
		"prompts":                  few,
		"prompts, odd":             odd,
		"prompts, wide":            wide,
		"decoder":                  decoder(t, small, 64, maskdec.Batch{Prompts: 3, Tokens: 2, Masks: []int{1, 2, 3}, Floor: true}, false),
		"decoder, masks":           decoder(t, small, 64, maskdec.Batch{Prompts: 2, Tokens: 1, Masks: []int{0}}, true),
		"decoder, deep":            decoder(t, deep, 112, maskdec.Batch{Prompts: 2, Tokens: 5, Masks: []int{1, 2, 3, 4, 5}}, false),
		"decoder, published width": decoder(t, published, 272, maskdec.Batch{Prompts: 2, Tokens: 2, Masks: []int{1, 2, 3}, Floor: true}, false),
	}
}

// fill gives a program's inputs values that depend on the seed.
func fill(p graph.Program, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 5))
	for _, name := range []string{vit.Picture, "embedding", promptenc.Mask} {
		x := p.Input(name)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
	}
	x := p.Input(promptenc.Points)
	for i := range x {
		x[i] = float32(rng.IntN(60))
		if i%3 == 2 {
			x[i] = float32(rng.IntN(5) - 1)
		}
	}
}

// result is one value of a program.
type result struct {
	name string
	data []float32
}

// run compiles a net, runs it on inputs of that seed and returns its outputs
// and the stages that were kept.
func run(t *testing.T, backend graph.Backend, n net, o graph.CompileOptions, seed uint64) []result {
	t.Helper()
	b := graph.NewBuilder()
	outputs := n(b)
	require.NoError(t, b.Err())
	p, err := backend.Compile(b, o, outputs...)
	require.NoError(t, err)
	fill(p, seed)
	require.NoError(t, p.Run(context.Background()))
	return results(p, len(outputs))
}

func results(p graph.Program, outputs int) []result {
	var rs []result
	for i := range outputs {
		rs = append(rs, result{fmt.Sprint("output ", i), append([]float32(nil), p.Output(i)...)})
	}
	for _, name := range p.Stages() {
		data, _, _ := p.Stage(name)
		rs = append(rs, result{name, append([]float32(nil), data...)})
	}
	return rs
}

// distance is the largest difference relative to the largest value.
func distance(want, got []float32) float64 {
	worst, scale := 0.0, 0.0
	for i, v := range want {
		scale = max(scale, math.Abs(float64(v)))
		if e := math.Abs(float64(got[i]) - float64(v)); !(e <= worst) {
			worst = e
		}
	}
	if scale == 0 {
		return worst
	}
	return worst / scale
}

// TestNetworks compares each output and each stage with the CPU's, fused and
// node by node. Both sum in fp32, in different orders.
func TestNetworks(t *testing.T) {
	d := device(t)
	for name, n := range nets(t) {
		t.Run(name, func(t *testing.T) {
			worst := 0.0
			for _, o := range []graph.CompileOptions{{}, {KeepStages: true}, {Plain: true}} {
				want, got := run(t, cpu.Backend{}, n, o, 1), run(t, cuda.Backend{Device: d}, n, o, 1)
				require.Len(t, got, len(want))
				for i, w := range want {
					require.Equal(t, w.name, got[i].name)
					require.Len(t, got[i].data, len(w.data), w.name)
					e := distance(w.data, got[i].data)
					assert.LessOrEqual(t, e, 1e-5, "%s with %+v", w.name, o)
					worst = max(worst, e)
				}
			}
			t.Logf("largest relative difference %.1e", worst)
		})
	}
}

// The reduced precisions change an encoder's embedding by some of their
// roundings: 2^-11 and 2^-8 of each factor, which sums average.
func TestPrecisions(t *testing.T) {
	d := device(t)
	if d.Info().Capability < 80 {
		t.Skip("no kernels on tensor cores before Ampere")
	}
	n := nets(t)["encoder, heads of ViT-H"]
	want := run(t, cpu.Backend{}, n, graph.CompileOptions{}, 1)[0].data
	for p, most := range map[cuda.Precision]float64{cuda.TF32: 5e-3, cuda.FP16: 5e-3, cuda.BF16: 4e-2} {
		got := run(t, cuda.Backend{Device: d, Precision: p}, n, graph.CompileOptions{}, 1)[0].data
		e := distance(want, got)
		t.Logf("%v: largest relative difference of an embedding %.1e", p, e)
		assert.LessOrEqual(t, e, most, p)
		assert.Greater(t, e, 1e-5, "%v: no tensor cores were used", p)
	}
}

// Several programs of one net in several goroutines give what one gives.
func TestInFlight(t *testing.T) {
	d := device(t)
	n := nets(t)["encoder"]
	backend := cuda.Backend{Device: d}
	var want [4][]float32
	for i := range want {
		want[i] = run(t, backend, n, graph.CompileOptions{}, uint64(i))[0].data
	}
	var wg sync.WaitGroup
	for i := range want {
		b := graph.NewBuilder()
		p, err := backend.Compile(b, graph.CompileOptions{}, n(b)...)
		require.NoError(t, err)
		wg.Go(func() {
			for range 3 {
				fill(p, uint64(i))
				if assert.NoError(t, p.Run(context.Background())) {
					assert.Equal(t, want[i], p.Output(0))
				}
			}
		})
	}
	wg.Wait()
}

func TestProgram(t *testing.T) {
	d := device(t)
	compile := func(t *testing.T, o graph.CompileOptions) graph.Program {
		b := graph.NewBuilder()
		x := b.Input("x", 2, 3)
		b.Input("spare", 5)
		y := b.Apply(op.Add{}, x, b.Constant("one", []float32{1, 10, 100}, 1, 3))
		p, err := cuda.Backend{Device: d}.Compile(b, o, b.Apply(op.ReLU{}, y), x)
		require.NoError(t, err)
		return p
	}
	ctx := context.Background()
	p := compile(t, graph.CompileOptions{})
	assert.Len(t, p.Input("spare"), 5)
	assert.Nil(t, p.Input("none"))
	assert.Equal(t, []int{2, 3}, p.OutputShape(0))
	copy(p.Input("x"), []float32{1, 2, 3, -4, -5, -600})
	require.NoError(t, p.Run(ctx))
	assert.Equal(t, []float32{2, 12, 103, 0, 5, 0}, p.Output(0))
	assert.Equal(t, []float32{1, 2, 3, -4, -5, -600}, p.Output(1), "an input can be an output")

	t.Run("bind", func(t *testing.T) {
		for _, lasting := range [][]string{nil, {"x"}} {
			p := compile(t, graph.CompileOptions{Lasting: lasting})
			for v := range 3 {
				x := []float32{0, 0, 0, 0, 0, float32(v)}
				require.NoError(t, p.Bind("x", x))
				require.NoError(t, p.Run(ctx))
				require.NoError(t, p.Run(ctx))
				assert.Equal(t, []float32{1, 10, 100, 1, 10, 100 + float32(v)}, p.Output(0))
			}
		}
		assert.ErrorContains(t, p.Bind("none", nil), "cuda: bind none: no such input")
		assert.ErrorIs(t, p.Bind("x", []float32{1}), graph.ErrShape)
	})
	t.Run("kept", func(t *testing.T) {
		from, to := compile(t, graph.CompileOptions{}), compile(t, graph.CompileOptions{Lasting: []string{"x"}})
		copy(from.Input("x"), []float32{1, 2, 3, 4, 5, 6})
		require.NoError(t, from.Run(ctx))
		kept, err := graph.Kept(from, 0)
		require.NoError(t, err)
		copy(from.Input("x"), make([]float32, 6))
		require.NoError(t, from.Run(ctx))
		assert.Equal(t, []float32{2, 12, 103, 5, 15, 106}, kept, "a copy")
		// What is on the host is changed against the rule, to see which is read.
		kept[0] = 1000
		there := cuda.Allocations(d)
		require.NoError(t, to.Bind("x", kept))
		require.NoError(t, to.Run(ctx))
		assert.Equal(t, []float32{3, 22, 203, 6, 25, 206}, to.Output(0))
		assert.Equal(t, there, cuda.Allocations(d), "nothing is copied again")
	})
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		assert.ErrorIs(t, p.Run(ctx), context.Canceled)
	})
	t.Run("labels", func(t *testing.T) {
		_, n := prompts(t, promptenc.Config{ImageSize: 64, Grid: 4, Channels: 16, MaskChannels: 8}, 1, 2)
		b := graph.NewBuilder()
		p, err := cuda.Backend{Device: d}.Compile(b, graph.CompileOptions{}, n(b)...)
		require.NoError(t, err)
		copy(p.Input(promptenc.Points), []float32{1, 1, 0, 1, 1, 4})
		assert.EqualError(t, p.Run(ctx), "points: label 4 of point 1 is none of -1 to 3")
	})
	t.Run("weights that change", func(t *testing.T) {
		b := graph.NewBuilder()
		b.Variables(func(string) bool { return true })
		w := graph.NewWeight("w", []int{2, 3}, func(use func([]float32)) error { use(make([]float32, 6)); return nil })
		_, err := cuda.Backend{Device: d}.Compile(b, graph.CompileOptions{}, b.Apply(op.Linear{}, b.Input("x", 1, 3), b.Weight(w)))
		assert.ErrorContains(t, err, "train on the CPU")
	})
	t.Run("no kernel", func(t *testing.T) {
		b := graph.NewBuilder()
		x := b.Input("x", 1, 3)
		_, err := cuda.Backend{Device: d}.Compile(b, graph.CompileOptions{}, G.Must(G.Tanh(x)))
		assert.ErrorContains(t, err, "no kernel for gorgonia's")
		_, err = cuda.Backend{Device: d}.Compile(b, graph.CompileOptions{}, b.Apply(op.Attention{Batch: 1, Heads: 1, HeadDim: 129, NQ: 1, NK: 1},
			b.Input("q", 1, 129), b.Input("k", 1, 129), b.Input("v", 1, 129)))
		assert.ErrorContains(t, err, "heads of 129 channels, want at most 128")
	})
}

// What a program and a network have on the device goes when they do.
func TestMemoryComesBack(t *testing.T) {
	d := device(t)
	before := cuda.Allocations(d)
	func() {
		n := nets(t)["encoder"]
		b := graph.NewBuilder()
		outputs := n(b)
		require.NoError(t, cuda.Backend{Device: d}.Prepare(b, graph.CompileOptions{}, outputs...))
		prepared := cuda.Allocations(d)
		assert.Greater(t, prepared, before, "the weights stay")
		p, err := cuda.Backend{Device: d}.Compile(b, graph.CompileOptions{Lasting: []string{vit.Picture}}, outputs...)
		require.NoError(t, err)
		require.NoError(t, p.Bind(vit.Picture, make([]float32, 64*64*3)))
		require.NoError(t, p.Run(context.Background()))
		planned, separate := p.Bytes()
		assert.Less(t, planned, separate)
		p.(*cuda.Program).Close()
		p.(*cuda.Program).Close()
	}()
	for range 50 { // cleanups run a while after a collection
		if runtime.GC(); cuda.Allocations(d) == before {
			return
		}
		runtime.Gosched()
	}
	assert.Equal(t, before, cuda.Allocations(d))
}

// No room for a program is an error that leaves those at hand alone; a device
// that falls off gives an error, never a result.
func TestProgramFaults(t *testing.T) {
	d := device(t)
	if !strings.HasPrefix(d.Info().Name, "stand-in") {
		t.Skip("not on the stand-in for libcuda.so.1")
	}
	n := nets(t)["encoder"]
	backend := cuda.Backend{Device: d}
	b := graph.NewBuilder()
	outputs := n(b)
	p, err := backend.Compile(b, graph.CompileOptions{}, outputs...)
	require.NoError(t, err)
	before := cuda.Allocations(d)
	t.Setenv("STANDIN_MEMORY", "1000")
	_, err = backend.Compile(b, graph.CompileOptions{}, outputs...)
	require.ErrorIs(t, err, cuda.ErrMemory)
	assert.Equal(t, before, cuda.Allocations(d), "what it had is given back")
	require.NoError(t, p.Run(context.Background()))

	t.Setenv("STANDIN_LOSE", "5")
	require.ErrorIs(t, p.Run(context.Background()), cuda.ErrLost)
	t.Setenv("STANDIN_LOSE", "-1")
	require.ErrorIs(t, p.Run(context.Background()), cuda.ErrLost)
	_, err = backend.Compile(b, graph.CompileOptions{}, outputs...)
	require.ErrorIs(t, err, cuda.ErrLost)
}
