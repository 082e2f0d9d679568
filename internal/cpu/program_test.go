package cpu_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
)

// mix is y[i] = f(x[i]) + the sum of the other inputs; over says whether it
// may overwrite x.
type mix struct {
	k    float32
	over bool
}

func (mix) Name() string     { return "mix" }
func (m mix) Params() string { return fmt.Sprint(m.k, m.over) }
func (m mix) InPlace() int {
	if m.over {
		return 0
	}
	return -1
}

func (mix) Shape(in []tensor.Shape) (tensor.Shape, error) {
	for _, s := range in {
		if !s.Eq(in[0]) {
			return nil, fmt.Errorf("%v and %v: %w", s, in[0], graph.ErrShape)
		}
	}
	return in[0], nil
}

func (m mix) Forward(out graph.View, in []graph.View) error {
	for i := range out.Data {
		v := m.k*in[0].Data[i] + 1
		for _, x := range in[1:] {
			v += x.Data[i]
		}
		out.Data[i] = v
	}
	return nil
}

// bad fails in a way of its own.
type bad struct {
	mix
	panics bool
}

var errBad = errors.New("bad luck")

func (b bad) Forward(graph.View, []graph.View) error {
	if b.panics {
		panic("out of luck")
	}
	return errBad
}

// gate calls f when it runs.
type gate struct {
	mix
	f func()
}

func (g gate) Forward(out graph.View, in []graph.View) error {
	g.f()
	return g.mix.Forward(out, in)
}

// randomGraph builds a graph of n nodes, some of them in place, and returns its
// outputs and the values they must have.
func randomGraph(b *graph.Builder, rng *rand.Rand, n int) (outs []*G.Node, want [][]float32) {
	size := 1 + rng.IntN(40)
	var nodes []*G.Node
	var values [][]float32
	for i := 0; i < 3; i++ {
		data := make([]float32, size)
		for j := range data {
			data[j] = rng.Float32()
		}
		nodes = append(nodes, b.Constant(fmt.Sprint("w", i), data, size))
		values = append(values, data)
	}
	for i := 0; i < n; i++ {
		m := mix{k: rng.Float32(), over: rng.IntN(2) == 0}
		var in []*G.Node
		var views []graph.View
		for j := 0; j <= rng.IntN(3); j++ {
			k := max(0, len(nodes)-1-rng.IntN(8))
			in = append(in, nodes[k])
			views = append(views, graph.View{Data: values[k]})
		}
		out := make([]float32, size)
		_ = m.Forward(graph.View{Data: out}, views)
		nodes, values = append(nodes, b.Apply(m, in...)), append(values, out)
	}
	for _, i := range []int{len(nodes) - 1, 3 + rng.IntN(n)} {
		outs, want = append(outs, nodes[i]), append(want, values[i])
	}
	return outs, want
}

func TestRandomGraphs(t *testing.T) {
	for seed := uint64(0); seed < 300; seed++ {
		rng := rand.New(rand.NewPCG(seed, 1))
		b := graph.NewBuilder()
		outs, want := randomGraph(b, rng, 1+rng.IntN(60))
		p, err := cpu.Compile(b, graph.CompileOptions{}, outs...)
		require.NoError(t, err)
		for run := 0; run < 2; run++ {
			require.NoError(t, p.Run(context.Background()))
			for i := range outs {
				require.Equal(t, want[i], p.Output(i), "seed %d run %d output %d", seed, run, i)
			}
		}
		arena, separate := p.Bytes()
		assert.LessOrEqual(t, arena, separate)
	}
}

// TestTapeMachine runs planned and unplanned graphs under gorgonia's own VM.
// half is the first half of its input, which it may overwrite.
type half struct{ mix }

func (half) Shape(in []tensor.Shape) (tensor.Shape, error) { return tensor.Shape{in[0][0] / 2}, nil }

func (h half) Forward(out graph.View, in []graph.View) error {
	return h.mix.Forward(out, []graph.View{{Data: in[0].Data[:len(out.Data)]}})
}

// TestSmallerInPlace: a result may lie where a larger input was, and what
// follows it may not outgrow it unnoticed.
func TestSmallerInPlace(t *testing.T) {
	b := graph.NewBuilder()
	x := b.Constant("x", []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32}, 32)
	y := b.Apply(mix{k: 2}, x)                                          // 2x + 1
	z := b.Apply(mix{k: 1, over: true}, b.Apply(half{mix{1, true}}, y)) // 2x + 3
	p, err := cpu.Compile(b, graph.CompileOptions{}, z)
	require.NoError(t, err)
	require.NoError(t, p.Run(context.Background()))
	arena, separate := p.Bytes()
	assert.Equal(t, 4*32, arena)
	assert.Equal(t, 4*(32+16+16), separate)
	for i, v := range p.Output(0) {
		assert.Equal(t, float32(2*(i+1)+3), v)
	}
}

func TestTapeMachine(t *testing.T) {
	for seed := uint64(0); seed < 60; seed++ {
		for _, planned := range []bool{true, false} {
			rng := rand.New(rand.NewPCG(seed, 2))
			b := graph.NewBuilder()
			outs, want := randomGraph(b, rng, 1+rng.IntN(60))
			if planned {
				_, err := cpu.Compile(b, graph.CompileOptions{}, outs...)
				require.NoError(t, err)
			}
			b.Run(cpu.Run)
			vm := G.NewTapeMachine(b.Graph())
			require.NoError(t, vm.RunAll())
			for i, o := range outs {
				require.Equal(t, want[i], o.Value().Data(), "seed %d planned %t output %d", seed, planned, i)
			}
			require.NoError(t, vm.Close())
		}
	}
}

func TestRunErrors(t *testing.T) {
	for _, panics := range []bool{false, true} {
		b := graph.NewBuilder()
		p, err := cpu.Compile(b, graph.CompileOptions{}, b.Apply(bad{panics: panics}, b.Input("x", 2)))
		require.NoError(t, err)
		err = p.Run(context.Background())
		if panics {
			assert.ErrorContains(t, err, "mix: out of luck")
		} else {
			assert.ErrorIs(t, err, errBad)
		}
	}
}

func TestBind(t *testing.T) {
	b := graph.NewBuilder()
	p, err := cpu.Compile(b, graph.CompileOptions{}, b.Apply(mix{k: 2}, b.Input("x", 2)))
	require.NoError(t, err)
	require.NoError(t, p.Bind("x", []float32{3, 4}))
	require.NoError(t, p.Run(context.Background()))
	assert.Equal(t, []float32{7, 9}, p.Output(0))
	assert.Equal(t, []int{2}, p.OutputShape(0))
	assert.ErrorIs(t, p.Bind("x", make([]float32, 3)), graph.ErrShape)
	assert.ErrorContains(t, p.Bind("y", nil), "no such input")
}

func TestCancelBetweenNodes(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	b := graph.NewBuilder()
	x := b.Input("x", 2)
	ran := 0
	for i := 0; i < 5; i++ {
		x = b.Apply(gate{f: func() {
			if ran++; ran == 2 {
				cancel()
			}
		}}, x)
	}
	p, err := cpu.Compile(b, graph.CompileOptions{}, x)
	require.NoError(t, err)
	assert.ErrorIs(t, p.Run(ctx), context.Canceled)
	assert.Equal(t, 2, ran)
}

func TestStages(t *testing.T) {
	b := graph.NewBuilder()
	x := b.Stage("first", b.Apply(mix{k: 2, over: true}, b.Input("x", 2)))
	y := b.Apply(mix{k: 3, over: true}, x)
	p, err := cpu.Compile(b, graph.CompileOptions{KeepStages: true}, y)
	require.NoError(t, err)
	copy(p.Input("x"), []float32{1, 2})
	require.NoError(t, p.Run(context.Background()))
	got, shape, ok := p.Stage("first")
	require.True(t, ok)
	assert.Equal(t, []float32{3, 5}, got)
	assert.Equal(t, []int{2}, shape)
	assert.Equal(t, []float32{10, 16}, p.Output(0))
	assert.Equal(t, []string{"first"}, p.Stages())
	_, _, ok = p.Stage("second")
	assert.False(t, ok)
}
