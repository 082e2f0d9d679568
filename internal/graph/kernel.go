// Package graph holds what every network's graph shares: the wrapper that
// makes a kernel a gorgonia op, the builder, the static buffer plan, the
// virtual machine and the pool of graph instances.
//
// A network is built once per shape with a [Builder], compiled into a
// [Program] whose activations live in one planned arena, and run any number
// of times. Weights are inputs of the graph; several programs share their
// backing arrays. All tensors are contiguous, row-major float32.
//
//	b := graph.NewBuilder()
//	x := b.Input("x", 4, 8)
//	y := b.Apply(op.GELU{}, x)
//	p, err := b.Compile(y)
//	copy(p.Input("x"), data)
//	err = p.Run(ctx)
//	use(p.Output(0))
package graph

import (
	"errors"

	"gorgonia.org/tensor"
)

// ErrShape is returned when a node's inputs do not fit its kernel.
var ErrShape = errors.New("graph: shapes do not fit")

// View is a contiguous row-major float32 array with its shape, as a kernel
// sees it.
type View struct {
	Data  []float32
	Shape tensor.Shape
}

// Kernel computes one node of a graph. It is stateless between runs and may
// be shared by any number of graphs.
type Kernel interface {
	// Name is the kind of the node, as drawings show it.
	Name() string
	// Params spells out everything besides the inputs that decides the result.
	Params() string
	// Shape returns the output's shape, or an error that says which input
	// does not fit.
	Shape(in []tensor.Shape) (tensor.Shape, error)
	// Forward writes the result into out, which has the shape that Shape
	// returned and unspecified content. It aliases no input, except the one
	// that InPlace names.
	Forward(out View, in []View) error
}

// InPlacer is implemented by kernels that can write their result over one of
// their inputs.
type InPlacer interface {
	// InPlace is the index of that input, or -1.
	InPlace() int
}
