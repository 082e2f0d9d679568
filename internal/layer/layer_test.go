package layer_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/layer"
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

func TestChannelsLast(t *testing.T) {
	// [out 1, in 2, 2 x 2]: channel 0 is 1 to 4, channel 1 is 5 to 8.
	assert.Equal(t, []float32{1, 5, 2, 6, 3, 7, 4, 8}, layer.ChannelsLast([]float32{1, 2, 3, 4, 5, 6, 7, 8}, 1, 2, 2))
}

func TestConvAndNorm(t *testing.T) {
	p, err := bind([]float32{1, 2, 3, 4, 5, 6, 7, 8}, []float32{10}, 1, 2, 2, 2)
	require.NoError(t, err)
	var r layer.Reader
	conv := r.Conv(&p.W, &p.B)
	require.NoError(t, r.Err())
	assert.Equal(t, 8, conv.K)
	assert.Equal(t, int64(4*(kernel.PackedLen(1, 8)+1)), r.Bytes)
	b := graph.NewBuilder()
	prog, err := b.Compile(conv.Apply(b, "conv", b.Input("x", 1, 8), kernel.ActNone, nil))
	require.NoError(t, err)
	copy(prog.Input("x"), []float32{1, 0, 0, 1, 0, 0, 0, 0}) // channel 0 of pixel 0, channel 1 of pixel 1
	require.NoError(t, prog.Run(context.Background()))
	assert.Equal(t, []float32{10 + 1 + 6}, prog.Output(0))
}

func TestFirstErrorSticks(t *testing.T) {
	bad, err := bind([]float32{1, float32(math.NaN())}, []float32{1}, 1, 2)
	require.NoError(t, err)
	good, err := bind([]float32{1, 2}, []float32{1}, 1, 2)
	require.NoError(t, err)
	var r, joined layer.Reader
	r.Linear(&bad.W, &bad.B)
	require.ErrorIs(t, r.Err(), weights.ErrNotFinite)
	first := r.Err()
	assert.Empty(t, r.Array(&good.W))
	assert.Equal(t, first, r.Err())
	joined.Array(&good.W)
	joined.Join(&r)
	assert.Equal(t, first, joined.Err())
	assert.Equal(t, r.Bytes+8, joined.Bytes)
}

func ExampleLinear_Apply() {
	p, err := bind([]float32{1, 2, 3, 4, 5, 6}, []float32{0.5, -0.5}, 2, 3)
	if err != nil {
		panic(err)
	}
	var r layer.Reader
	lin := r.Linear(&p.W, &p.B)
	if err := r.Err(); err != nil {
		panic(err)
	}
	b := graph.NewBuilder()
	prog, err := b.Compile(lin.Apply(b, "lin", b.Input("x", 1, 3), kernel.ActNone, nil))
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
