package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// LayerNormGradX is the gradient of a layer norm's input.
//
// Inputs: dy [M, C], x [M, C], gamma [C]. Output: [M, C].
type LayerNormGradX struct{ Eps float32 }

// Name implements [graph.Op].
func (LayerNormGradX) Name() string { return "layer_norm_grad_x" }

// Params implements [graph.Op].
func (l LayerNormGradX) Params() string { return fmt.Sprintf("eps=%g", l.Eps) }

// InPlace implements [graph.InPlacer].
func (LayerNormGradX) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (LayerNormGradX) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, -1}, tensor.Shape{-1}); err != nil {
		return nil, err
	}
	return in[0], match(in[1:], in[0], tensor.Shape{in[0][1]})
}

// LayerNormGradParams is the gradient of a layer norm's scale, then that of
// its shift.
//
// Inputs: dy [M, C], x [M, C]. Output: [2*C].
type LayerNormGradParams struct{ Eps float32 }

// Name implements [graph.Op].
func (LayerNormGradParams) Name() string { return "layer_norm_grad_params" }

// Params implements [graph.Op].
func (l LayerNormGradParams) Params() string { return fmt.Sprintf("eps=%g", l.Eps) }

// Shape implements [graph.Op].
func (LayerNormGradParams) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	return tensor.Shape{2 * in[0][1]}, match(in[1:], in[0])
}

// GELUGrad is the gradient of [GELU].
//
// Inputs: dy and x of one shape. Output: the same shape.
type GELUGrad struct{}

// Name implements [graph.Op].
func (GELUGrad) Name() string { return "gelu_grad" }

// Params implements [graph.Op].
func (GELUGrad) Params() string { return "" }

// InPlace implements [graph.InPlacer].
func (GELUGrad) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (GELUGrad) Shape(in []tensor.Shape) (tensor.Shape, error) { return alike(in, 2) }

// ReLUGrad is the gradient through a rectifier.
//
// Inputs: dy, and y, what the rectifier gave, of one shape. Output: the same
// shape.
type ReLUGrad struct{}

// Name implements [graph.Op].
func (ReLUGrad) Name() string { return "relu_grad" }

// Params implements [graph.Op].
func (ReLUGrad) Params() string { return "" }

// InPlace implements [graph.InPlacer].
func (ReLUGrad) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (ReLUGrad) Shape(in []tensor.Shape) (tensor.Shape, error) { return alike(in, 2) }

// alike checks that there are n inputs of one shape, and returns it.
func alike(in []tensor.Shape, n int) (tensor.Shape, error) {
	if len(in) != n {
		return nil, fmt.Errorf("%d inputs, want %d: %w", len(in), n, graph.ErrShape)
	}
	for _, s := range in[1:] {
		if !s.Eq(in[0]) {
			return nil, fmt.Errorf("shapes %v differ: %w", in, graph.ErrShape)
		}
	}
	return in[0], nil
}
