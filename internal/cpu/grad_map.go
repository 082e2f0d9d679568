package cpu

import (
	"math"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// runMapGrad runs the gradients of the ops of convolutional maps; ok is false
// for another op.
func runMapGrad(o graph.Op, out graph.View, in []graph.View) (ok bool) {
	switch o := o.(type) {
	case op.Bilinear2xGrad:
		kernel.Bilinear2xGrad(out.Data, in[0].Data, o.H, o.W, in[0].Shape[1])
	case op.ChannelMoments:
		mean, variance := channelStats(in[0])
		narrow(out.Data, mean)
		narrow(out.Data[len(mean):], variance)
	case op.ChannelNormGradX:
		runChannelNormGradX(o, out, in)
	case op.ChannelNormGradParams:
		mean, variance := channelStats(in[1])
		normGradParams(out, in, mean, variance, o.Eps)
	case op.BatchNormGradX:
		runBatchNormGradX(o, out, in)
	case op.BatchNormGradParams:
		normGradParams(out, in, widen(in[2].Data), widen(in[3].Data), o.Eps)
	case op.Columns:
		moveColumns(out, in[0], 0, o.First, o.N)
	case op.ColumnsGrad:
		clear(out.Data)
		moveColumns(out, in[0], o.First, 0, o.N)
	case op.SigmoidGrad:
		kernel.SigmoidGrad(out.Data, in[0].Data, in[1].Data)
	default:
		return false
	}
	return true
}

func channelStats(x graph.View) (mean, variance []float64) {
	c := x.Shape[1]
	mean, variance = make([]float64, c), make([]float64, c)
	kernel.ChannelStats(mean, variance, x.Data, x.Shape[0], c)
	return mean, variance
}

func widen(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

func narrow(dst []float32, x []float64) {
	for i, v := range x {
		dst[i] = float32(v)
	}
}

// runChannelNormGradX takes out of the gradient what the mean and the
// deviation, which depend on all pixels, have undone.
func runChannelNormGradX(o op.ChannelNormGradX, out graph.View, in []graph.View) {
	rows, c := in[0].Shape[0], in[0].Shape[1]
	mean, variance := channelStats(in[1])
	sum, dot := make([]float64, c), make([]float64, c)
	kernel.ChannelSums(sum, dot, in[0].Data, in[1].Data, mean, rows, c)
	a, b, m, shift := make([]float32, c), make([]float32, c), make([]float32, c), make([]float32, c)
	narrow(m, mean)
	for k := range c {
		inv := 1 / math.Sqrt(variance[k]+float64(o.Eps))
		scale := inv
		if len(in) > 2 {
			scale *= float64(in[2].Data[k])
		}
		slope := -scale * inv * inv * dot[k] / float64(rows)
		a[k], b[k] = float32(scale), float32(slope)
		shift[k] = float32(-scale*sum[k]/float64(rows) + slope*(float64(m[k])-mean[k]))
	}
	kernel.ChannelSlope(out.Data, in[0].Data, in[1].Data, a, b, m, shift, rows, c)
}

// normGradParams is the gradient of a norm's scale and shift, for dy and x.
func normGradParams(out graph.View, in []graph.View, mean, variance []float64, eps float32) {
	rows, c := in[0].Shape[0], in[0].Shape[1]
	sum, dot := make([]float64, c), make([]float64, c)
	kernel.ChannelSums(sum, dot, in[0].Data, in[1].Data, mean, rows, c)
	for k := range c {
		dot[k] /= math.Sqrt(variance[k] + float64(eps))
	}
	narrow(out.Data[:c], dot)
	narrow(out.Data[c:], sum)
}

func runBatchNormGradX(o op.BatchNormGradX, out graph.View, in []graph.View) {
	rows, c := in[0].Shape[0], in[0].Shape[1]
	scale := make([]float32, c)
	for k := range scale {
		scale[k] = float32(float64(in[1].Data[k]) / math.Sqrt(float64(in[2].Data[k])+float64(o.Eps)))
	}
	kernel.ScaleShift(out.Data, in[0].Data, scale, make([]float32, c), rows, c)
}

// moveColumns copies n columns of x, from from on, to those of out from to on.
func moveColumns(out, x graph.View, to, from, n int) {
	a, b := out.Shape[1], x.Shape[1]
	const step = 256
	rows := out.Shape[0]
	kernel.Parallel((rows+step-1)/step, func(i int) {
		for r := i * step; r < min((i+1)*step, rows); r++ {
			copy(out.Data[r*a+to:][:n], x.Data[r*b+from:][:n])
		}
	})
}
