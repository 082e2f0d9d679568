package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// LayerNorm normalises each row to mean 0 and (biased) variance 1, then
// scales and shifts its columns. On channels-last maps it is upstream's
// LayerNorm2d too.
//
// Inputs: x [M, C], gamma [C], beta [C]. Output: [M, C].
type LayerNorm struct {
	Eps float32
	// GELU applies GELU to the result.
	GELU bool
}

// Name implements [graph.Kernel].
func (LayerNorm) Name() string { return "layer_norm" }

// Params implements [graph.Kernel].
func (l LayerNorm) Params() string { return fmt.Sprintf("eps=%g gelu=%t", l.Eps, l.GELU) }

// InPlace implements [graph.InPlacer].
func (LayerNorm) InPlace() int { return 0 }

// Shape implements [graph.Kernel].
func (LayerNorm) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) == 0 || len(in[0]) != 2 {
		return nil, fmt.Errorf("no [M, C] input: %w", graph.ErrShape)
	}
	c := in[0][1]
	return in[0], match(in, tensor.Shape{-1, c}, tensor.Shape{c}, tensor.Shape{c})
}

// Forward implements [graph.Kernel].
func (l LayerNorm) Forward(out graph.View, in []graph.View) error {
	kernel.LayerNorm(out.Data, in[0].Data, in[1].Data, in[2].Data, in[0].Shape[0], in[0].Shape[1], l.Eps)
	if l.GELU {
		kernel.GELU(out.Data, out.Data)
	}
	return nil
}

// GELU is x·Φ(x), with the exact normal distribution function.
//
// Input: x of any shape. Output: the same shape.
type GELU struct{}

// Name implements [graph.Kernel].
func (GELU) Name() string { return "gelu" }

// Params implements [graph.Kernel].
func (GELU) Params() string { return "" }

// InPlace implements [graph.InPlacer].
func (GELU) InPlace() int { return 0 }

// Shape implements [graph.Kernel].
func (GELU) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 1 {
		return nil, fmt.Errorf("%d inputs, want 1: %w", len(in), graph.ErrShape)
	}
	return in[0], nil
}

// Forward implements [graph.Kernel].
func (GELU) Forward(out graph.View, in []graph.View) error {
	kernel.GELU(out.Data, in[0].Data)
	return nil
}

// Add is the sum of x and y, where the R rows of y are added to each block
// of R rows of x.
//
// Inputs: x [M, C], y [R, C] with R dividing M. Output: [M, C].
type Add struct{}

// Name implements [graph.Kernel].
func (Add) Name() string { return "add" }

// Params implements [graph.Kernel].
func (Add) Params() string { return "" }

// InPlace implements [graph.InPlacer].
func (Add) InPlace() int { return 0 }

// Shape implements [graph.Kernel].
func (Add) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	if in[1][0] == 0 || in[0][1] != in[1][1] || in[0][0]%in[1][0] != 0 {
		return nil, fmt.Errorf("%v does not repeat over %v: %w", in[1], in[0], graph.ErrShape)
	}
	return in[0], nil
}

// Forward implements [graph.Kernel].
func (Add) Forward(out graph.View, in []graph.View) error {
	n := len(in[1].Data)
	for at := 0; at < len(in[0].Data); at += n {
		kernel.Add(out.Data[at:at+n], in[0].Data[at:at+n], in[1].Data)
	}
	return nil
}
