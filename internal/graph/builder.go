package graph

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// LeafKind is what a leaf of a graph stands for.
type LeafKind int

// Kinds of leaves.
const (
	NoLeaf       LeafKind = iota
	LeafInput             // filled before each run
	LeafWeight            // a checkpoint's tensor, which no run changes
	LeafVariable          // a checkpoint's tensor that changes between runs: training
	LeafConstant          // data given when the graph was built
)

// leaf is what the builder knows of a leaf.
type leaf struct {
	kind   LeafKind
	name   string
	weight *Weight
	data   []float32
}

// Builder collects the nodes of one graph. Its first error sticks: later
// calls do nothing, and compiling returns it.
type Builder struct {
	g         *G.ExprGraph
	leaves    map[int64]*leaf // by node
	named     map[string]*G.Node
	weights   map[*Weight]*G.Node
	stages    map[string]*G.Node
	order     []string // names of the stages, as they were added
	ops       *ops
	variables func(name string) bool
	applied   []*G.Node // by Apply: each after its inputs
	inputs    map[*G.Node][]*G.Node
	err       error
}

// NewBuilder returns a builder of an empty graph.
func NewBuilder() *Builder {
	return &Builder{
		g: G.NewGraph(), leaves: map[int64]*leaf{}, named: map[string]*G.Node{}, weights: map[*Weight]*G.Node{},
		stages: map[string]*G.Node{}, ops: &ops{}, inputs: map[*G.Node][]*G.Node{},
	}
}

// Run says how gorgonia's own virtual machines run the graph's ops. Without
// it they cannot; programs of a backend do not need it.
func (b *Builder) Run(r Runner) { b.ops.run = r }

// Variables says which weights change between runs, by their names. It counts
// for the leaves that are added after it.
func (b *Builder) Variables(which func(name string) bool) { b.variables = which }

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

// Input adds an input that the program's user fills before each run.
func (b *Builder) Input(name string, shape ...int) *G.Node {
	return b.leaf(&leaf{kind: LeafInput, name: name}, shape)
}

// Weight adds w as a leaf. Asked for again, it returns the same node.
func (b *Builder) Weight(w *Weight) *G.Node {
	if n := b.weights[w]; n != nil {
		return n
	}
	l := &leaf{kind: LeafWeight, name: w.name, weight: w}
	if b.variables != nil && b.variables(w.name) {
		l.kind = LeafVariable
	}
	n := b.leaf(l, w.shape)
	b.weights[w] = n
	return n
}

// Replace makes n, of w's shape, what layers read in w's place from then on.
func (b *Builder) Replace(w *Weight, n *G.Node) {
	if b.err == nil && !n.Shape().Eq(tensor.Shape(w.shape)) {
		b.err = fmt.Errorf("graph: replace %s: %v, want %v: %w", w.name, n.Shape(), w.shape, ErrShape)
	}
	b.weights[w] = n
}

// Constant adds a leaf over data, which is shared, never written and must
// hold as many values as shape asks for.
func (b *Builder) Constant(name string, data []float32, shape ...int) *G.Node {
	if n := tensor.Shape(shape).TotalSize(); b.err == nil && len(data) != n {
		b.err = fmt.Errorf("graph: constant %s: %d values, want %d for %v: %w", name, len(data), n, shape, ErrShape)
	}
	return b.leaf(&leaf{kind: LeafConstant, name: name, data: data}, shape)
}

func (b *Builder) leaf(l *leaf, shape []int) *G.Node {
	if b.err != nil {
		return nil
	}
	if _, dup := b.named[l.name]; dup {
		// gorgonia would silently make one node of the two.
		b.err = fmt.Errorf("graph: leaf %s: name used twice", l.name)
		return nil
	}
	opts := []G.NodeConsOpt{G.WithName(l.name), G.WithShape(shape...)}
	if l.data != nil {
		opts = append(opts, G.WithValue(dense(l.data, shape)))
	}
	n := G.NewTensor(b.g, tensor.Float32, len(shape), opts...)
	b.named[l.name] = n
	b.leaves[n.ID()] = l
	return n
}

// Apply adds a node of that op.
func (b *Builder) Apply(op Op, in ...*G.Node) *G.Node {
	if b.err != nil {
		return nil
	}
	n, err := b.ops.apply(op, in...)
	if err != nil {
		b.err = fmt.Errorf("graph: node %s: %w", op.Name(), err)
		return nil
	}
	b.applied, b.inputs[n] = append(b.applied, n), in
	return n
}

// Stage gives a node a name under which tests, drawings and backends find it,
// and returns the node.
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

// Stages are the names of the stages, in the order they were added.
func (b *Builder) Stages() []string { return b.order }

// StageNode is the stage of that name, or nil.
func (b *Builder) StageNode(name string) *G.Node { return b.stages[name] }

// BindValues gives each weight's leaf its values, for gorgonia's own virtual
// machines: copies, which take as much memory as the checkpoint.
func (b *Builder) BindValues() error {
	for w, n := range b.weights {
		if n == nil || n.Value() != nil || b.leaves[n.ID()] == nil {
			continue // there already, or replaced
		}
		v, err := w.Values()
		if err != nil {
			return err
		}
		if err := Let(n, v); err != nil {
			return err
		}
	}
	return nil
}

// Let makes data, which is not copied, a leaf's value.
func Let(n *G.Node, data []float32) error {
	if want := n.Shape().TotalSize(); len(data) != want {
		return fmt.Errorf("graph: bind %s: %d values, want %d: %w", n.Name(), len(data), want, ErrShape)
	}
	G.WithValue(dense(data, n.Shape()))(n)
	return nil
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
