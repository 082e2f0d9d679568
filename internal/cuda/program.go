//go:build gpu && cgo && linux

package cuda

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"gorgonia.org/cu"
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
)

// Backend compiles graphs for a device. It implements [graph.Backend].
type Backend struct {
	Device    *Device
	Precision Precision
}

var _ graph.Backend = Backend{}

// Program is a graph on a device: a slab of memory with a place for each
// result by the static plan, and its launches, recorded once. Weights are
// shared by all programs of a device. It implements [graph.Program].
type Program struct {
	*resources
	builder *graph.Builder // keeps the weights alive
	nodes   []graph.Node
	inputs  map[string]*input
	outputs []*output
	stages  map[string]*output
	names   []string // of the stages
	labels  []labels
	planned int // bytes
	sum     int
}

// resources are what the driver gave a program.
type resources struct {
	d       *Device
	stream  cu.Stream
	memory  []cu.DevicePtr
	host    [][]float32 // pinned
	run     recording
	started bool // the stream exists
	cutting cutting
}

// input is a leaf that is filled before each run.
type input struct {
	host    []float32    // pinned, unless no output needs the input
	at      cu.DevicePtr // 0 if no output needs it
	bound   []float32
	lasting bool // what is bound does not change
}

// output is a result that is copied to the host.
type output struct {
	host  []float32
	at    cu.DevicePtr
	shape []int
}

// labels are an input of points, whose labels must be below most.
type labels struct {
	name string
	most int
}

// Compile puts a graph on the device: its weights, if they are not there yet,
// memory for a run, and the launches.
//
// Compile returns [ErrMemory] if the device has no room, and an error that
// names the op if there is no kernel for it.
func (b Backend) Compile(g *graph.Builder, o graph.CompileOptions, outputs ...*G.Node) (graph.Program, error) {
	needed := slices.Clone(outputs)
	if o.KeepStages {
		for _, name := range g.Stages() {
			needed = append(needed, g.StageNode(name))
		}
	}
	nodes, err := g.Nodes(needed...)
	if err != nil {
		return nil, err
	}
	p := &Program{resources: &resources{d: b.Device}, builder: g, nodes: nodes, inputs: map[string]*input{}, stages: map[string]*output{}}
	err = b.Device.do(func() error { return p.build(b.Precision, o, outputs) })
	if err != nil {
		p.release()
		return nil, fmt.Errorf("cuda: compile: %w", err)
	}
	runtime.AddCleanup(p, (*resources).release, p.resources)
	return p, nil
}

// Prepare copies the weights that Compile would need to the device.
func (b Backend) Prepare(g *graph.Builder, o graph.CompileOptions, outputs ...*G.Node) error {
	p, err := b.Compile(g, o, outputs...)
	if err != nil {
		return err
	}
	p.(*Program).Close()
	return nil
}

// Close frees what the program has on the device. A program that is dropped
// instead is closed by the garbage collector.
func (p *Program) Close() { p.release() }

// build plans and records the program. It runs within do.
func (p *Program) build(precision Precision, o graph.CompileOptions, outputs []*G.Node) (err error) {
	if p.stream, err = cu.MakeStream(cu.NonBlocking); err != nil {
		return fmt.Errorf("make a stream: %w", err)
	}
	p.started = true
	at := map[int64]int{} // nodes by ID
	for i, n := range p.nodes {
		at[n.Node.ID()] = i
	}
	keep := map[int]bool{}
	for _, n := range outputs {
		keep[at[n.ID()]] = true
	}
	if o.KeepStages {
		for _, name := range p.builder.Stages() {
			keep[at[p.builder.StageNode(name).ID()]] = true
		}
		p.names = p.builder.Stages()
	}
	steps := fuse(p.nodes, keep)
	if o.Plain {
		all := map[int]bool{}
		for i := range p.nodes {
			all[i] = true
		}
		steps = fuse(p.nodes, all)
	}
	place, err := p.allocate(steps, keep, o.Lasting)
	if err != nil {
		return err
	}
	l := &lowering{d: p.d, precision: precision, nodes: p.nodes, place: place}
	defer func() { p.memory = append(p.memory, l.constants...) }()
	fixed := p.fixed()
	var launches []launch
	for _, s := range steps {
		ls, err := l.lower(s)
		if err != nil {
			return err
		}
		if !fixed[s.node] {
			launches = append(launches, ls...)
			continue
		}
		for _, k := range ls { // once and for all
			if err := p.d.start(k, p.stream); err != nil {
				return err
			}
		}
	}
	for _, n := range outputs {
		out, err := p.output(l, at[n.ID()])
		if err != nil {
			return err
		}
		p.outputs = append(p.outputs, out)
	}
	for _, name := range p.names {
		if p.stages[name], err = p.output(l, at[p.builder.StageNode(name).ID()]); err != nil {
			return err
		}
	}
	if err := p.stream.Synchronize(); err != nil {
		return err
	}
	p.run, err = record(p.stream, func() error { return p.enqueue(launches) })
	return err
}

// enqueue puts all work of a run on the stream except the inputs' copies.
func (p *Program) enqueue(launches []launch) error {
	for _, k := range launches {
		if err := p.d.start(k, p.stream); err != nil {
			return err
		}
	}
	for _, o := range p.outputs {
		if err := toHost(o.host, o.at, p.stream); err != nil {
			return err
		}
	}
	for _, name := range p.names {
		if err := toHost(p.stages[name].host, p.stages[name].at, p.stream); err != nil {
			return err
		}
	}
	return nil
}

// fixed are the nodes that depend on weights and constants only.
func (p *Program) fixed() []bool {
	f := make([]bool, len(p.nodes))
	for i, n := range p.nodes {
		f[i] = n.Leaf == graph.LeafWeight || n.Leaf == graph.LeafConstant
		if n.Leaf == graph.NoLeaf {
			f[i] = !slices.ContainsFunc(n.In, func(j int) bool { return !f[j] })
		}
	}
	return f
}

// allocate gives inputs, constants and results their places.
func (p *Program) allocate(steps []step, keep map[int]bool, lasting []string) ([]cu.DevicePtr, error) {
	place := make([]cu.DevicePtr, len(p.nodes))
	fixed := p.fixed()
	plan := make([]graph.Step, 0, len(steps))
	index := map[int]int{} // of the steps in the plan, by node
	var kept []int
	var err error
	for i, n := range p.nodes {
		switch n.Leaf {
		case graph.LeafInput:
			in := &input{lasting: slices.Contains(lasting, n.Name)}
			if in.host, err = p.pinned(n.Shape.TotalSize()); err != nil {
				return nil, err
			}
			if in.at, err = p.alloc(n.Shape.TotalSize()); err != nil {
				return nil, err
			}
			p.inputs[n.Name], place[i] = in, in.at
		case graph.LeafConstant:
			if place[i], err = upload(p.d, n.Data); err != nil {
				return nil, err
			}
			p.memory = append(p.memory, place[i])
		case graph.NoLeaf:
			if n.Op == nil {
				return nil, fmt.Errorf("no kernel for gorgonia's %v", n.Node.Op())
			}
		}
	}
	for _, s := range steps {
		if err := p.watch(s); err != nil {
			return nil, err
		}
		size := p.nodes[s.node].Shape.TotalSize()
		if fixed[s.node] {
			if place[s.node], err = p.alloc(size); err != nil {
				return nil, err
			}
			continue
		}
		st := graph.Step{Size: size, InPlace: -1}
		for k, j := range s.reads() {
			if planned, ok := index[j]; ok {
				if k == s.inPlace() {
					st.InPlace = len(st.In)
				}
				st.In = append(st.In, planned)
			}
		}
		index[s.node] = len(plan)
		if keep[s.node] {
			kept = append(kept, len(plan))
		}
		plan = append(plan, st)
	}
	for name, n := range p.builder.Inputs() {
		if p.inputs[name] == nil {
			p.inputs[name] = &input{host: make([]float32, n.Shape().TotalSize())}
		}
	}
	layout := graph.PlanBuffers(plan, kept)
	slab, err := p.alloc(layout.Arena)
	if err != nil {
		return nil, err
	}
	p.planned, p.sum = 4*layout.Arena, 4*layout.Sum
	for node, i := range index {
		place[node] = slab + cu.DevicePtr(4*layout.Offset[i])
	}
	return place, nil
}

// watch remembers the inputs whose labels are checked before a run: a kernel
// has no other way to complain than NaN.
func (p *Program) watch(s step) error {
	if _, ok := s.op.(op.Points); !ok {
		return nil
	}
	n := p.nodes[s.in[0]]
	if n.Leaf != graph.LeafInput {
		return fmt.Errorf("points: the points are no input")
	}
	p.labels = append(p.labels, labels{n.Name, p.nodes[s.in[2]].Shape[0] - 1})
	return nil
}

func (p *Program) output(l *lowering, i int) (*output, error) {
	o := &output{shape: p.nodes[i].Shape}
	var err error
	if o.at, err = l.operand(i, form{}); err != nil {
		return nil, err
	}
	o.host, err = p.pinned(p.nodes[i].Shape.TotalSize())
	return o, err
}

// Input implements [graph.Program].
func (p *Program) Input(name string) []float32 {
	in := p.inputs[name]
	if in == nil {
		return nil
	}
	in.bound = nil
	return in.host
}

// Bind implements [graph.Program].
func (p *Program) Bind(name string, data []float32) error {
	in := p.inputs[name]
	if in == nil {
		return fmt.Errorf("cuda: bind %s: no such input", name)
	}
	if len(data) != len(in.host) {
		return fmt.Errorf("cuda: bind %s: %d values, want %d: %w", name, len(data), len(in.host), graph.ErrShape)
	}
	in.bound = data
	return nil
}

// Run implements [graph.Program]. A run that has begun is not stopped.
func (p *Program) Run(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, l := range p.labels {
		if err := l.check(p.values(l.name)); err != nil {
			return err
		}
	}
	err := p.d.do(func() error {
		for name, in := range p.inputs {
			if err := p.send(in); err != nil {
				return fmt.Errorf("input %s: %w", name, err)
			}
		}
		if err := p.run.start(p.stream); err != nil {
			return err
		}
		return p.stream.Synchronize()
	})
	runtime.KeepAlive(p) // its memory is freed after it
	if err != nil {
		return fmt.Errorf("cuda: run: %w", err)
	}
	return ctx.Err()
}

// values are those that an input will have in the next run.
func (p *Program) values(name string) []float32 {
	if in := p.inputs[name]; in.bound == nil {
		return in.host
	}
	return p.inputs[name].bound
}

// check returns an error that names a point whose label there is no row for.
func (l labels) check(points []float32) error {
	for i := 2; i < len(points); i += 3 {
		if v := points[i]; !(v >= -1 && int(v) < l.most) {
			return fmt.Errorf("points: label %v of point %d is none of -1 to %d", v, i/3, l.most-1)
		}
	}
	return nil
}

// send enqueues an input's copy to where the launches read it.
func (p *Program) send(in *input) error {
	if in.at == 0 {
		return nil
	}
	if in.lasting && in.bound != nil {
		at, err := p.d.residentCopy(in.bound)
		if err != nil {
			return err
		}
		return cu.MemcpyDtoDAsync(in.at, at, int64(4*len(in.host)), p.stream)
	}
	if in.bound != nil {
		copy(in.host, in.bound)
	}
	return toDevice(in.at, in.host, p.stream)
}

// Output implements [graph.Program].
func (p *Program) Output(i int) []float32 { return p.outputs[i].host }

// OutputShape implements [graph.Program].
func (p *Program) OutputShape(i int) []int { return p.outputs[i].shape }

// Stages implements [graph.Program].
func (p *Program) Stages() []string { return p.names }

// Stage implements [graph.Program].
func (p *Program) Stage(name string) (data []float32, shape []int, ok bool) {
	s := p.stages[name]
	if s == nil {
		return nil, nil, false
	}
	return s.host, s.shape, true
}

// Bytes implements [graph.Program]: device memory for results.
func (p *Program) Bytes() (planned, separate int) { return p.planned, p.sum }

func (r *resources) alloc(n int) (cu.DevicePtr, error) {
	m, err := r.d.alloc(n)
	if err == nil {
		r.memory = append(r.memory, m)
	}
	return m, err
}

func (r *resources) pinned(n int) ([]float32, error) {
	x, err := pinned(n)
	if err == nil {
		r.host = append(r.host, x)
	}
	return x, err
}

// give frees what alloc returned, or 0, before the program ends.
func (r *resources) give(m cu.DevicePtr) {
	if i := slices.Index(r.memory, m); i >= 0 {
		r.memory = slices.Delete(r.memory, i, i+1)
		_ = r.d.free(m)
	}
}

// unpin frees what pinned returned, or nil, before the program ends.
func (r *resources) unpin(x []float32) {
	i := slices.IndexFunc(r.host, func(h []float32) bool { return unsafe.SliceData(h) == unsafe.SliceData(x) })
	if i >= 0 {
		r.host = slices.Delete(r.host, i, i+1)
		unpin(x)
	}
}

// release gives everything back. A device that was lost or closed has it
// already.
func (r *resources) release() {
	_ = r.d.do(func() error {
		r.run.free()
		if r.started {
			_ = r.stream.Destroy()
		}
		for _, m := range r.memory {
			_ = r.d.free(m)
		}
		for _, x := range r.host {
			unpin(x)
		}
		*r = resources{d: r.d}
		return nil
	})
}
