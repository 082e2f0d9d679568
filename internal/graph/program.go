package graph

import (
	"context"
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/kernel"
)

// Program is one instance of a graph: its plan, its arena and a virtual
// machine. One goroutine at a time may use it.
type Program struct {
	g       *G.ExprGraph
	plan    *Plan
	inputs  map[string]*G.Node
	stages  map[string]*G.Node
	names   []string
	outputs []*G.Node
	leaves  []int
	steps   []step
	vals    []G.Value
}

type step struct {
	op   G.Op
	node *G.Node
	in   []int
	args []G.Value
	out  int
}

var _ G.VM = vm{}

// CompileOptions changes what a program keeps.
type CompileOptions struct {
	KeepStages bool // every stage can be read after a run; costs memory
}

// Compile plans the graph and returns a program that computes outputs.
func (b *Builder) Compile(outputs ...*G.Node) (*Program, error) {
	return b.CompileWith(CompileOptions{}, outputs...)
}

// CompileWith is Compile with options.
func (b *Builder) CompileWith(o CompileOptions, outputs ...*G.Node) (*Program, error) {
	if b.err != nil {
		return nil, b.err
	}
	if err := b.checkHashes(); err != nil {
		return nil, err
	}
	keep := append([]*G.Node(nil), outputs...)
	if o.KeepStages {
		for _, n := range b.stages {
			keep = append(keep, n)
		}
	}
	pl, err := plan(b.g, keep)
	if err != nil {
		return nil, err
	}
	p := &Program{g: b.g, plan: pl, inputs: b.inputs, outputs: outputs, vals: make([]G.Value, len(pl.order)), stages: map[string]*G.Node{}}
	if o.KeepStages {
		p.stages, p.names = b.stages, b.order
	}
	arena := kernel.Alloc(pl.Arena)
	for i, nd := range pl.order {
		op, ours := nd.Op().(*kernelOp)
		if !ours && len(pl.inputs[i]) == 0 {
			p.leaves = append(p.leaves, i)
			if nd.Value() == nil {
				G.WithValue(dense(make([]float32, nd.Shape().TotalSize()), nd.Shape()))(nd)
			}
			continue
		}
		if ours {
			at, n := pl.offset[i], nd.Shape().TotalSize()
			op.dest = dense(arena[at:at+n:at+n], nd.Shape())
		}
		p.steps = append(p.steps, step{op: nd.Op(), node: nd, in: pl.inputs[i], args: make([]G.Value, len(pl.inputs[i])), out: i})
	}
	return p, nil
}

// Graph is the gorgonia graph that the program runs.
func (p *Program) Graph() *G.ExprGraph { return p.g }

// Bytes is the size of the program's arena, and what separate arrays would
// have taken.
func (p *Program) Bytes() (arena, separate int) { return 4 * p.plan.Arena, 4 * p.plan.Sum }

// Input is the array of the named input, to be filled before Run.
func (p *Program) Input(name string) []float32 {
	return p.inputs[name].Value().(*tensor.Dense).Float32s()
}

// Bind makes data, which is not copied, the value of the named input.
func (p *Program) Bind(name string, data []float32) error {
	n := p.inputs[name]
	if n == nil {
		return fmt.Errorf("graph: bind %s: no such input", name)
	}
	if want := n.Shape().TotalSize(); len(data) != want {
		return fmt.Errorf("graph: bind %s: %d values, want %d: %w", name, len(data), want, ErrShape)
	}
	G.WithValue(dense(data, n.Shape()))(n)
	return nil
}

// Output is the value of the i-th output after Run. It is overwritten by the
// next run.
func (p *Program) Output(i int) []float32 { return p.read(p.outputs[i]) }

// OutputShape is the shape of the i-th output.
func (p *Program) OutputShape(i int) []int { return p.outputs[i].Shape() }

// Stages are the names of the stages kept, in the order they were built.
func (p *Program) Stages() []string { return p.names }

// Stage returns the value and shape of a stage after Run; ok is false if
// there is no such stage or it was not kept.
func (p *Program) Stage(name string) (data []float32, shape []int, ok bool) {
	n := p.stages[name]
	if n == nil {
		return nil, nil, false
	}
	return p.read(n), n.Shape(), true
}

func (p *Program) read(n *G.Node) []float32 {
	v := p.vals[p.plan.pos[n.ID()]]
	if v == nil {
		return nil
	}
	return v.(*tensor.Dense).Float32s()
}

// Run computes the outputs. It looks at ctx before each node and returns
// ctx's error as soon as it is done.
func (p *Program) Run(ctx context.Context) error {
	for _, i := range p.leaves {
		p.vals[i] = p.plan.order[i].Value()
	}
	for i := range p.steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := &p.steps[i]
		for j, k := range s.in {
			s.args[j] = p.vals[k]
		}
		v, err := s.op.Do(s.args...)
		if err != nil {
			return err
		}
		p.vals[s.out] = v
	}
	return nil
}

// VM returns the program as a gorgonia VM, whose RunAll also binds each value
// to its node.
func (p *Program) VM() G.VM { return vm{p} }

type vm struct{ p *Program }

func (m vm) RunAll() error {
	if err := m.p.Run(context.Background()); err != nil {
		return err
	}
	for _, s := range m.p.steps {
		G.WithValue(m.p.vals[s.out])(s.node)
	}
	return nil
}

func (m vm) Reset() {}

func (m vm) Close() error { return nil }
