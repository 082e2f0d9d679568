package graph

import (
	"errors"
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// errNoRunner is returned by gorgonia's own machines for a graph that no
// backend lent its hands to.
var errNoRunner = errors.New("nothing to run it with: call Builder.Run first")

// ops is what the nodes of one graph share.
type ops struct {
	run    Runner
	nextID int
}

// apply makes a node of op in the graph of its inputs.
func (s *ops) apply(op Op, in ...*G.Node) (*G.Node, error) {
	o := &nodeOp{op: op, shared: s, id: s.nextID}
	s.nextID++
	shapes := make([]tensor.Shape, len(in))
	for i, n := range in {
		shapes[i] = n.Shape()
		o.ranks = append(o.ranks, n.Shape().Dims())
	}
	out, err := op.Shape(shapes)
	if err != nil {
		return nil, err
	}
	o.out = out.Dims()
	return G.ApplyOp(o, in...)
}

// nodeOp makes an Op a gorgonia op. Each belongs to one node of one graph:
// gorgonia merges nodes whose ops and inputs have equal hashes.
type nodeOp struct {
	op     Op
	shared *ops
	ranks  []int // of the inputs
	out    int   // rank of the output
	id     int   // unique in its graph
}

var _ G.Op = (*nodeOp)(nil)

func (o *nodeOp) Arity() int { return len(o.ranks) }

// Type returns a fresh function type: gorgonia recycles it after inference.
func (o *nodeOp) Type() hm.Type {
	ts := make([]hm.Type, 0, len(o.ranks)+1)
	for _, r := range o.ranks {
		ts = append(ts, G.TensorType{Dims: r, Of: tensor.Float32})
	}
	ts = append(ts, G.TensorType{Dims: o.out, Of: tensor.Float32})
	return hm.NewFnType(ts...)
}

func (o *nodeOp) InferShape(ds ...G.DimSizer) (tensor.Shape, error) {
	in := make([]tensor.Shape, len(ds))
	for i, d := range ds {
		s, ok := d.(tensor.Shape)
		if !ok {
			return nil, fmt.Errorf("%s: input %d: %T is no shape", o.op.Name(), i, d)
		}
		in[i] = s
	}
	s, err := o.op.Shape(in)
	if err != nil {
		return nil, err
	}
	return s.Clone(), nil
}

// Do runs the op for gorgonia's own machines. A panic becomes an error,
// because they run ops on a goroutine of their own, where nobody could
// recover.
func (o *nodeOp) Do(in ...G.Value) (v G.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = nil, fmt.Errorf("%s: %v", o.op.Name(), r)
		}
	}()
	if o.shared.run == nil {
		return nil, fmt.Errorf("graph: node %s: %w", o.op.Name(), errNoRunner)
	}
	if len(in) != len(o.ranks) {
		return nil, fmt.Errorf("%s: %d inputs, want %d", o.op.Name(), len(in), len(o.ranks))
	}
	views, shapes := make([]View, len(in)), make([]tensor.Shape, len(in))
	for i, x := range in {
		d, ok := x.(*tensor.Dense)
		if !ok {
			return nil, fmt.Errorf("%s: input %d: %T, want *tensor.Dense", o.op.Name(), i, x)
		}
		views[i], shapes[i] = View{d.Float32s(), d.Shape()}, d.Shape()
	}
	s, err := o.op.Shape(shapes)
	if err != nil {
		return nil, err
	}
	out := dense(make([]float32, s.TotalSize()), s)
	if err := o.shared.run(o.op, View{out.Float32s(), s}, views); err != nil {
		return nil, fmt.Errorf("%s: %w", o.op.Name(), err)
	}
	return out, nil
}

func (o *nodeOp) ReturnsPtr() bool     { return false }
func (o *nodeOp) CallsExtern() bool    { return false }
func (o *nodeOp) OverwritesInput() int { return -1 }

func (o *nodeOp) WriteHash(h hash.Hash) {
	fmt.Fprintf(h, "slidesam.%s|%s|%v>%d|%d", o.op.Name(), o.op.Params(), o.ranks, o.out, o.id)
}

func (o *nodeOp) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

func (o *nodeOp) String() string {
	if p := o.op.Params(); p != "" {
		return o.op.Name() + "{" + p + "}"
	}
	return o.op.Name()
}

func dense(data []float32, shape tensor.Shape) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
}
