package weights

import (
	"fmt"
	"maps"
	"slices"
	"sort"
)

// Checkpoint is a set of named tensors: an open file, or weights in memory. It
// does not change once made and may be used by any number of goroutines.
type Checkpoint struct {
	layout  Layout
	names   []string // sorted
	tensors map[string]*Tensor
	file    *mapping          // nil when in memory
	notes   map[string]string // see Metadata
}

// newCheckpoint takes tensors keyed by their name.
func newCheckpoint(tensors map[string]*Tensor, layout Layout, file *mapping) *Checkpoint {
	c := &Checkpoint{layout: layout, tensors: tensors, file: file}
	for name := range tensors {
		c.names = append(c.names, name)
	}
	sort.Strings(c.names)
	return c
}

// Names returns the names of all tensors, sorted.
func (c *Checkpoint) Names() []string { return slices.Clone(c.names) }

// Shape returns the shape of a tensor, and false if there is none of that name.
func (c *Checkpoint) Shape(name string) ([]int, bool) {
	t, ok := c.tensors[name]
	if !ok {
		return nil, false
	}
	return slices.Clone(t.Shape), true
}

// Tensor returns the tensor of that name, or an error that wraps ErrMissing.
// It reads no values.
func (c *Checkpoint) Tensor(name string) (*Tensor, error) {
	t, ok := c.tensors[name]
	if !ok {
		return nil, fmt.Errorf("weights: tensor %s: %w", name, ErrMissing)
	}
	return t, nil
}

// Layout returns which layout the file had before its names were normalised.
func (c *Checkpoint) Layout() Layout { return c.layout }

// Close releases the file. Slices that alias it must not be used afterwards.
// Closing twice, or closing weights in memory, does nothing.
func (c *Checkpoint) Close() error {
	if c.file == nil {
		return nil
	}
	if err := c.file.close(); err != nil {
		return fmt.Errorf("weights: close: %w", err)
	}
	return nil
}

// TensorData is a tensor in memory: Data is row-major and as long as the
// product of Shape.
type TensorData struct {
	Shape []int
	Data  []float32
}

// FromTensors returns a checkpoint over tensors in memory, which it aliases.
// Names are taken as they are. Data whose length does not fit its shape is
// reported by Float32s.
func FromTensors(tensors map[string]TensorData) *Checkpoint {
	m := make(map[string]*Tensor, len(tensors))
	for name, d := range tensors {
		shape := slices.Clone(d.Shape)
		m[name] = &Tensor{Name: name, Shape: shape, src: memSource{shape, d.Data}}
	}
	return newCheckpoint(m, Original, nil)
}

// Only returns the tensors whose names keep accepts, as a checkpoint of the
// same file, which is closed with c.
func (c *Checkpoint) Only(keep func(name string) bool) *Checkpoint {
	m := map[string]*Tensor{}
	for name, t := range c.tensors {
		if keep(name) {
			m[name] = t
		}
	}
	return newCheckpoint(m, c.layout, nil).noting(c.notes)
}

// With returns a checkpoint that has the tensors given in place of c's own of
// the same names, and c's other tensors: after training, say. It aliases both,
// and c must stay open as long as it is used. It returns an error that wraps
// [ErrUnexpected] or [ErrShape] if c has no tensor of a name, or one of another
// shape.
func (c *Checkpoint) With(tensors map[string]TensorData) (*Checkpoint, error) {
	all := maps.Clone(c.tensors)
	for name, d := range tensors {
		old, ok := all[name]
		if !ok {
			return nil, fmt.Errorf("weights: replace %s: %w", name, ErrUnexpected)
		}
		if !slices.Equal(old.Shape, d.Shape) {
			return nil, fmt.Errorf("weights: replace %s: shape %v, want %v: %w", name, d.Shape, old.Shape, ErrShape)
		}
		shape := slices.Clone(d.Shape)
		all[name] = &Tensor{Name: name, Shape: shape, src: memSource{shape, d.Data}}
	}
	return newCheckpoint(all, c.layout, nil).noting(c.notes), nil
}
