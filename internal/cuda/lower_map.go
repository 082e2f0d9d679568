//go:build gpu && cgo && linux

package cuda

import (
	"fmt"

	"github.com/slidesam/sam/internal/op"
)

// lowerMap returns the launches of an op of convolutional maps, whose inputs
// lie at in; none for another op.
func (l *lowering) lowerMap(s step, in []any) ([]launch, error) {
	shape := func(i int) []int { return l.nodes[s.in[i]].Shape }
	size := l.nodes[s.node].Shape.TotalSize()
	out := any(l.place[s.node])
	one := func(k launch) ([]launch, error) {
		k.args = append([]any{out}, k.args...)
		return []launch{k}, nil
	}
	switch o := s.op.(type) {
	case op.Bilinear2x:
		return one(elementLaunch("bilinear2x", size, in[0], o.H, o.W, shape(0)[1]))
	case op.Skip:
		a, b := shape(0)[1], shape(1)[1]
		first, n := o.Crop(a, b)
		return one(elementLaunch("skip", size, in[0], in[1], a, b, first, n))
	case op.Sigmoid:
		return one(elementLaunch("sigmoid", size, in[0]))
	case op.Depthwise:
		_, w := o.Grid()
		return one(elementLaunch("depthwise", size, in[0], in[1], in[2], o.H, o.W, shape(0)[1], o.Stride, w))
	case op.OffsetAttention:
		if o.HeadDim > mostHeadDim {
			return nil, fmt.Errorf("%s: heads of %d channels, want at most %d", o.Name(), o.HeadDim, mostHeadDim)
		}
		return one(offsetLaunch(in[0], in[1], in[2], o.H, o.W, o.Window, o.Heads, o.HeadDim))
	case op.ChannelNorm:
		rows, c := shape(0)[0], shape(0)[1]
		sums, err := l.scratch(2 * channelParts(rows) * 2 * c) // of 8 bytes
		if err != nil {
			return nil, err
		}
		return l.normalise(s, in, append(in[1:], nil, nil)[:2], channelSums(sums, in[0], rows, c), sums, float64(o.Eps))
	case op.BatchNorm:
		return l.normalise(s, in[:1], in[1:], nil, nil, float64(o.Eps))
	}
	return nil, nil
}

// normalise scales and shifts in[0] by its channels' statistics: gamma, beta and
// perhaps mean and variance of params, or else what sums gathers.
func (l *lowering) normalise(s step, in, params []any, gather []launch, sums any, eps float64) ([]launch, error) {
	x := l.nodes[s.in[0]].Shape
	rows, c := x[0], x[1]
	scale, err := l.scratch(2 * c)
	if err != nil {
		return nil, err
	}
	var mean, variance any
	if len(params) == 4 {
		mean, variance = params[2], params[3]
	}
	find := elementLaunch("channel_scale", c, scale, sums, mean, variance, params[0], params[1], eps, channelParts(rows), rows)
	use := elementLaunch("scale_shift", rows*c, l.place[s.node], in[0], scale, c)
	return append(gather, find, use), nil
}

// scratch is device memory of the program's own for n values of 4 bytes.
func (l *lowering) scratch(n int) (any, error) {
	p, err := l.d.alloc(n)
	if err != nil {
		return nil, err
	}
	l.constants = append(l.constants, p)
	return p, nil
}

// Parts of the rows that are summed up at once.
const (
	channelRows = 512
	mostParts   = 256
)

func channelParts(rows int) int { return min(ceil(rows, channelRows), mostParts) }

// channelSums adds up the channels of x [rows, c] for sums, [parts, 2, c] of 8
// bytes.
func channelSums(sums, x any, rows, c int) []launch {
	parts := channelParts(rows)
	return []launch{{kernel: "channel_sums", grid: [3]int{ceil(c, 32), parts, 1}, block: [3]int{256, 1, 1}, args: []any{sums, x, rows, c, ceil(rows, parts)}}}
}

// offsetLaunch is attention within windows, with biases of offsets.
func offsetLaunch(qkv, bias, pad any, h, w, window, heads, hd int) launch {
	dims := 128
	if hd <= 32 {
		dims = 32
	}
	return launch{kernel: fmt.Sprintf("attend_offsets_%d", dims), grid: [3]int{ceil(window*window, 128), heads, ceil(h, window) * ceil(w, window)},
		block: [3]int{128, 1, 1}, args: []any{qkv, bias, pad, h, w, window, heads, hd}}
}
