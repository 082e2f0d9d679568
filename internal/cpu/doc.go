// Package cpu runs graphs on the processor with package kernel.
//
// Compiling a plain graph has three parts. It is lowered: layers that the
// kernels compute in one go become one step, as lower.go and its neighbours
// say; what matches no pattern runs as it is. The weights' forms are prepared,
// once for all programs: products read their weights in panels, whose width
// is the processor's. And each result gets its place in one array.
//
//	p, err := cpu.Compile(b, graph.CompileOptions{}, logits, iou)
//	copy(p.Input("points"), points)
//	err = p.Run(ctx)
//	use(p.Output(0), p.Output(1))
package cpu

import (
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
)

// Backend is the processor. Its methods are safe for any number of goroutines.
type Backend struct{}

var _ graph.Backend = Backend{}

// Compile implements [graph.Backend].
func (Backend) Compile(b *graph.Builder, o graph.CompileOptions, outputs ...*G.Node) (graph.Program, error) {
	return Compile(b, o, outputs...)
}

// Prepare implements [graph.Backend].
func (Backend) Prepare(b *graph.Builder, o graph.CompileOptions, outputs ...*G.Node) error {
	l, err := lower(b, o, outputs)
	if err != nil {
		return err
	}
	return prepare(l.order)
}
