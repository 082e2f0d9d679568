package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// AttentionGrad is the gradient of [Attention]: of q, of k and of v, one after
// the other.
//
// Inputs: dy [Batch*NQ, D], q, k, v as Attention has them, y [Batch*NQ, D],
// what it gave. Output: [values of q, k and v].
type AttentionGrad struct{ Attention }

// Name implements [graph.Op].
func (AttentionGrad) Name() string { return "attention_grad" }

// Shape implements [graph.Op].
func (a AttentionGrad) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 5 {
		return nil, fmt.Errorf("%d inputs, want 5: %w", len(in), graph.ErrShape)
	}
	y, err := a.Attention.Shape(in[1:4])
	if err != nil {
		return nil, err
	}
	if !in[0].Eq(y) || !in[4].Eq(y) {
		return nil, fmt.Errorf("results %v and %v, want %v: %w", in[0], in[4], y, graph.ErrShape)
	}
	return tensor.Shape{in[1].TotalSize() + in[2].TotalSize() + in[3].TotalSize()}, nil
}

// RelPosGrad is the gradient of [RelPosAttention]: of qkv, relH, relW and pad,
// one after the other.
//
// Inputs: dy [H*W, D], then those of RelPosAttention, then y [H*W, D], what it
// gave. Output: [values of qkv, relH, relW and pad].
type RelPosGrad struct{ RelPosAttention }

// Name implements [graph.Op].
func (a RelPosGrad) Name() string { return a.RelPosAttention.Name() + "_grad" }

// Shape implements [graph.Op].
func (a RelPosGrad) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 6 {
		return nil, fmt.Errorf("%d inputs, want 6: %w", len(in), graph.ErrShape)
	}
	y, err := a.RelPosAttention.Shape(in[1:5])
	if err != nil {
		return nil, err
	}
	if !in[0].Eq(y) || !in[5].Eq(y) {
		return nil, fmt.Errorf("results %v and %v, want %v: %w", in[0], in[5], y, graph.ErrShape)
	}
	n := 0
	for _, s := range in[1:5] {
		n += s.TotalSize()
	}
	return tensor.Shape{n}, nil
}
