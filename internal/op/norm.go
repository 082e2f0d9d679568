package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// LayerNorm normalises each row to mean 0 and (biased) variance 1, then
// scales and shifts its columns. On channels-last maps it is upstream's
// LayerNorm2d too.
//
// Inputs: x [M, C], gamma [C], beta [C]. Output: [M, C].
type LayerNorm struct{ Eps float32 }

// Name implements [graph.Op].
func (LayerNorm) Name() string { return "layer_norm" }

// Params implements [graph.Op].
func (l LayerNorm) Params() string { return fmt.Sprintf("eps=%g", l.Eps) }

// InPlace implements [graph.InPlacer].
func (LayerNorm) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (LayerNorm) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) == 0 || len(in[0]) != 2 {
		return nil, fmt.Errorf("no [M, C] input: %w", graph.ErrShape)
	}
	c := in[0][1]
	return in[0], match(in, tensor.Shape{-1, c}, tensor.Shape{c}, tensor.Shape{c})
}

// GELU is x·Φ(x), with the exact normal distribution function.
//
// Input: x of any shape. Output: the same shape.
type GELU struct{}

// Name implements [graph.Op].
func (GELU) Name() string { return "gelu" }

// Params implements [graph.Op].
func (GELU) Params() string { return "" }

// InPlace implements [graph.InPlacer].
func (GELU) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (GELU) Shape(in []tensor.Shape) (tensor.Shape, error) { return same(in) }

// ReLU is max(x, 0).
//
// Input: x of any shape. Output: the same shape.
type ReLU struct{}

// Name implements [graph.Op].
func (ReLU) Name() string { return "relu" }

// Params implements [graph.Op].
func (ReLU) Params() string { return "" }

// InPlace implements [graph.InPlacer].
func (ReLU) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (ReLU) Shape(in []tensor.Shape) (tensor.Shape, error) { return same(in) }

// same is the shape of the only input.
func same(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%d inputs, want 1: %w", len(in), graph.ErrShape)
	}
	return in[0], nil
}

// Add is the sum of x and y, where the rows of y are added to each block of
// as many rows of x.
//
// Inputs: x [M, C]; y [..., C], whose R rows divide M. Output: [M, C].
type Add struct{}

// Name implements [graph.Op].
func (Add) Name() string { return "add" }

// Params implements [graph.Op].
func (Add) Params() string { return "" }

// InPlace implements [graph.InPlacer].
func (Add) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (Add) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 2 || len(in[0]) != 2 || len(in[1]) == 0 {
		return nil, fmt.Errorf("inputs %v, want [M, C] and [..., C]: %w", in, graph.ErrShape)
	}
	c, n := in[0][1], in[1].TotalSize()
	if n == 0 || in[1][len(in[1])-1] != c || in[0].TotalSize()%n != 0 {
		return nil, fmt.Errorf("%v does not repeat over %v: %w", in[1], in[0], graph.ErrShape)
	}
	return in[0], nil
}
