package cpu

import (
	"slices"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// mlp is [kernel.MLP]: two products of the same rows.
//
// Inputs: the first's as [linear] has them, then the second's but for x.
// Output: [M, Second.N].
type mlp struct{ First, Second linear }

func (mlp) Name() string { return "mlp" }

// InPlace implements [graph.InPlacer]: the result may overwrite what the
// second product adds.
func (m mlp) InPlace() int {
	if m.Second.Add {
		return m.First.arity() + m.Second.arity() - 2
	}
	return -1
}

// Forward implements [graph.Forwarder].
func (m mlp) Forward(out graph.View, in []graph.View) error {
	of := func(l linear, in []graph.View) kernel.Layer {
		var bias []float32
		if l.Bias {
			bias = in[1].Data
		}
		return l.layer(in[0].Data, bias)
	}
	first, second := of(m.First, in[1:]), of(m.Second, in[m.First.arity():])
	if m.Second.Add {
		second.E.Add, second.E.LdAdd = in[len(in)-1].Data, m.Second.N
	}
	kernel.MLP(out.Data, m.Second.N, in[0].Data, m.First.K, in[0].Shape[0], first, second)
	return nil
}

// mlpRows is how many rows there must be: a core does some of them from end to
// end, and does not share the columns.
const mlpRows = 1024

// fuseLayers makes one step of two products if nobody else reads what is
// between them, so that it need not exist as a whole.
func (l *lowered) fuseLayers() {
	uses := l.uses()
	l.each(func(v *value) {
		second, ok := v.op.(linear)
		if !ok || v.shape[0] < mlpRows || uses[v.in[0]] != 1 {
			return
		}
		x := v.in[0]
		first, ok := x.op.(linear)
		if !ok || first.Add || second.Add && v.in[len(v.in)-1].shape[0] != v.shape[0] {
			return
		}
		v.op, v.in = mlp{first, second}, slices.Concat(x.in, v.in[1:])
	})
}
