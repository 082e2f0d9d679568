package layer_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/weights"
)

// params are a linear layer of 2 outputs and 3 inputs and a norm.
type params struct {
	W weights.Param `weight:"w"`
	B weights.Param `weight:"b"`
}

func bind(w []float32, b []float32, shape ...int) (*params, error) {
	p := &params{W: weights.Param{Shape: shape}, B: weights.Param{Shape: []int{len(b)}}}
	return p, weights.Bind(weights.FromTensors(map[string]weights.TensorData{
		"w": {Shape: shape, Data: w}, "b": {Shape: []int{len(b)}, Data: b},
	}), p)
}

func TestReadsWhenAsked(t *testing.T) {
	bad, err := bind([]float32{1, float32(math.NaN())}, []float32{1}, 1, 2)
	require.NoError(t, err)
	var s layer.Set
	l := s.Linear(&bad.W, &bad.B)
	assert.Equal(t, "w", l.W.Name())
	assert.Equal(t, []int{1, 2}, l.W.Shape())
	_, err = l.W.Values()
	assert.ErrorIs(t, err, weights.ErrNotFinite)
	v, err := l.B.Values()
	require.NoError(t, err)
	assert.Equal(t, []float32{1}, v)
	assert.ErrorIs(t, s.Detach(), weights.ErrNotFinite)
	assert.Equal(t, int64(4), s.Bytes())
}

func TestConvAndNorm(t *testing.T) {
	p, err := bind([]float32{1, 2, 3, 4, 5, 6, 7, 8}, []float32{10}, 1, 2, 2, 2)
	require.NoError(t, err)
	n, err := bind([]float32{2}, []float32{7}, 1)
	require.NoError(t, err)
	var s, of layer.Set
	conv, norm := s.Linear(&p.W, &p.B), of.Norm(&n.W, &n.B, 1e-6)
	b := graph.NewBuilder()
	y := conv.Conv(b, op.Conv{Batch: 1, H: 2, W: 2, Stride: 2}, b.Input("x", 4, 2))
	prog, err := cpu.Compile(b, graph.CompileOptions{}, y)
	require.NoError(t, err)
	copy(prog.Input("x"), []float32{1, 0, 0, 1, 0, 0, 0, 0}) // channel 0 of pixel 0, channel 1 of pixel 1
	require.NoError(t, prog.Run(context.Background()))
	assert.Equal(t, []float32{10 + 1 + 6}, prog.Output(0))

	b = graph.NewBuilder()
	prog, err = cpu.Compile(b, graph.CompileOptions{}, norm.Apply(b, b.Input("x", 1, 1)))
	require.NoError(t, err)
	require.NoError(t, prog.Run(context.Background()))
	assert.Equal(t, []float32{7}, prog.Output(0), "one channel is its own mean")
}

func ExampleLinear_Apply() {
	p, err := bind([]float32{1, 2, 3, 4, 5, 6}, []float32{0.5, -0.5}, 2, 3)
	if err != nil {
		panic(err)
	}
	var s layer.Set
	lin := s.Linear(&p.W, &p.B)
	b := graph.NewBuilder()
	prog, err := cpu.Compile(b, graph.CompileOptions{}, lin.Apply(b, b.Input("x", 1, 3)))
	if err != nil {
		panic(err)
	}
	copy(prog.Input("x"), []float32{1, 1, 1})
	if err := prog.Run(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println(prog.Output(0))
	// Output: [6.5 14.5]
}
