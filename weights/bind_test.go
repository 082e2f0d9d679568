package weights_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

type linear struct {
	Weight weights.Param  `weight:"weight"`
	Bias   *weights.Param `weight:"bias,optional"`
}

type block struct {
	Norm weights.Param `weight:"norm1.weight"`
	Proj linear        `weight:"attn.proj"`
	note string        // no tag: not walked
}

type net struct {
	Pos    weights.Param   `weight:"pos_embed"`
	Blocks []*block        `weight:"blocks"`
	Tokens []weights.Param `weight:"tokens,optional"`
	Extra  *block          `weight:"extra,optional"`
}

func newNet() *net {
	b := func() *block {
		return &block{Norm: weights.Param{Shape: []int{2}}, Proj: linear{
			Weight: weights.Param{Shape: []int{3, 2}}, Bias: &weights.Param{Shape: []int{3}}}}
	}
	return &net{
		Pos:    weights.Param{Shape: []int{1, 2}},
		Blocks: []*block{b(), b()},
		Tokens: []weights.Param{{Shape: []int{1}}},
	}
}

func data(shape ...int) weights.TensorData {
	n := 1
	for _, d := range shape {
		n *= d
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i)
	}
	return weights.TensorData{Shape: shape, Data: x}
}

func netTensors() map[string]weights.TensorData {
	return map[string]weights.TensorData{
		"pos_embed":                 data(1, 2),
		"blocks.0.norm1.weight":     data(2),
		"blocks.0.attn.proj.weight": data(3, 2),
		"blocks.0.attn.proj.bias":   data(3),
		"blocks.1.norm1.weight":     data(2),
		"blocks.1.attn.proj.weight": data(3, 2),
		"blocks.1.attn.proj.bias":   data(3),
		"tokens.0":                  data(1),
	}
}

func TestBind(t *testing.T) {
	tensors := netTensors()
	delete(tensors, "tokens.0")
	delete(tensors, "blocks.1.attn.proj.bias")
	tensors["pixel_mean"] = data(3, 1, 1) // harmless
	n := newNet()
	require.NoError(t, weights.Bind(weights.FromTensors(tensors), n))

	x, err := n.Blocks[0].Proj.Weight.Float32s()
	require.NoError(t, err)
	assert.Equal(t, []float32{0, 1, 2, 3, 4, 5}, x)
	assert.Equal(t, "blocks.0.attn.proj.weight", n.Blocks[0].Proj.Weight.Name())
	assert.True(t, n.Blocks[0].Proj.Bias.Present())
	n.Blocks[0].Proj.Bias.Release()

	assert.False(t, n.Blocks[1].Proj.Bias.Present())
	_, err = n.Blocks[1].Proj.Bias.Float32s()
	require.ErrorIs(t, err, weights.ErrMissing)
	assert.EqualError(t, err, "weights: read blocks.1.attn.proj.bias: missing")
	n.Blocks[1].Proj.Bias.Release()
}

// TestBindReportsEveryFault: one error names them all, in order.
func TestBindReportsEveryFault(t *testing.T) {
	tensors := netTensors()
	delete(tensors, "blocks.1.norm1.weight")
	tensors["blocks.0.attn.proj.weight"] = data(2, 3)
	tensors["blocks.2.norm1.weight"] = data(2)
	err := weights.Bind(weights.FromTensors(tensors), newNet())
	require.ErrorIs(t, err, weights.ErrMissing)
	require.ErrorIs(t, err, weights.ErrUnexpected)
	require.ErrorIs(t, err, weights.ErrShape)
	assert.Equal(t, []string{
		"weights: bind blocks.0.attn.proj.weight: shape [2 3], want [3 2]: wrong shape",
		"weights: bind blocks.1.norm1.weight: missing, want shape [2]",
		"weights: bind blocks.2.norm1.weight: unexpected, shape [2]",
	}, strings.Split(err.Error(), "\n"))
}

func TestBindRefusesDestinations(t *testing.T) {
	c := weights.FromTensors(nil)
	var nilNet *net
	for _, tt := range []struct {
		name string
		dst  any
		want string
	}{
		{"nil", nil, "not a pointer to a struct"},
		{"nil pointer", nilNet, "not a pointer to a struct"},
		{"struct", net{}, "not a pointer to a struct"},
		{"field type", &struct {
			A int `weight:"a"`
		}{}, "a: cannot bind a int"},
		{"unexported", &struct {
			a weights.Param `weight:"a"`
		}{}, "not exported"},
		{"tag", &struct {
			A weights.Param `weight:"a,omitempty"`
		}{}, "want \"name\", \"name,optional\" or \"name,nilable\""},
		{"nil part", &struct {
			A *linear `weight:"a"`
		}{}, "a: nil *weights_test.linear"},
		{"name used twice", &struct {
			A weights.Param `weight:"a"`
			B weights.Param `weight:"a"`
		}{}, "weights: bind a: bound to two fields"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := weights.Bind(c, tt.dst)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestSpecs(t *testing.T) {
	assert.Equal(t, []weights.Spec{
		{Name: "pos_embed", Shape: []int{1, 2}},
		{Name: "blocks.0.norm1.weight", Shape: []int{2}},
		{Name: "blocks.0.attn.proj.weight", Shape: []int{3, 2}},
		{Name: "blocks.1.norm1.weight", Shape: []int{2}},
		{Name: "blocks.1.attn.proj.weight", Shape: []int{3, 2}},
	}, weights.Specs(newNet()))
	assert.Empty(t, newNet().Blocks[0].note)
	assert.Nil(t, weights.Specs(3))
}

func ExampleBind() {
	type linear struct {
		Weight weights.Param `weight:"weight"`
		Bias   weights.Param `weight:"bias"`
	}
	var net struct {
		Proj linear `weight:"attn.proj"`
	}
	net.Proj.Weight.Shape = []int{2, 3}
	net.Proj.Bias.Shape = []int{2}

	c := weights.FromTensors(map[string]weights.TensorData{
		"attn.proj.weight": {Shape: []int{3, 2}, Data: make([]float32, 6)},
		"attn.proj.gamma":  {Shape: []int{2}, Data: make([]float32, 2)},
	})
	fmt.Println(weights.Bind(c, &net))
	// Output:
	// weights: bind attn.proj.bias: missing, want shape [2]
	// weights: bind attn.proj.gamma: unexpected, shape [2]
	// weights: bind attn.proj.weight: shape [3 2], want [2 3]: wrong shape
}

func ExampleRandom() {
	var net struct {
		Weight weights.Param `weight:"mask_decoder.iou_prediction_head.layers.0.weight"`
	}
	net.Weight.Shape = []int{8, 8}
	if err := weights.Bind(weights.Random(weights.Specs(&net), 7), &net); err != nil {
		fmt.Println(err)
		return
	}
	x, err := net.Weight.Float32s()
	fmt.Printf("%.4f %v\n", x[:3], err)
	// Output:
	// [0.2546 -0.5855 -0.4387] <nil>
}
