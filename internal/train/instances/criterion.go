package instances

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// criterion is the loss as the last op of a graph and, so that maps are walked
// through once, its gradient.
//
// Inputs: maps [N, 3]; the target [N, 3], its foreground below 0 where nothing
// is known; the gradient's weight [1]. Output: the loss, then the gradient in the
// maps times the weight, in one row, [1+3*N].
type criterion struct{}

// Name implements [graph.Op].
func (criterion) Name() string { return "instance_criterion" }

// Params implements [graph.Op].
func (criterion) Params() string { return "" }

// Shape implements [graph.Op].
func (criterion) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 3 || len(in[0]) != 2 || in[0][1] != channels || !in[1].Eq(in[0]) || !in[2].Eq(tensor.Shape{1}) {
		return nil, fmt.Errorf("inputs %v, want maps and target [N, %d] and a weight: %w", in, channels, graph.ErrShape)
	}
	return tensor.Shape{1 + in[0].TotalSize()}, nil
}

// Forward implements [graph.Forwarder].
func (criterion) Forward(out graph.View, in []graph.View) error {
	out.Data[0] = float32(dice(in[0].Data, in[1].Data, out.Data[1:], float64(in[2].Data[0])))
	return nil
}
