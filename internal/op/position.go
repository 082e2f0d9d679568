package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// Points is the encoding of labelled points as sparse prompt tokens.
//
// Inputs: points [N, 3], rows (x, y, label) in pixels of the square input
// picture of Size pixels, without the half-pixel shift, which Points adds;
// g [2, C/2]; table [L+1, C]. Label -1 marks padding: its token is the
// table's first row. Label i adds row i+1 to the position's encoding.
// Output: [N, C].
//
// Source: prompt_encoder.py, _embed_points, _embed_boxes (segment-anything
// dca509f).
type Points struct{ Size int }

// Name implements [graph.Op].
func (Points) Name() string { return "points" }

// Params implements [graph.Op].
func (p Points) Params() string { return fmt.Sprintf("size=%d", p.Size) }

// Shape implements [graph.Op].
func (Points) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, 3}, tensor.Shape{2, -1}, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	c := 2 * in[1][1]
	if in[2][1] != c {
		return nil, fmt.Errorf("table %v, want [*, %d]: %w", in[2], c, graph.ErrShape)
	}
	return tensor.Shape{in[0][0], c}, nil
}

// DensePositions is the encoding of the centre of each cell of an H x W map.
//
// Input: g [2, C/2]. Output: [H*W, C].
//
// Source: prompt_encoder.py, PositionEmbeddingRandom.forward
// (segment-anything dca509f).
type DensePositions struct{ H, W int }

// Name implements [graph.Op].
func (DensePositions) Name() string { return "dense_positions" }

// Params implements [graph.Op].
func (d DensePositions) Params() string { return fmt.Sprintf("%dx%d", d.H, d.W) }

// Shape implements [graph.Op].
func (d DensePositions) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{2, -1}); err != nil {
		return nil, err
	}
	return tensor.Shape{d.H * d.W, 2 * in[0][1]}, nil
}
