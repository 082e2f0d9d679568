package cpu

import (
	"fmt"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

func runPlace(k op.Place, out graph.View, in []graph.View) error {
	c := out.Shape[1]
	clear(out.Data)
	for i := range in[0].Shape[0] {
		to := i/len(k.Which)*k.Rows + k.Which[i%len(k.Which)]
		dst := out.Data[to*c:][:c]
		kernel.Add(dst, dst, in[0].Data[i*c:(i+1)*c])
	}
	return nil
}

func runPointsGrad(p op.PointsGrad, out graph.View, in []graph.View) error {
	c := out.Shape[1]
	clear(out.Data)
	for i := range in[0].Shape[0] {
		label := int(in[1].Data[3*i+2])
		if label < -1 || label+1 >= p.Rows {
			return fmt.Errorf("label %v of point %d is none of -1 to %d", in[1].Data[3*i+2], i, p.Rows-2)
		}
		dst := out.Data[(label+1)*c:][:c]
		kernel.Add(dst, dst, in[0].Data[i*c:(i+1)*c])
	}
	return nil
}

// maskPart is how many pixels a task of a mask product's gradient takes.
const maskPart = 1 << 13

func runMasksGradUp(m op.MasksGradUp, out graph.View, in []graph.View) error {
	c, k, n := out.Shape[1], len(in)-1, in[0].Shape[1]
	parts := (n + maskPart - 1) / maskPart
	kernel.Parallel(m.Batch*parts, func(i int) {
		p, at := i/parts, i%parts*maskPart
		hyper := make([]float32, k*c)
		for j := range k {
			copy(hyper[j*c:(j+1)*c], in[1+j].Data[p*c:])
		}
		kernel.MaskProductGradUp(out.Data[p*n*c:(p+1)*n*c], in[0].Data[p*k*n:(p+1)*k*n], hyper, n, c, k, at, min(at+maskPart, n))
	})
	return nil
}

func runMasksGradHyper(m op.MasksGradHyper, out graph.View, in []graph.View) error {
	c, n, k := out.Shape[1], in[0].Shape[1], in[0].Shape[0]/m.Batch
	parts := (n + maskPart - 1) / maskPart
	sums := make([]float32, m.Batch*parts*k*c)
	kernel.Parallel(m.Batch*parts, func(i int) {
		p, at := i/parts, i%parts*maskPart
		kernel.MaskProductGradHyper(sums[i*k*c:][:k*c], in[0].Data[p*k*n:(p+1)*k*n], in[1].Data[p*n*c:(p+1)*n*c], n, c, k, at, min(at+maskPart, n))
	})
	for p := range m.Batch {
		d := sums[p*parts*k*c:][:k*c]
		for i := 1; i < parts; i++ {
			kernel.Add(d, d, sums[(p*parts+i)*k*c:][:k*c])
		}
		for j := range k {
			copy(out.Data[(j*m.Batch+p)*c:][:c], d[j*c:])
		}
	}
	return nil
}
