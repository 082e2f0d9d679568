package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// RelPosAttention is the encoder's attention with decomposed relative
// positions, over windows or the whole map. Tokens stay in picture order;
// the zero padding of the last windows takes part as it does upstream,
// through Pad.
//
// Inputs: qkv [H*W, 3*Heads*HeadDim]; relH, relW [2*S-1, HeadDim]; pad
// [3*Heads*HeadDim], the query, key and value of a padding token.
// Output: [H*W, Heads*HeadDim].
//
// Source: image_encoder.py, Attention, window_partition,
// add_decomposed_rel_pos (segment-anything dca509f).
type RelPosAttention struct{ kernel.Grid }

// Name implements [graph.Kernel].
func (a RelPosAttention) Name() string {
	if a.Window == 0 {
		return "global_attention"
	}
	return "window_attention"
}

// Params implements [graph.Kernel].
func (a RelPosAttention) Params() string {
	return fmt.Sprintf("%dx%d window=%d heads=%d dim=%d", a.H, a.W, a.Window, a.Heads, a.HeadDim)
}

// Shape implements [graph.Kernel].
func (a RelPosAttention) Shape(in []tensor.Shape) (tensor.Shape, error) {
	n, d := a.H*a.W, a.Heads*a.HeadDim
	sh, sw := a.Window, a.Window
	if a.Window == 0 {
		sh, sw = a.H, a.W
	}
	err := match(in, tensor.Shape{n, 3 * d}, tensor.Shape{2*sh - 1, a.HeadDim}, tensor.Shape{2*sw - 1, a.HeadDim}, tensor.Shape{3 * d})
	return tensor.Shape{n, d}, err
}

// Forward implements [graph.Kernel].
func (a RelPosAttention) Forward(out graph.View, in []graph.View) error {
	kernel.RelPosAttention(out.Data, in[0].Data, a.Grid, in[1].Data, in[2].Data, in[3].Data)
	return nil
}

// Attention is softmax(q·kᵀ/√HeadDim)·v for each head and each of Batch
// prompts. Keys and values may be shared by all prompts, and so may queries.
//
// Inputs: q [Batch*NQ or NQ, D], k and v [Batch*NK or NK, D], D =
// Heads*HeadDim. Output: [Batch*NQ, D].
//
// Source: transformer.py, Attention (segment-anything dca509f).
type Attention struct {
	Batch, Heads, HeadDim, NQ, NK int
}

// Name implements [graph.Kernel].
func (Attention) Name() string { return "attention" }

// Params implements [graph.Kernel].
func (a Attention) Params() string {
	return fmt.Sprintf("batch=%d heads=%d dim=%d queries=%d keys=%d", a.Batch, a.Heads, a.HeadDim, a.NQ, a.NK)
}

// Shape implements [graph.Kernel].
func (a Attention) Shape(in []tensor.Shape) (tensor.Shape, error) {
	d := a.Heads * a.HeadDim
	if err := match(in, tensor.Shape{-1, d}, tensor.Shape{-1, d}, tensor.Shape{-1, d}); err != nil {
		return nil, err
	}
	for i, n := range []int{a.NQ, a.NK, a.NK} {
		if r := in[i][0]; r != n && r != a.Batch*n {
			return nil, fmt.Errorf("input %d has %d rows, want %d or %d: %w", i, r, n, a.Batch*n, graph.ErrShape)
		}
	}
	return tensor.Shape{a.Batch * a.NQ, d}, nil
}

// Forward implements [graph.Kernel].
func (a Attention) Forward(out graph.View, in []graph.View) error {
	one := func(p int) {
		n := a.NQ * a.Heads * a.HeadDim
		kernel.Attention(out.Data[p*n:(p+1)*n], a.part(in[0], p, a.NQ), a.part(in[1], p, a.NK), a.part(in[2], p, a.NK),
			a.Heads, a.HeadDim, a.NQ, a.NK)
	}
	if a.Batch == 1 {
		one(0)
		return nil
	}
	kernel.Parallel(a.Batch, one)
	return nil
}

// part is the p-th prompt's rows of v, or all rows if they are shared.
func (a Attention) part(v graph.View, p, rows int) []float32 {
	if v.Shape[0] == rows {
		return v.Data
	}
	n := rows * v.Shape[1]
	return v.Data[p*n : (p+1)*n]
}
