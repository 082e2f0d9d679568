package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// Place is the gradient of [Pick]: zeros, with the input's rows added at those
// that were picked.
//
// Input: [Batch*len(Which), C]. Output: [Batch*Rows, C].
type Place struct{ Pick }

// Name implements [graph.Op].
func (Place) Name() string { return "place" }

// Shape implements [graph.Op].
func (k Place) Shape(in []tensor.Shape) (tensor.Shape, error) {
	return blocks(in, len(k.Which), k.Rows)
}

// PointsGrad is the gradient of the table of [Points].
//
// Inputs: dy [N, C], points [N, 3]. Output: [Rows, C].
type PointsGrad struct{ Rows int }

// Name implements [graph.Op].
func (PointsGrad) Name() string { return "points_grad" }

// Params implements [graph.Op].
func (p PointsGrad) Params() string { return fmt.Sprintf("rows=%d", p.Rows) }

// Shape implements [graph.Op].
func (p PointsGrad) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, 3}); err != nil {
		return nil, err
	}
	if in[0][0] != in[1][0] {
		return nil, fmt.Errorf("%d tokens of %d points: %w", in[0][0], in[1][0], graph.ErrShape)
	}
	return tensor.Shape{p.Rows, in[0][1]}, nil
}

// MasksGradUp is the gradient of the map of [Masks].
//
// Inputs: dy [Batch*masks, N], one [Batch, C] for each mask. Output:
// [Batch*N, C].
type MasksGradUp struct{ Masks }

// Name implements [graph.Op].
func (MasksGradUp) Name() string { return "masks_grad_up" }

// Shape implements [graph.Op].
func (m MasksGradUp) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) < 2 || len(in[0]) != 2 || in[0][0] != m.Batch*(len(in)-1) {
		return nil, fmt.Errorf("inputs %v for %d prompts: %w", in, m.Batch, graph.ErrShape)
	}
	for _, s := range in[1:] {
		if len(s) != 2 || s[0] != m.Batch || s[1] != in[1][1] {
			return nil, fmt.Errorf("inputs %v for %d prompts: %w", in, m.Batch, graph.ErrShape)
		}
	}
	return tensor.Shape{m.Batch * in[0][1], in[1][1]}, nil
}

// MasksGradHyper is the gradient of what the hypernetworks put into [Masks],
// one mask after the other.
//
// Inputs: dy [Batch*masks, N], up [Batch*N, C]. Output: [masks*Batch, C].
type MasksGradHyper struct{ Masks }

// Name implements [graph.Op].
func (MasksGradHyper) Name() string { return "masks_grad_hyper" }

// Shape implements [graph.Op].
func (m MasksGradHyper) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	if in[0][0]%m.Batch != 0 || in[1][0] != m.Batch*in[0][1] {
		return nil, fmt.Errorf("inputs %v for %d prompts: %w", in, m.Batch, graph.ErrShape)
	}
	return tensor.Shape{in[0][0], in[1][1]}, nil
}
