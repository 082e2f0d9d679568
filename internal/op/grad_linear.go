package op

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// Smooth implements [graph.Differ].
func (Linear) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (Linear) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	g := make([]*G.Node, len(c.In))
	if len(g) > 2 && c.Want[2] {
		g[2] = b.Apply(SumBlocks{c.In[2].Shape().Clone()}, c.Grad)
	}
	if c.Want[1] {
		g[1] = b.Apply(LinearGradW{c.In[1].Shape().Clone()}, c.Grad, c.In[0])
	}
	if c.Want[0] {
		g[0] = b.Apply(LinearGradX{}, c.Grad, c.In[1])
	}
	return g
}

// LinearGradX is the gradient of a linear layer's input.
//
// Inputs: dy [M, N], the weight [N, ...]. Output: [M, K], K the values of one
// of the weight's rows.
type LinearGradX struct{}

// Name implements [graph.Op].
func (LinearGradX) Name() string { return "linear_grad_x" }

// Params implements [graph.Op].
func (LinearGradX) Params() string { return "" }

// Shape implements [graph.Op].
func (LinearGradX) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 2 || len(in[0]) != 2 || len(in[1]) < 2 || in[1][0] != in[0][1] || in[1][0] == 0 {
		return nil, fmt.Errorf("inputs %v, want [M, N] and [N, ...]: %w", in, graph.ErrShape)
	}
	return tensor.Shape{in[0][0], in[1].TotalSize() / in[1][0]}, nil
}

// LinearGradW is the gradient of a linear layer's weight, which is [N, ...]
// with K values in a row.
//
// Inputs: dy [M, N], x [M, K]. Output: [Dims...].
type LinearGradW struct{ Dims tensor.Shape }

// Name implements [graph.Op].
func (LinearGradW) Name() string { return "linear_grad_w" }

// Params implements [graph.Op].
func (l LinearGradW) Params() string { return fmt.Sprint(l.Dims) }

// Shape implements [graph.Op].
func (l LinearGradW) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	if in[0][0] != in[1][0] || l.Dims[0] != in[0][1] || l.Dims.TotalSize() != in[0][1]*in[1][1] {
		return nil, fmt.Errorf("inputs %v for a weight %v: %w", in, l.Dims, graph.ErrShape)
	}
	return l.Dims, nil
}

// SumBlocks is the sum of blocks of the input that have as many values as
// Dims: the gradient of what was repeated, such as a bias.
//
// Input: any number of values that Dims divide. Output: [Dims...].
type SumBlocks struct{ Dims tensor.Shape }

// Name implements [graph.Op].
func (SumBlocks) Name() string { return "sum_blocks" }

// Params implements [graph.Op].
func (s SumBlocks) Params() string { return fmt.Sprint(s.Dims) }

// Shape implements [graph.Op].
func (s SumBlocks) Shape(in []tensor.Shape) (tensor.Shape, error) {
	n := s.Dims.TotalSize()
	if len(in) != 1 || n == 0 || in[0].TotalSize()%n != 0 {
		return nil, fmt.Errorf("%v in blocks of %v: %w", in, s.Dims, graph.ErrShape)
	}
	return s.Dims, nil
}

// Part is a stretch of the input's values, from At on, in a shape of its own.
//
// Output: [Dims...].
type Part struct {
	At   int
	Dims tensor.Shape
}

// Name implements [graph.Op].
func (Part) Name() string { return "part" }

// Params implements [graph.Op].
func (p Part) Params() string { return fmt.Sprintf("at=%d dims=%v", p.At, p.Dims) }

// Shape implements [graph.Op].
func (p Part) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 1 || p.At < 0 || p.At+p.Dims.TotalSize() > in[0].TotalSize() {
		return nil, fmt.Errorf("%v from %d of %v: %w", p.Dims, p.At, in, graph.ErrShape)
	}
	return p.Dims, nil
}

// Sum is x + y, where gradients meet.
//
// Inputs: x and y of one shape. Output: the same shape.
type Sum struct{}

// Name implements [graph.Op].
func (Sum) Name() string { return "sum" }

// Params implements [graph.Op].
func (Sum) Params() string { return "" }

// InPlace implements [graph.InPlacer].
func (Sum) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (Sum) Shape(in []tensor.Shape) (tensor.Shape, error) { return alike(in, 2) }

// partsOf cuts all, the gradients of all inputs in a row, into those that are
// wanted.
func partsOf(b graph.Applier, c graph.Call, all *G.Node) []*G.Node {
	g, at := make([]*G.Node, len(c.In)), 0
	for i, x := range c.In {
		if c.Want[i] {
			g[i] = b.Apply(Part{at, x.Shape().Clone()}, all)
		}
		at += x.Shape().TotalSize()
	}
	return g
}
