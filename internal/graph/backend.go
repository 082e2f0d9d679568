package graph

import (
	"context"
	"slices"

	G "gorgonia.org/gorgonia"
)

// CompileOptions changes what a program keeps and how it computes.
type CompileOptions struct {
	// KeepStages makes every stage readable after a run; costs memory, and
	// keeps a backend from computing a stage together with what follows it.
	KeepStages bool
	// Plain runs the graph node by node, as it was built. It serves tests.
	Plain bool
	// Private names inputs, and stages that are outputs, which only programs
	// of the same backend exchange. Their layout is the backend's own, and so
	// is their length.
	Private []string
	// Lasting names inputs to which only arrays are bound that do not change
	// any more: a backend may keep copies of them.
	Lasting []string
	// Formats are those of weights that the linear layers may read in another
	// format than float32. Only package cpu's backend knows them.
	Formats map[*Weight]Format
}

// Format is the number format in which a backend keeps a weight of linear
// layers, and multiplies.
type Format uint8

// The formats.
const (
	Float32 Format = iota
	Int8           // weights and activations are rounded to 8 bits: see kernel.Gemm8
	Half           // weights are rounded to IEEE 754 binary16
)

// Backend runs graphs on one kind of device.
type Backend interface {
	// Compile returns a program that computes outputs.
	Compile(b *Builder, o CompileOptions, outputs ...*G.Node) (Program, error)
	// Prepare makes what Compile needs of the graph's weights, and no more:
	// later calls of Compile find it there.
	Prepare(b *Builder, o CompileOptions, outputs ...*G.Node) error
}

// Program is one compiled instance of a graph with its working memory. One
// goroutine at a time may use it.
type Program interface {
	// Input is the array of the named input or variable, to be filled before
	// Run; nil if there is no such input.
	Input(name string) []float32
	// Bind makes data, which is not copied, the value of the named input.
	Bind(name string, data []float32) error
	// Run computes the outputs. It looks at ctx before each step and returns
	// ctx's error as soon as it is done.
	Run(ctx context.Context) error
	// Output is the value of the i-th output after Run. It is overwritten by
	// the next run.
	Output(i int) []float32
	// OutputShape is the shape of the i-th output in the graph.
	OutputShape(i int) []int
	// Stages are the names of the stages kept, in the order they were built.
	Stages() []string
	// Stage returns the value and shape of a stage after Run; ok is false if
	// there is no such stage or it was not kept.
	Stage(name string) (data []float32, shape []int, ok bool)
	// Bytes is the size of the working memory, and what separate arrays for
	// all results would have taken.
	Bytes() (planned, separate int)
}

// Keeper is a Program whose outputs can stay where they were computed.
type Keeper interface {
	// Kept returns a copy of the i-th output after Run. It must not change, so
	// that a lasting input that it is bound to finds it on the device.
	Kept(i int) ([]float32, error)
}

// Kept returns a copy of the i-th output of a program after Run that is not
// overwritten. It must not change.
func Kept(p Program, i int) ([]float32, error) {
	if k, ok := p.(Keeper); ok {
		return k.Kept(i)
	}
	return slices.Clone(p.Output(i)), nil
}
