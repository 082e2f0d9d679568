package cpu

import (
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
