//go:build gpu && cgo && linux

package cuda

import (
	"errors"
	"fmt"

	"gorgonia.org/cu"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
)

// errVariable is returned for a graph whose weights change between runs.
var errVariable = errors.New("its weight changes between runs: train on the CPU")

// lowering turns steps into launches.
type lowering struct {
	d         *Device
	precision Precision
	nodes     []graph.Node
	place     []cu.DevicePtr // of each node's result or input; weights have none
	constants []cu.DevicePtr // device memory of the program's own
}

// operand is where a node's value lies. Weights are asked for in a form.
func (l *lowering) operand(i int, f form) (cu.DevicePtr, error) {
	n := l.nodes[i]
	switch {
	case n.Leaf == graph.LeafVariable:
		return 0, errVariable
	case n.Leaf == graph.LeafWeight:
		return l.d.weight(n.Weight, f)
	case f != form{}:
		return 0, fmt.Errorf("%s is no weight", n.Name)
	}
	return l.place[i], nil
}

// constant copies values that a kernel reads to the device.
func (l *lowering) constant(v []int) (cu.DevicePtr, error) {
	x := make([]int32, len(v))
	for i := range v {
		x[i] = int32(v[i])
	}
	p, err := upload(l.d, x)
	if err == nil {
		l.constants = append(l.constants, p)
	}
	return p, err
}

// weightPrecision is that in which a product of m rows of k values reads its
// weight.
func (l *lowering) weightPrecision(m, k int) Precision {
	if l.precision.tensorFits(m, k) && l.precision != TF32 {
		return l.precision
	}
	return FP32
}

// lower returns the launches of a step.
func (l *lowering) lower(s step) ([]launch, error) {
	shape := func(i int) []int { return l.nodes[s.in[i]].Shape }
	size := l.nodes[s.node].Shape.TotalSize()
	forms := make([]form, len(s.in))
	var c conv
	switch o := s.op.(type) {
	case op.Linear:
		forms[1].precision = l.weightPrecision(shape(0)[0], shape(0)[1])
	case op.Conv:
		w := shape(1)
		c = conv{o.Batch, o.H, o.W, w[1], w[0], w[2], o.Stride, o.Pad}
		forms[1].layout = channelsLast
		if c.tensor(l.precision) && l.precision != TF32 {
			forms[1].precision = l.precision
		}
	case op.Upscale2x2:
		forms[1].layout, forms[2].layout = upscaled, fourTimes
	case op.Depthwise:
		forms[1].layout = tapsFirst
	}
	in := make([]any, len(s.in))
	for i, j := range s.in {
		p, err := l.operand(j, forms[i])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.op.Name(), err)
		}
		in[i] = p
	}
	var bias, add any
	addRows := 1
	if len(in) > 2 {
		bias = in[2]
	}
	if s.add >= 0 {
		p, err := l.operand(s.add, form{})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", s.op.Name(), err)
		}
		n := l.nodes[s.node].Shape[1]
		add, addRows = p, l.nodes[s.add].Shape.TotalSize()/n
	}
	out := l.place[s.node]
	one := func(k launch) ([]launch, error) {
		k.args = append([]any{out}, k.args...)
		return []launch{k}, nil
	}
	switch o := s.op.(type) {
	case op.Linear:
		return one(l.d.linearLaunch(l.precision, in[0], in[1], bias, add, shape(0)[0], shape(1)[0], shape(0)[1], s.act, addRows))
	case op.Conv:
		return one(c.launch(l.precision, in[0], in[1], bias, add, s.act, addRows))
	case op.Upscale2x2:
		return one(upscaleLaunch(in[0], in[1], in[2], o.Batch*o.H, o.W, shape(1)[0], shape(1)[1], s.act))
	case op.LayerNorm:
		return one(layerNormLaunch(in[0], in[1], in[2], shape(0)[0], shape(0)[1], float64(o.Eps), s.act))
	case op.ReLU, op.GELU:
		return one(elementLaunch("activation", size, in[0], activationOf(o)))
	case op.Add:
		return one(elementLaunch("add_rows", size, in[0], in[1], l.nodes[s.in[1]].Shape.TotalSize()))
	case op.RelPosAttention:
		if o.HeadDim > mostHeadDim {
			return nil, fmt.Errorf("%s: heads of %d channels, want at most %d", o.Name(), o.HeadDim, mostHeadDim)
		}
		return one(relPosLaunch(l.precision, in[0], in[1], in[2], in[3], o.H, o.W, o.Window, o.Heads, o.HeadDim))
	case op.Attention:
		if o.HeadDim > mostHeadDim {
			return nil, fmt.Errorf("%s: heads of %d channels, want at most %d", o.Name(), o.HeadDim, mostHeadDim)
		}
		rows := func(i, n int) int { // from one prompt to the next
			if shape(i)[0] == n {
				return 0
			}
			return n
		}
		return one(attentionLaunch(attentionKind(o.NQ, o.NK), in[0], in[1], in[2], o.Batch, o.Heads, o.HeadDim, o.NQ, o.NK,
			rows(0, o.NQ), rows(1, o.NK), rows(2, o.NK)))
	case op.Tokens:
		var own any
		if len(in) > 1 {
			own = in[1]
		}
		return one(elementLaunch("tokens", size, in[0], own, l.nodes[s.in[0]].Shape.TotalSize(), o.N*shape(0)[1]))
	case op.Pick:
		which, err := l.constant(o.Which)
		if err != nil {
			return nil, err
		}
		return one(elementLaunch("pick", size, in[0], which, o.Rows, len(o.Which), shape(0)[1]))
	case op.Rows:
		var ls []launch
		at := out
		for i := range in {
			n := l.nodes[s.in[i]].Shape.TotalSize()
			ls = append(ls, elementLaunch("activation", n, at, in[i], actNone))
			at += cu.DevicePtr(4 * n)
		}
		return ls, nil
	case op.Masks:
		ls := maskLaunches(in[0], in[1:], o.Batch, shape(0)[0]/o.Batch, shape(0)[1])
		for i := range ls {
			ls[i].args = append([]any{out}, ls[i].args...)
		}
		return ls, nil
	case op.Floor:
		which, err := l.constant(o.Which)
		if err != nil {
			return nil, err
		}
		return one(elementLaunch("quality_floor", size, in[0], in[1], in[2], which, len(o.Which), shape(1)[1], shape(0)[1]))
	case op.Points:
		return one(elementLaunch("points", size, in[0], in[1], in[2], shape(2)[0]-1, shape(2)[1], o.Size))
	case op.DensePositions:
		return one(elementLaunch("dense_positions", size, in[0], o.H, o.W, 2*shape(0)[1]))
	}
	ls, err := l.lowerMap(s, in)
	if ls == nil && err == nil {
		err = fmt.Errorf("no kernel for %s", s.op.Name())
	}
	return ls, err
}
