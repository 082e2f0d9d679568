package cpu

import (
	"context"
	"fmt"
	"slices"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// Program is a compiled graph with its working memory. One goroutine at a
// time may use it.
type Program struct {
	plan    *graph.Plan
	order   []*value
	at      map[*value]int // places in order
	views   []graph.View   // by place
	steps   []step
	inputs  map[string]*value
	spare   map[string][]float32 // inputs that no output needs
	outputs []*value
	shapes  []tensor.Shape // of the outputs, in the graph
	stages  map[string]*value
	names   []string
}

var _ graph.Program = (*Program)(nil)

// step computes one value.
type step struct {
	op   instruction // nil: an op of gorgonia's own
	node *G.Node
	in   []int
	args []graph.View
	out  int
}

// Compile lowers the graph, prepares its weights, plans its memory and returns
// a program that computes outputs.
func Compile(b *graph.Builder, o graph.CompileOptions, outputs ...*G.Node) (*Program, error) {
	l, err := lower(b, o, outputs)
	if err != nil {
		return nil, err
	}
	if err := prepare(l.order); err != nil {
		return nil, err
	}
	p := &Program{
		order: l.order, at: map[*value]int{}, views: make([]graph.View, len(l.order)), inputs: l.inputs, spare: map[string][]float32{},
		outputs: l.outputs, stages: l.stages,
	}
	for _, n := range outputs {
		p.shapes = append(p.shapes, n.Shape())
	}
	if o.KeepStages {
		p.names = b.Stages()
	}
	for i, v := range l.order {
		p.at[v] = i
	}
	p.layOut()
	for i, v := range l.order {
		if err := p.add(i, v); err != nil {
			return nil, err
		}
	}
	for name, v := range l.inputs {
		if _, used := p.at[v]; !used {
			p.spare[name] = make([]float32, v.shape.TotalSize())
		}
	}
	return p, nil
}

// layOut plans where the results lie.
func (p *Program) layOut() {
	plan := make([]graph.Step, len(p.order))
	var keep []int
	for i, v := range p.order {
		_, part := v.op.(op.Part)
		s := graph.Step{InPlace: v.inPlace(), View: v.op == nil || part}
		for _, x := range v.in {
			s.In = append(s.In, p.at[x])
		}
		if !s.View {
			s.Size = v.shape.TotalSize()
		}
		if v.keep {
			keep = append(keep, i)
		}
		plan[i] = s
	}
	p.plan = graph.PlanBuffers(plan, keep)
	arena := kernel.Alloc(p.plan.Arena)
	for i, v := range p.order {
		p.views[i].Shape = v.shape
		if at := p.plan.Offset[i]; at >= 0 {
			n := v.shape.TotalSize()
			p.views[i].Data = arena[at : at+n : at+n]
		}
	}
}

// add makes the i-th value a leaf or a step of the program.
func (p *Program) add(i int, v *value) error {
	switch {
	case v.form != nil:
		p.views[i].Data = v.data
		return nil
	case v.leaf == graph.LeafVariable:
		data, err := v.weight.Values()
		p.views[i].Data = data
		return err
	case v.leaf == graph.LeafInput:
		p.views[i].Data = make([]float32, v.shape.TotalSize())
		return nil
	case v.op == nil && len(v.in) == 0: // a constant of gorgonia's own
		var err error
		p.views[i].Data, err = float32s(v.node.Value())
		return err
	}
	s := step{op: v.op, node: v.node, args: make([]graph.View, len(v.in)), out: i}
	for _, x := range v.in {
		s.in = append(s.in, p.at[x])
	}
	p.steps = append(p.steps, s)
	return nil
}

// Bytes implements [graph.Program].
func (p *Program) Bytes() (planned, separate int) { return 4 * p.plan.Arena, 4 * p.plan.Sum }

// Input implements [graph.Program].
func (p *Program) Input(name string) []float32 {
	v := p.inputs[name]
	if i, used := p.at[v]; used {
		return p.views[i].Data
	}
	return p.spare[name]
}

// Bind implements [graph.Program].
func (p *Program) Bind(name string, data []float32) error {
	v := p.inputs[name]
	if v == nil {
		return fmt.Errorf("cpu: bind %s: no such input", name)
	}
	if want := v.shape.TotalSize(); len(data) != want {
		return fmt.Errorf("cpu: bind %s: %d values, want %d: %w", name, len(data), want, graph.ErrShape)
	}
	if i, used := p.at[v]; used {
		p.views[i].Data = data
	} else {
		p.spare[name] = data
	}
	return nil
}

// Output implements [graph.Program].
func (p *Program) Output(i int) []float32 { return p.views[p.at[p.outputs[i]]].Data }

// OutputShape implements [graph.Program].
func (p *Program) OutputShape(i int) []int { return p.shapes[i] }

// Stages implements [graph.Program].
func (p *Program) Stages() []string { return p.names }

// Stage implements [graph.Program].
func (p *Program) Stage(name string) (data []float32, shape []int, ok bool) {
	v := p.stages[name]
	if v == nil {
		return nil, nil, false
	}
	return p.views[p.at[v]].Data, v.shape, true
}

// Steps are the names of the program's steps, in order.
func (p *Program) Steps() []string {
	var names []string
	for _, s := range p.steps {
		if s.op != nil {
			names = append(names, s.op.Name())
		} else {
			names = append(names, s.node.Op().String())
		}
	}
	return names
}

// Run implements [graph.Program].
func (p *Program) Run(ctx context.Context) error { return p.runSteps(ctx, 0, len(p.steps)) }

// RunFirst computes the first output, and [Program.RunRest] the others: inputs
// that the first does not need may be filled in between. What the others need
// of what the first is computed from is not computed again.
func (p *Program) RunFirst(ctx context.Context) error { return p.runSteps(ctx, 0, p.first()) }

// RunRest computes the outputs but the first.
func (p *Program) RunRest(ctx context.Context) error {
	return p.runSteps(ctx, p.first(), len(p.steps))
}

// first is how many steps come to the first output: those that it needs, since
// they are put in order for it first.
func (p *Program) first() int {
	at := p.at[p.outputs[0]]
	return slices.IndexFunc(p.steps, func(s step) bool { return s.out == at }) + 1
}

func (p *Program) runSteps(ctx context.Context, from, to int) error {
	for i := from; i < to; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.run(&p.steps[i]); err != nil {
			return err
		}
	}
	return nil
}

// run computes one step. A panic becomes an error that names it.
func (p *Program) run(s *step) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("cpu: %s: %v", s.name(), r)
		}
	}()
	for j, k := range s.in {
		s.args[j] = p.views[k]
	}
	switch o := s.op.(type) {
	case nil:
		err = p.runOther(s)
	case op.Part: // no copy
		p.views[s.out].Data = s.args[0].Data[o.At:][:o.Dims.TotalSize()]
	case graph.Forwarder:
		err = o.Forward(p.views[s.out], s.args)
	default:
		err = Run(o.(graph.Op), p.views[s.out], s.args)
	}
	if err != nil {
		return fmt.Errorf("cpu: %s: %w", s.name(), err)
	}
	return nil
}

func (s *step) name() string {
	if s.op == nil {
		return s.node.Op().String()
	}
	return s.op.Name()
}

// runOther runs an op of gorgonia's own, such as the sums that its
// differentiation makes.
func (p *Program) runOther(s *step) error {
	args := make([]G.Value, len(s.args))
	for i, v := range s.args {
		if len(v.Shape) == 0 {
			args[i] = G.NewF32(v.Data[0])
		} else {
			args[i] = tensor.New(tensor.WithShape(v.Shape...), tensor.WithBacking(slices.Clone(v.Data)))
		}
	}
	out, err := s.node.Op().Do(args...)
	if err != nil {
		return err
	}
	p.views[s.out].Data, err = float32s(out)
	return err
}

// float32s are the values of a value of gorgonia's.
func float32s(v G.Value) ([]float32, error) {
	switch data := v.Data().(type) {
	case []float32:
		return data, nil
	case float32:
		return []float32{data}, nil
	default:
		return nil, fmt.Errorf("cpu: values of type %T, want float32", data)
	}
}
