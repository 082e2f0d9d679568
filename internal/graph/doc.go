// Package graph holds what every network's graph and every backend share: the
// wrapper that makes an [Op] a gorgonia op, the builder, the weights behind
// the leaves, the list of nodes that a backend walks, the static buffer plan
// and the pool of compiled programs.
//
// A network builds one plain graph of logical tensors: weights have their
// checkpoint's shapes, maps are rows of channels. How its ops run, in which
// order weights lie in memory and what is computed in one go is the affair of
// a [Backend], which compiles the graph into a [Program]. All tensors are
// contiguous, row-major float32.
//
//	b := graph.NewBuilder()
//	x := b.Input("x", 4, 8)
//	y := b.Apply(op.GELU{}, x)
//	p, err := cpu.Compile(b, graph.CompileOptions{}, y)
//	copy(p.Input("x"), data)
//	err = p.Run(ctx)
//	use(p.Output(0))
package graph

import (
	"errors"

	"gorgonia.org/tensor"
)

// ErrShape is returned when a node's inputs do not fit its op.
var ErrShape = errors.New("graph: shapes do not fit")

// View is a contiguous row-major float32 array with its shape.
type View struct {
	Data  []float32
	Shape tensor.Shape
}

// Op is one kind of node: what it is called, what decides its result, and
// which shapes it takes. How it runs is a backend's affair. An Op has no
// state and may be shared by any number of graphs.
type Op interface {
	// Name is the kind of the node, as drawings show it.
	Name() string
	// Params spells out everything besides the inputs that decides the result.
	Params() string
	// Shape returns the output's shape, or an error that says which input
	// does not fit.
	Shape(in []tensor.Shape) (tensor.Shape, error)
}

// InPlacer is implemented by ops whose result may be written over one of
// their inputs.
type InPlacer interface {
	// InPlace is the index of that input, or -1.
	InPlace() int
}

// Forwarder is implemented by ops that run by themselves on the CPU.
type Forwarder interface {
	// Forward writes the result into out, which has the shape that Shape
	// returned and unspecified content. It aliases no input, except the one
	// that InPlace names.
	Forward(out View, in []View) error
}

// Runner runs one op, as Forward does.
type Runner func(op Op, out View, in []View) error
