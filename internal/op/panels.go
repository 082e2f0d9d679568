package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// Panels puts each block of Rows rows into panels, the order in which products
// read rows as lanes: see [kernel.PackPanels]. The number of rows is rounded
// up to whole panels, N = kernel.PackedLen(Rows, 1).
//
// Input: x [B*Rows, K]. Output: [B*N, K].
type Panels struct{ Rows int }

// Name implements [graph.Kernel].
func (Panels) Name() string { return "panels" }

// Params implements [graph.Kernel].
func (p Panels) Params() string { return fmt.Sprintf("rows=%d", p.Rows) }

// Shape implements [graph.Kernel].
func (p Panels) Shape(in []tensor.Shape) (tensor.Shape, error) {
	return blocks(in, p.Rows, kernel.PackedLen(p.Rows, 1))
}

// Forward implements [graph.Kernel].
func (p Panels) Forward(out graph.View, in []graph.View) error {
	k := in[0].Shape[1]
	kernel.Parallel(in[0].Shape[0]/p.Rows, func(i int) {
		kernel.PackPanels(out.Data[i*kernel.PackedLen(p.Rows, k):], in[0].Data[i*p.Rows*k:], p.Rows, k)
	})
	return nil
}

// FromPanels undoes [Panels].
//
// Input: x [B*N, K], N = kernel.PackedLen(Rows, 1). Output: [B*Rows, K].
type FromPanels struct{ Rows int }

// Name implements [graph.Kernel].
func (FromPanels) Name() string { return "from_panels" }

// Params implements [graph.Kernel].
func (p FromPanels) Params() string { return fmt.Sprintf("rows=%d", p.Rows) }

// Shape implements [graph.Kernel].
func (p FromPanels) Shape(in []tensor.Shape) (tensor.Shape, error) {
	return blocks(in, kernel.PackedLen(p.Rows, 1), p.Rows)
}

// Forward implements [graph.Kernel].
func (p FromPanels) Forward(out graph.View, in []graph.View) error {
	k := in[0].Shape[1]
	kernel.Parallel(out.Shape[0]/p.Rows, func(i int) {
		kernel.UnpackPanels(out.Data[i*p.Rows*k:], in[0].Data[i*kernel.PackedLen(p.Rows, k):], p.Rows, k)
	})
	return nil
}

// blocks is the shape of x when each block of from rows becomes to rows.
func blocks(in []tensor.Shape, from, to int) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	if from <= 0 || to <= 0 || in[0][0]%from != 0 {
		return nil, fmt.Errorf("%v in blocks of %d rows: %w", in[0], from, graph.ErrShape)
	}
	return tensor.Shape{in[0][0] / from * to, in[0][1]}, nil
}
