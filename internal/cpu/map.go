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
	case op.ChannelNorm, op.BatchNorm:
		runNorm(o, out, in)
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

// runNorm runs a norm of a map.
func runNorm(n graph.Op, out graph.View, in []graph.View) {
	rows, c := in[0].Shape[0], in[0].Shape[1]
	scale, shift := normOf(n, []kernel.ConvPart{{X: in[0].Data, Ld: c, C: c}}, rows, in[1:])
	kernel.ScaleShift(out.Data, in[0].Data, scale, shift, rows, c)
}

// normOf returns what the norm n scales and shifts channels by: those of the
// parts, each of so many rows. params are the norm's inputs behind the map.
func normOf(n graph.Op, parts []kernel.ConvPart, rows int, params []graph.View) (scale, shift []float32) {
	var mean, variance []float64
	var eps float32
	switch n := n.(type) {
	case op.ChannelNorm:
		eps = n.Eps
		for _, p := range parts {
			m, v := make([]float64, p.C), make([]float64, p.C)
			kernel.PartStats(m, v, p, rows)
			mean, variance = append(mean, m...), append(variance, v...)
		}
	case op.BatchNorm:
		eps = n.Eps
		for i, m := range params[2].Data {
			mean, variance = append(mean, float64(m)), append(variance, float64(params[3].Data[i]))
		}
	}
	scale, shift = make([]float32, len(mean)), make([]float32, len(mean))
	for i := range scale {
		a, b := 1/math.Sqrt(variance[i]+float64(eps)), 0.0
		if len(params) > 0 {
			a *= float64(params[0].Data[i])
			b = float64(params[1].Data[i])
		}
		scale[i], shift[i] = float32(a), float32(b-float64(mean[i]*a))
	}
	return scale, shift
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
