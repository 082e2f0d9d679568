package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// Linear is x·wᵀ + bias: a linear layer, or a 1 x 1 convolution.
//
// Inputs: x [M, K]; the weight [N, K, ...], whose further sizes are 1; bias
// [N], which may be absent. Output: [M, N].
type Linear struct{}

// Name implements [graph.Op].
func (Linear) Name() string { return "linear" }

// Params implements [graph.Op].
func (Linear) Params() string { return "" }

// Shape implements [graph.Op].
func (Linear) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) < 2 || len(in[0]) != 2 || len(in[1]) < 2 {
		return nil, fmt.Errorf("inputs %v, want [M, K], [N, K] and a bias: %w", in, graph.ErrShape)
	}
	w := in[1].Clone()
	n, k := w[0], in[0][1]
	w[1] = k
	for i := 2; i < len(w); i++ {
		w[i] = 1
	}
	return tensor.Shape{in[0][0], n}, match(in, withBias(in, 2, n, in[0], w)...)
}

// withBias are the wanted shapes, and that of a bias of n values if there are
// more than fixed inputs.
func withBias(in []tensor.Shape, fixed, n int, want ...tensor.Shape) []tensor.Shape {
	if len(in) > fixed {
		want = append(want, tensor.Shape{n})
	}
	return want
}
