package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// RelPosAttention is the encoder's attention with decomposed relative
// positions, over windows or the whole map. Tokens stay in picture order;
// the zero padding of the last windows takes part as it does upstream.
//
// Inputs: qkv [H*W, 3*Heads*HeadDim]; relH, relW [2*S-1, HeadDim] with S the
// side of a window, or of the map; pad [3*Heads*HeadDim], the query, key and
// value of a padding token, which are the bias of qkv's projection.
// Output: [H*W, Heads*HeadDim].
//
// Source: image_encoder.py, Attention, window_partition,
// add_decomposed_rel_pos (segment-anything dca509f).
type RelPosAttention struct {
	H, W           int // tokens of the map
	Window         int // tokens of a side of a window; 0: the whole map
	Heads, HeadDim int
}

// Name implements [graph.Op].
func (a RelPosAttention) Name() string {
	if a.Window == 0 {
		return "global_attention"
	}
	return "window_attention"
}

// Params implements [graph.Op].
func (a RelPosAttention) Params() string {
	return fmt.Sprintf("%dx%d window=%d heads=%d dim=%d", a.H, a.W, a.Window, a.Heads, a.HeadDim)
}

// Shape implements [graph.Op].
func (a RelPosAttention) Shape(in []tensor.Shape) (tensor.Shape, error) {
	n, d := a.H*a.W, a.Heads*a.HeadDim
	sh, sw := a.Window, a.Window
	if a.Window == 0 {
		sh, sw = a.H, a.W
	}
	err := match(in, tensor.Shape{n, 3 * d}, tensor.Shape{2*sh - 1, a.HeadDim}, tensor.Shape{2*sw - 1, a.HeadDim}, tensor.Shape{3 * d})
	return tensor.Shape{n, d}, err
}

// OffsetAttention is attention over windows with a learned bias for how many
// rows and columns lie between a query and a key. Tokens stay in picture
// order; the padding of the last windows takes part as it does upstream.
//
// Inputs: qkv [H*W, 3*Heads*HeadDim]; biases [Heads, Window*Window], at
// |dy|*Window + |dx|; pad [3*Heads*HeadDim], the query, key and value of a
// padding token. Output: [H*W, Heads*HeadDim].
//
// Source: tiny_vit_sam.py, Attention, TinyViTBlock (MobileSAM 34bbbfd).
type OffsetAttention struct {
	H, W, Window   int
	Heads, HeadDim int
}

// Name implements [graph.Op].
func (OffsetAttention) Name() string { return "offset_attention" }

// Params implements [graph.Op].
func (a OffsetAttention) Params() string {
	return fmt.Sprintf("%dx%d window=%d heads=%d dim=%d", a.H, a.W, a.Window, a.Heads, a.HeadDim)
}

// Shape implements [graph.Op].
func (a OffsetAttention) Shape(in []tensor.Shape) (tensor.Shape, error) {
	n, d := a.H*a.W, a.Heads*a.HeadDim
	return tensor.Shape{n, d}, match(in, tensor.Shape{n, 3 * d}, tensor.Shape{a.Heads, a.Window * a.Window}, tensor.Shape{3 * d})
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

// Name implements [graph.Op].
func (Attention) Name() string { return "attention" }

// Params implements [graph.Op].
func (a Attention) Params() string {
	return fmt.Sprintf("batch=%d heads=%d dim=%d queries=%d keys=%d", a.Batch, a.Heads, a.HeadDim, a.NQ, a.NK)
}

// Shape implements [graph.Op].
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
