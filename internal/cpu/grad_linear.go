package cpu

import (
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

func runLinearGradX(out graph.View, in []graph.View) error {
	kernel.LinearGradX(out.Data, in[0].Data, in[1].Data, nil, out.Shape[0], in[0].Shape[1], out.Shape[1])
	return nil
}

func runLinearGradW(out graph.View, in []graph.View) error {
	kernel.LinearGradW(out.Data, in[0].Data, in[1].Data, in[0].Shape[0], in[0].Shape[1], in[1].Shape[1])
	return nil
}

func runSumBlocks(out graph.View, in []graph.View) error {
	kernel.SumBlocks(out.Data, in[0].Data)
	return nil
}

func runPart(p op.Part, out graph.View, in []graph.View) error {
	const step = 1 << 16
	n := len(out.Data)
	kernel.Parallel((n+step-1)/step, func(i int) {
		lo, hi := i*step, min((i+1)*step, n)
		copy(out.Data[lo:hi], in[0].Data[p.At+lo:])
	})
	return nil
}

func runLowRank(l op.LowRank, out graph.View, in []graph.View) error {
	copy(out.Data, in[0].Data)
	k := out.Shape[1]
	for i, row := range l.First {
		a, b := in[1+2*i], in[2+2*i]
		m := b.Shape[0]
		sum := make([]float32, m*k)
		kernel.LinearGradX(sum, b.Data, a.Data, nil, m, a.Shape[0], k)
		dst := out.Data[row*k:][:m*k]
		kernel.Add(dst, dst, sum)
	}
	return nil
}

// sumAhead takes sums over rows in front of the products whose rows they add
// up: the sum of dy·w over rows is that of dy, times w. They are the gradients
// of what is added to each row, such as the embedding of no mask.
func (l *lowered) sumAhead() {
	uses := l.uses()
	l.each(func(v *value) {
		if s, ok := v.op.(op.SumBlocks); ok {
			if sum := rowSum(s, v.in[0], uses); sum != nil {
				sum.keep, sum.node = v.keep, v.node
				*v = *sum
			}
		}
	})
}

// rowSum returns the sum over x's rows without x, or nil if there is no
// product in x that this would save.
func rowSum(s op.SumBlocks, x *value, uses map[*value]int) *value {
	if uses[x] != 1 {
		return nil
	}
	switch x.op.(type) {
	case op.Sum:
		a, b := rowSum(s, x.in[0], uses), rowSum(s, x.in[1], uses)
		if a == nil && b == nil {
			return nil
		}
		for i, p := range []**value{&a, &b} {
			if *p == nil {
				*p = &value{op: s, in: []*value{x.in[i]}, shape: s.Dims}
			}
		}
		return &value{op: op.Sum{}, in: []*value{a, b}, shape: s.Dims}
	case op.LinearGradX:
		dy, w := x.in[0], x.in[1]
		if s.Dims.TotalSize() != x.shape[1] {
			return nil
		}
		row := tensor.Shape{1, dy.shape[1]}
		sum := &value{op: op.SumBlocks{Dims: row}, in: []*value{dy}, shape: row}
		return &value{op: op.LinearGradX{}, in: []*value{sum, w}, shape: tensor.Shape{1, x.shape[1]}}
	}
	return nil
}

// lowRankAhead computes the gradients of low-rank matrices without that of the
// weight to which they are added: of dw = dyᵀ·x, of which they take rows, Bᵀ·dw
// is (dy·B)ᵀ·x and dw·Aᵀ is dyᵀ·(x·Aᵀ).
func (l *lowered) lowRankAhead() {
	cuts := map[*value]*value{} // the columns of dy, by the rows of dw
	l.each(func(v *value) {
		if len(v.in) != 2 {
			return
		}
		switch v.op.(type) {
		case op.LinearGradW:
			if dy, x, ok := weightRows(v.in[1], cuts); ok {
				low := &value{op: op.LinearGradX{}, in: []*value{dy, v.in[0]}, shape: tensor.Shape{dy.shape[0], v.in[0].shape[1]}}
				v.in = []*value{low, x}
			}
		case op.Linear:
			if dy, x, ok := weightRows(v.in[0], cuts); ok {
				a := v.in[1]
				low := &value{op: op.Linear{}, in: []*value{x, a}, shape: tensor.Shape{x.shape[0], a.shape[0]}}
				v.op, v.in = op.LinearGradW{Dims: v.shape}, []*value{dy, low}
			}
		}
	})
}

// weightRows reports whether v is some rows of a weight's gradient dyᵀ·x, and
// returns the columns of dy that these are of, the same value for the same v.
func weightRows(v *value, cuts map[*value]*value) (dy, x *value, ok bool) {
	p, ok := v.op.(op.Part)
	if !ok {
		return nil, nil, false
	}
	w := v.in[0]
	if _, ok := w.op.(op.LinearGradW); !ok || len(p.Dims) != 2 {
		return nil, nil, false
	}
	dy, x = w.in[0], w.in[1]
	k := x.shape[1]
	if p.Dims[1] != k || p.At%k != 0 {
		return nil, nil, false
	}
	if cuts[v] == nil {
		c := columnsOf{At: p.At / k, N: p.Dims[0]}
		cuts[v] = &value{op: c, in: []*value{dy}, shape: tensor.Shape{dy.shape[0], c.N}}
	}
	return cuts[v], x, true
}

// columnsOf are the columns [At, At+N) of its input.
type columnsOf struct{ At, N int }

// Name implements [graph.Op].
func (columnsOf) Name() string { return "columns of" }

// Forward implements [graph.Forwarder].
func (c columnsOf) Forward(out graph.View, in []graph.View) error {
	all := in[0].Shape[1]
	kernel.Parallel(out.Shape[0], func(i int) { copy(out.Data[i*c.N:][:c.N], in[0].Data[i*all+c.At:]) })
	return nil
}

// fuseSums makes sums part of the product before them, if nobody else reads
// its result: of a linear layer whose weight changes, and of a gradient.
func (l *lowered) fuseSums() {
	uses := l.uses()
	l.each(func(v *value) {
		switch v.op.(type) {
		case op.Sum:
			for i, x := range v.in {
				if _, ok := x.op.(op.LinearGradX); ok && uses[x] == 1 {
					v.op, v.in = linearGradXPlus{}, []*value{x.in[0], x.in[1], v.in[1-i]}
					return
				}
			}
		case op.Add:
			x, y := v.in[0], v.in[1]
			if _, ok := x.op.(op.Linear); ok && uses[x] == 1 && y.shape.TotalSize() == v.shape.TotalSize() {
				v.op, v.in = linearPlus{}, append(append([]*value(nil), x.in...), y)
			}
		}
	})
}

// linearGradXPlus is [op.LinearGradX] plus its last input.
type linearGradXPlus struct{}

// Name implements [graph.Op].
func (linearGradXPlus) Name() string { return "linear_grad_x_plus" }

// InPlace implements [graph.InPlacer].
func (linearGradXPlus) InPlace() int { return 2 }

// Forward implements [graph.Forwarder].
func (linearGradXPlus) Forward(out graph.View, in []graph.View) error {
	m, n := in[0].Shape[0], in[0].Shape[1]
	kernel.LinearGradX(out.Data, in[0].Data, in[1].Data, in[2].Data, m, n, len(out.Data)/m)
	return nil
}

// linearPlus is [op.Linear] plus its last input, for a weight that changes.
type linearPlus struct{}

// Name implements [graph.Op].
func (linearPlus) Name() string { return "linear_plus" }

// Forward implements [graph.Forwarder].
func (linearPlus) Forward(out graph.View, in []graph.View) error {
	last := len(in) - 1
	runLinear(out, in[:last], in[last].Data)
	return nil
}

// runLinear runs a linear layer with a logical weight.
func runLinear(out graph.View, in []graph.View, add []float32) {
	var bias []float32
	if len(in) > 2 {
		bias = in[2].Data
	}
	m, k := in[0].Shape[0], in[0].Shape[1]
	kernel.Linear(out.Data, in[0].Data, in[1].Data, bias, add, m, len(out.Data)/m, k)
}
