package cpu

import (
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

func runLinearGradX(out graph.View, in []graph.View) error {
	kernel.LinearGradX(out.Data, in[0].Data, in[1].Data, out.Shape[0], in[0].Shape[1], out.Shape[1])
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
		kernel.LinearGradX(sum, b.Data, a.Data, m, a.Shape[0], k)
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
