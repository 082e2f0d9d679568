package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
)

// Differ is implemented by ops that have gradients.
type Differ interface {
	Op
	// Smooth reports whether the result has a gradient in input i.
	Smooth(i int) bool
	// Gradient adds the gradients of the inputs that c asks for to the graph and
	// returns one node for each input, nil for the others.
	Gradient(a Applier, c Call) []*G.Node
}

// Applier adds nodes to a graph, as [Builder] does. After an error it returns
// nil.
type Applier interface {
	Apply(op Op, in ...*G.Node) *G.Node
}

// Call is one use of an op in a graph, for [Differ].
type Call struct {
	In   []*G.Node
	Out  *G.Node
	Grad *G.Node // of Out, of its shape
	Want []bool  // which inputs' gradients are asked for
}

var _ G.SDOp = (*nodeOp)(nil)

// DiffWRT implements gorgonia's SDOp.
func (o *nodeOp) DiffWRT(inputs int) []bool {
	out := make([]bool, inputs)
	if d, ok := o.op.(Differ); ok {
		for i := range out {
			out[i] = d.Smooth(i)
		}
	}
	return out
}

// SymDiff implements gorgonia's SDOp: the nodes that it adds are our own.
func (o *nodeOp) SymDiff(in G.Nodes, out, grad *G.Node) (G.Nodes, error) {
	a := &applier{ops: o.shared}
	g, err := o.gradient(a, Call{In: in, Out: out, Grad: grad, Want: o.DiffWRT(len(in))})
	if a.err != nil {
		err = a.err
	}
	return g, err
}

// applier adds nodes without a builder.
type applier struct {
	ops *ops
	err error
}

func (a *applier) Apply(op Op, in ...*G.Node) *G.Node {
	if a.err != nil {
		return nil
	}
	n, err := a.ops.apply(op, in...)
	if err != nil {
		a.err = fmt.Errorf("graph: node %s: %w", op.Name(), err)
	}
	return n
}

func (o *nodeOp) gradient(a Applier, c Call) (G.Nodes, error) {
	d, ok := o.op.(Differ)
	if !ok {
		return nil, fmt.Errorf("graph: %s has no gradient", o.op.Name())
	}
	g := d.Gradient(a, c)
	for i, n := range g {
		if c.Want[i] && (n == nil || !n.Shape().Eq(c.In[i].Shape())) {
			return nil, fmt.Errorf("graph: gradient of %s: input %d: %w", o.op.Name(), i, ErrShape)
		}
	}
	return g, nil
}

// Backward adds the gradients of the sum over i of outs[i]·seeds[i], each seed
// of the shape of its output, and returns that of each node of wrt, nil where
// the outputs do not depend on it.
//
// It asks each op what gorgonia's Grad asks it, but only for what leads to
// wrt, and adds up with sum, an op of two inputs of one shape: gorgonia's Add
// may overwrite its inputs.
func (b *Builder) Backward(sum Op, outs, seeds, wrt []*G.Node) []*G.Node {
	if b.err != nil {
		return nil
	}
	need := map[*G.Node]bool{} // lies between wrt and an output
	for _, n := range wrt {
		need[n] = true
	}
	forward := b.applied
	for _, n := range forward {
		o := n.Op().(*nodeOp)
		for i, c := range b.inputs[n] {
			if d, ok := o.op.(Differ); need[c] && ok && d.Smooth(i) {
				need[n] = true
			}
		}
	}
	grads := map[*G.Node]*G.Node{}
	add := func(n, g *G.Node) {
		if grads[n] != nil {
			g = b.Apply(sum, grads[n], g)
		}
		grads[n] = g
	}
	for i, n := range outs {
		if need[n] {
			add(n, seeds[i])
		}
	}
	for i := len(forward) - 1; i >= 0; i-- {
		n := forward[i]
		o := n.Op().(*nodeOp)
		if grads[n] == nil || !need[n] {
			continue
		}
		c := Call{In: b.inputs[n], Out: n, Grad: grads[n], Want: o.DiffWRT(len(b.inputs[n]))}
		any := false
		for j, in := range c.In {
			c.Want[j] = c.Want[j] && need[in]
			any = any || c.Want[j]
		}
		if !any {
			continue
		}
		gs, err := o.gradient(b, c)
		if b.err == nil && err != nil {
			b.err = err
		}
		if b.err != nil {
			return nil
		}
		for j, g := range gs {
			if c.Want[j] {
				add(c.In[j], g)
			}
		}
	}
	if b.err != nil {
		return nil
	}
	out := make([]*G.Node, len(wrt))
	for i, n := range wrt {
		out[i] = grads[n]
	}
	return out
}
