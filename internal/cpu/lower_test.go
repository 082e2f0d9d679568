package cpu_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// weight is a leaf of random values.
func weight(b *graph.Builder, rng *rand.Rand, name string, shape ...int) *G.Node {
	n := 1
	for _, d := range shape {
		n *= d
	}
	data := random(rng, n)
	return b.Weight(graph.NewWeight(name, shape, func(use func([]float32)) error { use(data); return nil }))
}

// TestEpilogues: what follows a product is part of it, unless somebody else
// reads the product.
func TestEpilogues(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 1))
	b := graph.NewBuilder()
	x := b.Input("x", 5, 6)
	w1, b1, w2, p := weight(b, rng, "w1", 7, 6), weight(b, rng, "b1", 7), weight(b, rng, "w2", 6, 7), weight(b, rng, "p", 1, 5, 6)
	h := b.Apply(op.GELU{}, b.Apply(op.Linear{}, x, w1, b1))
	y := b.Apply(op.Add{}, b.Apply(op.Linear{}, h, w2), x)
	read := b.Apply(op.Linear{}, y, w1)
	both := b.Apply(op.Add{}, b.Apply(op.ReLU{}, read), read)
	at := b.Apply(op.Linear{}, b.Apply(op.Add{}, y, p), w1, b1)
	var out [2][][]float32
	for i, plain := range []bool{true, false} {
		prog, err := cpu.Compile(b, graph.CompileOptions{Plain: plain}, both, at)
		require.NoError(t, err)
		copy(prog.Input("x"), random(rand.New(rand.NewPCG(9, 1)), 30))
		require.NoError(t, prog.Run(context.Background()))
		out[i] = [][]float32{prog.Output(0), prog.Output(1)}
		if !plain {
			assert.Equal(t, []string{"linear", "linear", "linear", "relu", "add", "linear"}, prog.Steps())
		}
	}
	assert.Equal(t, out[0][0], out[1][0])
	for i, v := range out[0][1] {
		assert.InDelta(t, v, out[1][1][i], tol, "the positions are projected by themselves")
	}
}

// TestLayers: two products of many rows are one step with the bits of two,
// unless somebody else reads what is between them.
func TestLayers(t *testing.T) {
	const m = 1030
	for _, tt := range []struct {
		name  string
		rows  int
		keep  bool
		steps []string
	}{
		{"fused", m, false, []string{"mlp"}},
		{"kept", m, true, []string{"linear", "linear"}},
		{"few rows", 100, false, []string{"linear", "linear"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(10, 1))
			b := graph.NewBuilder()
			x := b.Input("x", tt.rows, 6)
			h := b.Apply(op.GELU{}, b.Apply(op.Linear{}, x, weight(b, rng, "w1", 9, 6), weight(b, rng, "b1", 9)))
			outputs := []*G.Node{b.Apply(op.Add{}, b.Apply(op.Linear{}, h, weight(b, rng, "w2", 6, 9)), x)}
			if tt.keep {
				outputs = append(outputs, h)
			}
			var out [2][]float32
			for i, plain := range []bool{true, false} {
				prog, err := cpu.Compile(b, graph.CompileOptions{Plain: plain}, outputs...)
				require.NoError(t, err)
				copy(prog.Input("x"), random(rand.New(rand.NewPCG(9, 1)), 6*tt.rows))
				require.NoError(t, prog.Run(context.Background()))
				out[i] = prog.Output(0)
				if !plain {
					assert.Equal(t, tt.steps, prog.Steps())
				}
			}
			assert.Equal(t, out[0], out[1])
		})
	}
}

// TestFormats: linear layers read those weights in 8 bits that are asked for,
// with what follows in their epilogues, and no other op does.
func TestFormats(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 1))
	const m, n, k = 5, 7, 6
	x, w, bias := random(rng, m*k), random(rng, n*k), random(rng, n)
	leaf := func(name string, v []float32, shape ...int) *graph.Weight {
		return graph.NewWeight(name, shape, func(use func([]float32)) error { use(v); return nil })
	}
	lw, lb, lp := leaf("w", w, n, k), leaf("b", bias, n), leaf("p", x[:k], 1, k)
	b := graph.NewBuilder()
	in := b.Input("x", m, k)
	y := b.Apply(op.GELU{}, b.Apply(op.Linear{}, in, b.Weight(lw), b.Weight(lb)))
	sum := b.Apply(op.Linear{}, b.Apply(op.Add{}, in, b.Weight(lp)), b.Weight(lw))
	p, err := cpu.Compile(b, graph.CompileOptions{Formats: map[*graph.Weight]graph.Format{lw: graph.Int8}}, y, sum)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"linear_int8", "add", "linear_int8"}, p.Steps())
	copy(p.Input("x"), x)
	require.NoError(t, p.Run(context.Background()))
	packed, want := kernel.Pack8(w, n, k), make([]float32, m*n)
	kernel.Gemm8(want, n, x, k, m, packed, kernel.Epilogue{Bias: bias, Act: kernel.ActGELU})
	assert.Equal(t, want, p.Output(0))

	rounded := make([]float32, n*k)
	packed.Unpack(rounded)
	require.NoError(t, lw.Detach())
	got, err := lw.Values()
	require.NoError(t, err)
	assert.Equal(t, rounded, got, "no other values are at hand")
}

// TestHalves: linear layers whose weights are halves compute with the rounded
// ones; a weight beyond the range of halves is an error.
func TestHalves(t *testing.T) {
	rng := rand.New(rand.NewPCG(12, 1))
	const m, n, k = 5, 7, 6
	x, w := random(rng, m*k), random(rng, n*k)
	product := func(w []float32, f graph.Format) ([]float32, *graph.Weight, error) {
		lw := graph.NewWeight("w", []int{n, k}, func(use func([]float32)) error { use(w); return nil })
		b := graph.NewBuilder()
		y := b.Apply(op.Linear{}, b.Input("x", m, k), b.Weight(lw))
		p, err := cpu.Compile(b, graph.CompileOptions{Formats: map[*graph.Weight]graph.Format{lw: f}}, y)
		if err != nil {
			return nil, lw, err
		}
		assert.Equal(t, []string{map[graph.Format]string{graph.Half: "linear_half", graph.Float32: "linear"}[f]}, p.Steps())
		copy(p.Input("x"), x)
		require.NoError(t, p.Run(context.Background()))
		return p.Output(0), lw, lw.Detach()
	}
	got, lw, err := product(w, graph.Half)
	require.NoError(t, err)
	rounded, err := lw.Values()
	require.NoError(t, err)
	assert.NotEqual(t, w, rounded)
	assert.InDeltaSlice(t, w, rounded, 1e-3)
	want, _, err := product(rounded, graph.Float32)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	w[9] = -70000
	_, _, err = product(w, graph.Half)
	assert.EqualError(t, err, "cpu: prepare: graph: weight w: element 9 is -70000: halves end at 65504")
}

// TestVariables change between runs.
func TestVariables(t *testing.T) {
	b := graph.NewBuilder()
	b.Variables(func(name string) bool { return name == "w" })
	w := graph.NewWeight("w", []int{1, 2}, func(use func([]float32)) error { use([]float32{2, 3}); return nil })
	p, err := cpu.Compile(b, graph.CompileOptions{}, b.Apply(op.Linear{}, b.Input("x", 1, 2), b.Weight(w)))
	require.NoError(t, err)
	copy(p.Input("x"), []float32{1, 10})
	require.NoError(t, p.Run(context.Background()))
	assert.Equal(t, []float32{32}, p.Output(0))
	copy(p.Input("w"), []float32{4, 5})
	require.NoError(t, p.Run(context.Background()))
	assert.Equal(t, []float32{54}, p.Output(0))
	assert.Zero(t, w.Bytes())
}

// TestPrivate: what two programs exchange has the backend's layout.
func TestPrivate(t *testing.T) {
	rng := rand.New(rand.NewPCG(10, 1))
	x := random(rng, 37*3)
	b := graph.NewBuilder()
	o := graph.CompileOptions{Private: []string{"map"}}
	first, err := cpu.Compile(b, o, b.Stage("map", b.Apply(op.ReLU{}, b.Input("x", 37, 3))))
	require.NoError(t, err)
	copy(first.Input("x"), x)
	require.NoError(t, first.Run(context.Background()))
	assert.Equal(t, []int{37, 3}, first.OutputShape(0))

	b = graph.NewBuilder()
	second, err := cpu.Compile(b, o, b.Apply(op.GELU{}, b.Input("map", 37, 3)))
	require.NoError(t, err)
	require.NoError(t, second.Bind("map", first.Output(0)))
	require.NoError(t, second.Run(context.Background()))
	want := run(t, op.GELU{}, array{run(t, op.ReLU{}, array{x, []int{37, 3}}), []int{37, 3}})
	assert.Equal(t, want, second.Output(0))
}

// TestPanelKeys: an attention to keys of another program has the bits of one to
// keys of its own, whether it shares them or not.
func TestPanelKeys(t *testing.T) {
	const prompts, nq, nk, heads, hd = 2, 3, 37, 2, 5
	rng := rand.New(rand.NewPCG(11, 1))
	q, x, v := random(rng, prompts*nq*heads*hd), random(rng, nk*heads*hd), random(rng, nk*heads*hd)
	b := graph.NewBuilder()
	o := graph.CompileOptions{Private: []string{"keys"}}
	first, err := cpu.Compile(b, o, b.Stage("keys", b.Apply(op.ReLU{}, b.Input("x", nk, heads*hd))))
	require.NoError(t, err)
	copy(first.Input("x"), x)
	require.NoError(t, first.Run(context.Background()))

	at := op.Attention{Batch: prompts, Heads: heads, HeadDim: hd, NQ: nq, NK: nk}
	keys := array{run(t, op.ReLU{}, array{x, []int{nk, heads * hd}}), []int{nk, heads * hd}}
	want := run(t, at, array{q, []int{prompts * nq, heads * hd}}, keys, array{v, []int{nk, heads * hd}})
	for _, both := range []bool{false, true} {
		b := graph.NewBuilder()
		k := b.Input("keys", nk, heads*hd)
		y := b.Apply(at, b.Input("q", prompts*nq, heads*hd), k, b.Input("v", nk, heads*hd))
		outputs := []*G.Node{y}
		if both {
			outputs = append(outputs, b.Apply(op.GELU{}, k))
		}
		second, err := cpu.Compile(b, o, outputs...)
		require.NoError(t, err)
		assert.Equal(t, both, slices.Contains(second.Steps(), "from_panels"))
		require.NoError(t, second.Bind("keys", first.Output(0)))
		copy(second.Input("q"), q)
		copy(second.Input("v"), v)
		require.NoError(t, second.Run(context.Background()))
		assert.Equal(t, want, second.Output(0))
	}
}

// TestStockOps runs ops of gorgonia's own between ours.
func TestStockOps(t *testing.T) {
	b := graph.NewBuilder()
	x := b.Apply(op.ReLU{}, b.Input("x", 2, 2))
	y := G.Must(G.Add(x, G.Must(G.Square(x))))
	p, err := cpu.Compile(b, graph.CompileOptions{}, b.Apply(op.ReLU{}, y))
	require.NoError(t, err)
	copy(p.Input("x"), []float32{-1, 2, 3, 4})
	require.NoError(t, p.Run(context.Background()))
	assert.Equal(t, []float32{0, 6, 12, 20}, p.Output(0))
}

// TestPrepare makes the forms that Compile finds, once.
func TestPrepare(t *testing.T) {
	reads := 0
	w := graph.NewWeight("w", []int{4, 2}, func(use func([]float32)) error { reads++; use(make([]float32, 8)); return nil })
	for range 2 {
		b := graph.NewBuilder()
		y := b.Apply(op.Linear{}, b.Input("x", 1, 2), b.Weight(w))
		require.NoError(t, cpu.Backend{}.Prepare(b, graph.CompileOptions{}, y))
		_, err := cpu.Backend{}.Compile(b, graph.CompileOptions{}, y)
		require.NoError(t, err)
	}
	assert.Equal(t, 1, reads)
}
