package weights

import (
	"fmt"
	"slices"
)

// Param is one weight that a network needs. The network's package sets Shape,
// and Bind fills in the rest.
type Param struct {
	// Shape is the shape the network needs. Bind refuses any other.
	Shape []int

	name   string
	tensor *Tensor
}

// Float32s returns the bound tensor's values, as Tensor.Float32s does, or an
// error that wraps ErrMissing if nothing is bound.
func (p *Param) Float32s() ([]float32, error) {
	if p.tensor == nil {
		return nil, fmt.Errorf("weights: read %s: %w", p.label(), ErrMissing)
	}
	return p.tensor.Float32s()
}

// Use calls f with the bound tensor's values, which f must not keep, and
// releases them. f must read them in its own goroutine: there, a file that is
// cut short meanwhile is an error that wraps ErrChanged.
func (p *Param) Use(f func(values []float32)) error {
	v, err := p.Float32s()
	if err != nil {
		return err
	}
	defer p.Release()
	err = guarded(func() error {
		f(v)
		return nil
	})
	if err != nil {
		return fmt.Errorf("weights: read %s: %w", p.label(), err)
	}
	return nil
}

// Release says that the values are not needed for now, as Tensor.Release does.
func (p *Param) Release() {
	if p.tensor != nil {
		p.tensor.Release()
	}
}

// Present reports whether a tensor is bound. Only optional fields may lack one
// after Bind.
func (p *Param) Present() bool { return p.tensor != nil }

// Name returns the full name that Bind looked for, empty before Bind.
func (p *Param) Name() string { return p.name }

func (p *Param) label() string {
	if p.name == "" {
		return "unbound parameter"
	}
	return p.name
}

// bind takes the tensor if its shape is the one wanted.
func (p *Param) bind(t *Tensor) error {
	if !slices.Equal(p.Shape, t.Shape) {
		return fmt.Errorf("shape %v, want %v: %w", t.Shape, p.Shape, ErrShape)
	}
	p.tensor = t
	return nil
}
