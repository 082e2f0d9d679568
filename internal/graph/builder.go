package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Builder collects the nodes of one graph. Its first error sticks: later
// calls do nothing, and Compile returns it.
type Builder struct {
	g      *G.ExprGraph
	inputs map[string]*G.Node
	stages map[string]*G.Node
	order  []string // names of the stages, as they were added
	nextID int
	err    error
}

// NewBuilder returns a builder of an empty graph.
func NewBuilder() *Builder {
	return &Builder{g: G.NewGraph(), inputs: map[string]*G.Node{}, stages: map[string]*G.Node{}}
}

// Graph is the gorgonia graph built so far.
func (b *Builder) Graph() *G.ExprGraph { return b.g }

// Err is the first error so far.
func (b *Builder) Err() error { return b.err }

// Fail makes err the builder's error if it has none yet.
func (b *Builder) Fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Input adds an input that the program's user fills before each run. Its
// array is allocated by Compile.
func (b *Builder) Input(name string, shape ...int) *G.Node {
	return b.leaf(name, nil, shape)
}

// Weight adds an input over data, which is shared, never written and must
// hold as many values as shape asks for.
func (b *Builder) Weight(name string, data []float32, shape ...int) *G.Node {
	if n := tensor.Shape(shape).TotalSize(); b.err == nil && len(data) != n {
		b.err = fmt.Errorf("graph: weight %s: %d values, want %d for %v: %w", name, len(data), n, shape, ErrShape)
	}
	return b.leaf(name, data, shape)
}

func (b *Builder) leaf(name string, data []float32, shape []int) *G.Node {
	if b.err != nil {
		return nil
	}
	if _, dup := b.inputs[name]; dup {
		// gorgonia would silently make one node of the two.
		b.err = fmt.Errorf("graph: input %s: name used twice", name)
		return nil
	}
	opts := []G.NodeConsOpt{G.WithName(name), G.WithShape(shape...)}
	if data != nil {
		opts = append(opts, G.WithValue(dense(data, shape)))
	}
	n := G.NewTensor(b.g, tensor.Float32, len(shape), opts...)
	b.inputs[name] = n
	return n
}

// Apply adds a node that runs k on the inputs.
func (b *Builder) Apply(k Kernel, in ...*G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	op := &kernelOp{kernel: k, id: b.nextID}
	b.nextID++
	shapes := make([]tensor.Shape, len(in))
	for i, n := range in {
		shapes[i] = n.Shape()
		op.ranks = append(op.ranks, n.Shape().Dims())
	}
	s, err := k.Shape(shapes)
	if err != nil {
		b.err = fmt.Errorf("graph: node %s: %w", k.Name(), err)
		return nil
	}
	op.out = s.Dims()
	n, err := G.ApplyOp(op, in...)
	if err != nil {
		b.err = fmt.Errorf("graph: node %s: %w", k.Name(), err)
		return nil
	}
	return n
}

// Stage gives a node a name under which tests and drawings find it, and
// returns the node.
func (b *Builder) Stage(name string, n *G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	if _, dup := b.stages[name]; dup {
		b.err = fmt.Errorf("graph: stage %s: name used twice", name)
		return nil
	}
	b.stages[name] = n
	b.order = append(b.order, name)
	return n
}

// checkHashes fails if two nodes have the same 32-bit hash: gorgonia's
// TapeMachine would silently compute only one of them.
func (b *Builder) checkHashes() error {
	seen := map[uint32]*G.Node{}
	for _, n := range b.g.AllNodes() {
		if o := seen[n.Hashcode()]; o != nil && o != n {
			return fmt.Errorf("graph: nodes %v and %v have one hash", n, o)
		}
		seen[n.Hashcode()] = n
	}
	return nil
}
