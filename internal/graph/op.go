package graph

import (
	"fmt"
	"hash"
	"hash/fnv"

	"github.com/chewxy/hm"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// kernelOp makes a Kernel a gorgonia op. Each belongs to one node of one
// graph, because the plan stores the node's destination in it.
type kernelOp struct {
	kernel Kernel
	ranks  []int // of the inputs
	out    int   // rank of the output
	id     int   // unique in its graph: gorgonia merges nodes with equal hashes
	dest   *tensor.Dense
	views  []View
}

var _ G.Op = (*kernelOp)(nil)

func (o *kernelOp) Arity() int { return len(o.ranks) }

// Type returns a fresh function type: gorgonia recycles it after inference.
func (o *kernelOp) Type() hm.Type {
	ts := make([]hm.Type, 0, len(o.ranks)+1)
	for _, r := range o.ranks {
		ts = append(ts, G.TensorType{Dims: r, Of: tensor.Float32})
	}
	ts = append(ts, G.TensorType{Dims: o.out, Of: tensor.Float32})
	return hm.NewFnType(ts...)
}

func (o *kernelOp) InferShape(ds ...G.DimSizer) (tensor.Shape, error) {
	in := make([]tensor.Shape, len(ds))
	for i, d := range ds {
		s, ok := d.(tensor.Shape)
		if !ok {
			return nil, fmt.Errorf("%s: input %d: %T is no shape", o.kernel.Name(), i, d)
		}
		in[i] = s
	}
	s, err := o.kernel.Shape(in)
	if err != nil {
		return nil, err
	}
	return s.Clone(), nil
}

// Do runs the kernel. A panic becomes an error, because gorgonia's
// TapeMachine runs ops on a goroutine of its own, where nobody could recover.
func (o *kernelOp) Do(in ...G.Value) (v G.Value, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = nil, fmt.Errorf("%s: %v", o.kernel.Name(), r)
		}
	}()
	if len(in) != len(o.ranks) {
		return nil, fmt.Errorf("%s: %d inputs, want %d", o.kernel.Name(), len(in), len(o.ranks))
	}
	if o.views == nil {
		o.views = make([]View, len(in))
	}
	for i, x := range in {
		d, ok := x.(*tensor.Dense)
		if !ok {
			return nil, fmt.Errorf("%s: input %d: %T, want *tensor.Dense", o.kernel.Name(), i, x)
		}
		o.views[i] = View{d.Float32s(), d.Shape()}
	}
	dest := o.dest
	if dest == nil {
		shapes := make([]tensor.Shape, len(in))
		for i, x := range o.views {
			shapes[i] = x.Shape
		}
		s, err := o.kernel.Shape(shapes)
		if err != nil {
			return nil, err
		}
		dest = dense(make([]float32, s.TotalSize()), s)
	}
	if err := o.kernel.Forward(View{dest.Float32s(), dest.Shape()}, o.views); err != nil {
		return nil, fmt.Errorf("%s: %w", o.kernel.Name(), err)
	}
	return dest, nil
}

func (o *kernelOp) ReturnsPtr() bool     { return false }
func (o *kernelOp) CallsExtern() bool    { return false }
func (o *kernelOp) OverwritesInput() int { return -1 }

func (o *kernelOp) WriteHash(h hash.Hash) {
	fmt.Fprintf(h, "slidesam.%s|%s|%v>%d|%d", o.kernel.Name(), o.kernel.Params(), o.ranks, o.out, o.id)
}

func (o *kernelOp) Hashcode() uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

func (o *kernelOp) String() string {
	if p := o.kernel.Params(); p != "" {
		return o.kernel.Name() + "{" + p + "}"
	}
	return o.kernel.Name()
}

func (o *kernelOp) inPlace() int {
	if p, ok := o.kernel.(InPlacer); ok {
		return p.InPlace()
	}
	return -1
}

func dense(data []float32, shape tensor.Shape) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
}
