package cpu

import (
	"math"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// runMap runs the ops of convolutional maps; ok is false for another op.
func runMap(o graph.Op, out graph.View, in []graph.View) (ok bool) {
	switch o := o.(type) {
	case op.Bilinear2x:
		kernel.Bilinear2x(out.Data, in[0].Data, o.H, o.W, in[0].Shape[1])
	case op.ChannelNorm:
		runChannelNorm(o, out, in)
	case op.BatchNorm:
		c := in[0].Shape[1]
		mean, variance := make([]float64, c), make([]float64, c)
		for i := range c {
			mean[i], variance[i] = float64(in[3].Data[i]), float64(in[4].Data[i])
		}
		normalise(out, in, mean, variance, o.Eps)
	case op.Skip:
		runSkip(o, out, in)
	case op.Depthwise:
		c := in[0].Shape[1]
		kernel.Depthwise3x3(out.Data, in[0].Data, channelsLast(in[1].Data, 1, c, 9), in[2].Data, o.H, o.W, c, o.Stride)
	case op.OffsetAttention:
		g := kernel.Grid{H: o.H, W: o.W, Window: o.Window, Heads: o.Heads, HeadDim: o.HeadDim}
		kernel.OffsetAttention(out.Data, in[0].Data, g, in[1].Data, in[2].Data)
	case op.Sigmoid:
		kernel.Sigmoid(out.Data, in[0].Data)
	default:
		return false
	}
	return true
}

func runChannelNorm(n op.ChannelNorm, out graph.View, in []graph.View) {
	rows, c := in[0].Shape[0], in[0].Shape[1]
	mean, variance := make([]float64, c), make([]float64, c)
	kernel.ChannelStats(mean, variance, in[0].Data, rows, c)
	normalise(out, in, mean, variance, n.Eps)
}

// normalise brings the channels of in[0] to mean 0 and variance 1, and scales
// and shifts them by in[1] and in[2] if there are any.
func normalise(out graph.View, in []graph.View, mean, variance []float64, eps float32) {
	rows, c := in[0].Shape[0], in[0].Shape[1]
	scale, shift := make([]float32, c), make([]float32, c)
	for i := range c {
		a, b := 1/math.Sqrt(variance[i]+float64(eps)), 0.0
		if len(in) > 1 {
			a *= float64(in[1].Data[i])
			b = float64(in[2].Data[i])
		}
		scale[i], shift[i] = float32(a), float32(b-float64(mean[i]*a))
	}
	kernel.ScaleShift(out.Data, in[0].Data, scale, shift, rows, c)
}

func runSkip(s op.Skip, out graph.View, in []graph.View) {
	a, b, c := in[0].Shape[1], in[1].Shape[1], out.Shape[1]
	first, n := s.Crop(a, b)
	const step = 256
	rows := out.Shape[0]
	kernel.Parallel((rows+step-1)/step, func(i int) {
		for r := i * step; r < min((i+1)*step, rows); r++ {
			d := out.Data[r*c:][:c]
			copy(d, in[0].Data[r*a:][:a])
			copy(d[a:], in[1].Data[r*b+first:][:n])
		}
	})
}
