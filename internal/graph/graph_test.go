package graph_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// twice is 2x + 1.
type twice struct{}

func (twice) Name() string   { return "twice" }
func (twice) Params() string { return "" }

func (twice) Shape(in []tensor.Shape) (tensor.Shape, error) {
	for _, s := range in {
		if !s.Eq(in[0]) {
			return nil, fmt.Errorf("%v and %v: %w", s, in[0], graph.ErrShape)
		}
	}
	return in[0], nil
}

var errBad = errors.New("bad luck")

func TestBuilderErrors(t *testing.T) {
	for _, tt := range []struct {
		name  string
		build func(b *graph.Builder) *G.Node
		want  string
	}{
		{"name twice", func(b *graph.Builder) *G.Node { b.Input("x", 2); return b.Input("x", 2) }, "graph: leaf x: name used twice"},
		{"constant too short", func(b *graph.Builder) *G.Node { return b.Constant("w", make([]float32, 3), 2, 2) }, "graph: constant w: 3 values, want 4"},
		{"shapes", func(b *graph.Builder) *G.Node {
			return b.Apply(twice{}, b.Input("x", 2), b.Input("y", 3))
		}, "graph: node twice: (3) and (2)"},
		{"stage twice", func(b *graph.Builder) *G.Node {
			x := b.Apply(twice{}, b.Input("x", 2))
			b.Stage("s", x)
			return b.Stage("s", x)
		}, "graph: stage s: name used twice"},
		{"first error sticks", func(b *graph.Builder) *G.Node {
			b.Fail(errBad)
			return b.Stage("s", b.Apply(twice{}, b.Input("x", 2)))
		}, "bad luck"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := graph.NewBuilder()
			_, err := b.Nodes(tt.build(b))
			assert.ErrorContains(t, err, tt.want)
			assert.Error(t, b.Err())
		})
	}
}

// TestNodes lists what the outputs need, with the leaves' kinds.
func TestNodes(t *testing.T) {
	w := graph.NewWeight("w", []int{2}, func(use func([]float32)) error { use([]float32{1, 2}); return nil })
	v := graph.NewWeight("v", []int{2}, nil)
	b := graph.NewBuilder()
	b.Variables(func(name string) bool { return name == "v" })
	y := b.Apply(twice{}, b.Input("x", 2), b.Weight(w), b.Weight(w), b.Weight(v))
	b.Apply(twice{}, y) // nobody needs it
	nodes, err := b.Nodes(y)
	require.NoError(t, err)
	kinds := map[string]graph.LeafKind{}
	for i, n := range nodes {
		for _, k := range n.In {
			assert.Less(t, k, i)
		}
		if n.Op == nil {
			kinds[n.Name] = n.Leaf
		}
	}
	assert.Equal(t, map[string]graph.LeafKind{"x": graph.LeafInput, "w": graph.LeafWeight, "v": graph.LeafVariable}, kinds)
	require.Len(t, nodes, 4)
	last := nodes[3]
	assert.Equal(t, "twice", last.Op.Name())
	require.Len(t, last.In, 4)
	assert.Equal(t, last.In[1], last.In[2], "one node for a weight")
	assert.Len(t, b.Inputs(), 2)
}

// TestNothingToRunWith: gorgonia's machines need a backend's hands.
func TestNothingToRunWith(t *testing.T) {
	b := graph.NewBuilder()
	b.Apply(twice{}, b.Constant("x", []float32{3}, 1))
	vm := G.NewTapeMachine(b.Graph())
	defer vm.Close()
	assert.ErrorContains(t, vm.RunAll(), "call Builder.Run first")
}

func TestWeightForms(t *testing.T) {
	reads := 0
	w := graph.NewWeight("w", []int{2, 1}, func(use func([]float32)) error { reads++; use([]float32{3, 4}); return nil })
	turned := func(v []float32) graph.Form {
		data := []float32{v[1], v[0]}
		return graph.Form{Data: data, Logical: func() []float32 { return []float32{data[1], data[0]} }}
	}
	for range 2 {
		data, err := w.Form("turned", turned)
		require.NoError(t, err)
		assert.Equal(t, []float32{4, 3}, data)
	}
	assert.Equal(t, 1, reads)
	assert.Equal(t, int64(8), w.Bytes())
	require.NoError(t, w.Detach())
	assert.Equal(t, int64(8), w.Bytes(), "the form gives the values back")
	v, err := w.Values()
	require.NoError(t, err)
	assert.Equal(t, []float32{3, 4}, v)
	assert.Equal(t, 1, reads)

	// Without such a form the values are kept as they are.
	lost := graph.NewWeight("lost", []int{1}, func(use func([]float32)) error { use([]float32{5}); return nil })
	_, err = lost.Form("sum", func(v []float32) graph.Form { return graph.Form{Data: []float32{v[0] + 1}} })
	require.NoError(t, err)
	require.NoError(t, lost.Detach())
	v, err = lost.Values()
	require.NoError(t, err)
	assert.Equal(t, []float32{5}, v)

	bad := graph.NewWeight("bad", []int{3}, func(use func([]float32)) error { use([]float32{5}); return nil })
	_, err = bad.Values()
	assert.ErrorIs(t, err, graph.ErrShape)
	none := graph.NewWeight("none", []int{3}, func(func([]float32)) error { return errBad })
	assert.ErrorIs(t, none.Detach(), errBad)
}

// TestPlan checks that no two results that are alive at one step overlap, but
// for those that are made in place.
func TestPlan(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 4))
		steps := make([]graph.Step, 1+rng.IntN(60))
		for i := range steps {
			steps[i] = graph.Step{Size: rng.IntN(40), InPlace: rng.IntN(3) - 1}
			for range min(i, rng.IntN(4)) {
				steps[i].In = append(steps[i].In, i-1-rng.IntN(min(i, 8)))
			}
		}
		keep := []int{len(steps) - 1, rng.IntN(len(steps))}
		p := graph.PlanBuffers(steps, keep)
		owner := make([]int, p.Arena) // the step whose result lies there
		for i, s := range steps {
			for _, k := range s.In {
				for at := range steps[k].Size {
					require.Equal(t, k, owner[p.Offset[k]+at], "seed %d: step %d reads %d", seed, i, k)
				}
			}
			for at := range s.Size {
				owner[p.Offset[i]+at] = i
			}
		}
		for _, k := range keep {
			for at := range steps[k].Size {
				require.Equal(t, k, owner[p.Offset[k]+at], "seed %d: %d is kept", seed, k)
			}
		}
		assert.LessOrEqual(t, p.Arena, p.Sum)
	}
}

// idle is a program that does nothing.
type idle struct{ graph.Program }

func (*idle) Run(ctx context.Context) error { return ctx.Err() }

func TestPool(t *testing.T) {
	built := 0
	pool := graph.NewPool(1, 1, func(n int) (graph.Program, error) {
		if n < 0 {
			return nil, errBad
		}
		built++
		return new(idle), nil
	})
	use := func(ctx context.Context, key int) error {
		return pool.With(ctx, key, func(p graph.Program) error { return p.Run(ctx) })
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	require.NoError(t, use(ctx, 1))
	require.NoError(t, use(ctx, 1))
	assert.Equal(t, 1, built, "the idle program serves again")
	require.NoError(t, use(ctx, 2))
	require.NoError(t, use(ctx, 1))
	assert.Equal(t, 3, built, "only one idle program is kept")
	assert.ErrorIs(t, use(ctx, -1), errBad)

	// While the only program is out, others wait until their context ends.
	var waited atomic.Bool
	err := pool.With(ctx, 1, func(graph.Program) error {
		done := make(chan error)
		go func() { done <- use(ctx, 1) }()
		cancel()
		err := <-done
		waited.Store(true)
		return err
	})
	assert.ErrorIs(t, err, context.Canceled)
	assert.True(t, waited.Load())
}

func ExampleBuilder() {
	b := graph.NewBuilder()
	y := b.Apply(twice{}, b.Input("x", 3))
	nodes, err := b.Nodes(y)
	if err != nil {
		panic(err)
	}
	for _, n := range nodes {
		fmt.Println(n.Node.Name(), n.Shape)
	}
	// Output:
	// x (3)
	// twice(%0) (3)
}
