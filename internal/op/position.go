package op

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// encode writes the random-Fourier encoding of a point with coordinates in
// [0, 1] into dst: sines, then cosines, of 2π times its projections on the
// columns of g [2, F]. Arguments are rounded to float32 as upstream's are.
func encode(dst []float32, x, y float32, g []float32) {
	f := len(g) / 2
	cx, cy := 2*x-1, 2*y-1
	for i := 0; i < f; i++ {
		a := float32(float32(cx*g[i])+float32(cy*g[f+i])) * float32(2*math.Pi)
		s, c := math.Sincos(float64(a))
		dst[i], dst[f+i] = float32(s), float32(c)
	}
}

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

// Name implements [graph.Kernel].
func (Points) Name() string { return "points" }

// Params implements [graph.Kernel].
func (p Points) Params() string { return fmt.Sprintf("size=%d", p.Size) }

// Shape implements [graph.Kernel].
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

// Forward implements [graph.Kernel].
func (p Points) Forward(out graph.View, in []graph.View) error {
	c, rows := out.Shape[1], in[2].Shape[0]
	for i := 0; i < out.Shape[0]; i++ {
		pt, dst := in[0].Data[3*i:3*i+3], out.Data[i*c:(i+1)*c]
		label := int(pt[2])
		if label < -1 || label+1 >= rows {
			return fmt.Errorf("label %v of point %d is none of -1 to %d", pt[2], i, rows-2)
		}
		if label == -1 {
			copy(dst, in[2].Data[:c])
			continue
		}
		encode(dst, (pt[0]+0.5)/float32(p.Size), (pt[1]+0.5)/float32(p.Size), in[1].Data)
		for j, v := range in[2].Data[(label+1)*c : (label+2)*c] {
			dst[j] += v
		}
	}
	return nil
}

// DensePositions is the encoding of the centre of each cell of an H x W map.
//
// Input: g [2, C/2]. Output: [H*W, C].
//
// Source: prompt_encoder.py, PositionEmbeddingRandom.forward
// (segment-anything dca509f).
type DensePositions struct{ H, W int }

// Name implements [graph.Kernel].
func (DensePositions) Name() string { return "dense_positions" }

// Params implements [graph.Kernel].
func (d DensePositions) Params() string { return fmt.Sprintf("%dx%d", d.H, d.W) }

// Shape implements [graph.Kernel].
func (d DensePositions) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{2, -1}); err != nil {
		return nil, err
	}
	return tensor.Shape{d.H * d.W, 2 * in[0][1]}, nil
}

// Forward implements [graph.Kernel].
func (d DensePositions) Forward(out graph.View, in []graph.View) error {
	c := out.Shape[1]
	kernel.Parallel(d.H, func(y int) {
		for x := 0; x < d.W; x++ {
			encode(out.Data[(y*d.W+x)*c:][:c], (float32(x)+0.5)/float32(d.W), (float32(y)+0.5)/float32(d.H), in[0].Data)
		}
	})
	return nil
}
