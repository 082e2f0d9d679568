package cpu

import (
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// value is a result or a leaf of a program that is being made. Lowering
// changes values in place, so that who reads them need not know.
type value struct {
	op     instruction // nil: a leaf, or an op of gorgonia's own
	in     []*value
	shape  tensor.Shape // in memory
	node   *G.Node      // nil for a value that lowering made
	leaf   graph.LeafKind
	name   string        // of a leaf
	weight *graph.Weight // of LeafWeight and LeafVariable
	format graph.Format  // in which linear layers read the weight
	form   *form         // what is in memory in a weight's place
	data   []float32     // of a prepared form
	keep   bool          // an output, or a stage that is kept
}

// instruction is an op of the graph, or a step that lowering put in the place
// of several.
type instruction interface{ Name() string }

// lowered is a graph on its way to a program.
type lowered struct {
	outputs []*value
	inputs  map[string]*value // by name
	stages  map[string]*value // that are kept
	order   []*value          // each after its inputs
}

// lower brings the graph into the form in which a program runs it.
func lower(b *graph.Builder, o graph.CompileOptions, outputs []*G.Node) (*lowered, error) {
	l, err := read(b, o, outputs)
	if err != nil {
		return nil, err
	}
	l.exchange(b, o.Private, outputs)
	l.sort()
	if !o.Plain {
		l.fuseDecoder()
		l.keepPanels()
		l.absorbGradients()
		l.projectAhead()
		l.sumAhead()
		l.lowRankAhead()
	}
	l.each(choose)
	if !o.Plain {
		l.fuseMaps()
		l.fuseEpilogues()
		l.fuseSums()
		l.fuseLayers()
	}
	l.settle()
	return l, nil
}

// read turns the graph's nodes into values.
func read(b *graph.Builder, o graph.CompileOptions, outputs []*G.Node) (*lowered, error) {
	keep := slices.Clone(outputs)
	if o.KeepStages {
		for _, name := range b.Stages() {
			keep = append(keep, b.StageNode(name))
		}
	}
	nodes, err := b.Nodes(keep...)
	if err != nil {
		return nil, err
	}
	l := &lowered{inputs: map[string]*value{}, stages: map[string]*value{}}
	of := map[*G.Node]*value{}
	all := make([]*value, len(nodes))
	for i, n := range nodes {
		v := &value{shape: n.Shape, node: n.Node, leaf: n.Leaf, name: n.Name, weight: n.Weight, format: o.Formats[n.Weight]}
		if n.Op != nil {
			v.op = n.Op
		}
		for _, k := range n.In {
			v.in = append(v.in, all[k])
		}
		if n.Leaf == graph.LeafConstant { // a weight that only this program has
			data := n.Data
			v.leaf, v.weight = graph.LeafWeight, graph.NewWeight(n.Name, n.Shape, func(use func([]float32)) error { use(data); return nil })
		}
		all[i], of[n.Node] = v, v
	}
	for _, n := range outputs {
		of[n].keep = true
		l.outputs = append(l.outputs, of[n])
	}
	if o.KeepStages {
		for _, name := range b.Stages() {
			v := of[b.StageNode(name)]
			v.keep = true
			l.stages[name] = v
		}
	}
	for name, n := range b.Inputs() {
		v := of[n]
		if v == nil { // no output needs it
			v = &value{shape: n.Shape(), node: n, leaf: graph.LeafInput, name: name}
		}
		l.inputs[name] = v
	}
	return l, nil
}

// exchange brings the inputs and outputs that only our own programs exchange
// into panels, in which the decoder's kernels read maps.
func (l *lowered) exchange(b *graph.Builder, private []string, outputs []*G.Node) {
	for _, name := range private {
		if v := l.inputs[name]; v != nil {
			rows := v.shape[0]
			p := &value{shape: tensor.Shape{kernel.PackedLen(rows, 1), v.shape[1]}, leaf: graph.LeafInput, name: name}
			*v = value{op: fromPanels{Rows: rows}, in: []*value{p}, shape: v.shape, node: v.node, keep: v.keep}
			l.inputs[name] = p
			continue
		}
		if i := slices.Index(outputs, b.StageNode(name)); i >= 0 {
			l.outputs[i] = panelsOf(l.outputs[i], l.outputs[i].shape[0])
			l.outputs[i].keep = true
		}
	}
}

// sort puts the values that the outputs need in order.
func (l *lowered) sort() {
	l.order = l.order[:0]
	seen := map[*value]bool{}
	var visit func(v *value)
	visit = func(v *value) {
		if seen[v] {
			return
		}
		seen[v] = true
		for _, x := range v.in {
			visit(x)
		}
		l.order = append(l.order, v)
	}
	for _, v := range l.outputs {
		visit(v)
	}
	for _, v := range l.stages {
		visit(v)
	}
}

// each calls f for each value, inputs first, and drops what is not needed any
// more.
func (l *lowered) each(f func(v *value)) {
	for _, v := range slices.Clone(l.order) {
		f(v)
	}
	l.sort()
}

// uses counts how often each value is read; outputs are read once more.
func (l *lowered) uses() map[*value]int {
	n := map[*value]int{}
	for _, v := range l.order {
		for _, x := range v.in {
			n[x]++
		}
		if v.keep {
			n[v]++
		}
	}
	return n
}

// fixed reports whether v is a weight that no run changes.
func (v *value) fixed() bool { return v.leaf == graph.LeafWeight && v.weight != nil }

// parameter reports whether v is made of fixed weights by an op that only
// arranges parameters, so that it is computed once.
func (v *value) parameter() bool {
	switch v.op.(type) {
	case nil:
		return v.fixed()
	case op.Rows, op.DensePositions:
		return !slices.ContainsFunc(v.in, func(x *value) bool { return !x.parameter() })
	}
	return false
}

// expression tells parameters of one process apart.
func (v *value) expression() string {
	if v.fixed() {
		return fmt.Sprint("#", v.weight.ID())
	}
	s := v.op.Name() + "{" + v.op.(graph.Op).Params() + "}("
	for _, x := range v.in {
		s += x.expression() + ","
	}
	return s + ")"
}

// owner is the weight with which what is made of a parameter is kept.
func (v *value) owner() *graph.Weight {
	for v.weight == nil {
		v = v.in[0]
	}
	return v.weight
}

// compute returns a parameter's values.
func (v *value) compute() ([]float32, error) {
	if v.fixed() {
		return v.weight.Values()
	}
	return v.owner().Derived(v.expression(), func() ([]float32, error) {
		var in []graph.View
		for _, x := range v.in {
			data, err := x.compute()
			if err != nil {
				return nil, err
			}
			in = append(in, graph.View{Data: data, Shape: x.shape})
		}
		out := kernel.Alloc(v.shape.TotalSize())
		return out, Run(v.op.(graph.Op), graph.View{Data: out, Shape: v.shape}, in)
	})
}

// settle gives what is left of the weights the form in which they are read,
// and makes leaves of the parameters.
func (l *lowered) settle() {
	ahead := map[*value]*form{}
	for _, v := range l.order {
		if v.op != nil && !v.keep && v.parameter() {
			p := v.clone()
			ahead[v] = &form{owner: p.owner(), key: p.expression(), compute: p.compute}
		}
	}
	for v, f := range ahead {
		*v = value{leaf: graph.LeafWeight, name: v.op.Name(), shape: v.shape, form: f}
	}
	l.sort()
	for _, v := range l.order {
		if v.fixed() {
			v.form = &form{owner: v.weight, key: "logical", make: graph.Logical}
		}
	}
}

// clone returns a copy of v and of what it is computed from.
func (v *value) clone() *value {
	c := *v
	c.in = nil
	for _, x := range v.in {
		c.in = append(c.in, x.clone())
	}
	return &c
}
