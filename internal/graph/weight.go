package graph

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Weight is one tensor of a checkpoint: a leaf of any number of graphs, which
// all programs and goroutines share. It keeps no copy of the values by itself.
// Backends read them once and keep the forms that they compute with.
type Weight struct {
	name  string
	shape []int
	id    uint64

	mu    sync.Mutex
	read  func(use func([]float32)) error // nil after Detach
	keys  []string                        // of the forms, as they were made
	forms map[string]Form
}

// Form is what a backend computes with in a weight's place.
type Form struct {
	Data []float32
	// Logical returns the weight's values in the checkpoint's layout. It is
	// nil if they cannot be had from Data.
	Logical func() []float32
	// Err says why the weight has no such form. The other fields are nil then.
	Err error
}

var weightIDs atomic.Uint64

var errDetached = errors.New("its file is closed, and no form gives its values back")

// NewWeight returns a weight of that shape. read calls use once with the
// values, which use must not keep nor change.
func NewWeight(name string, shape []int, read func(use func([]float32)) error) *Weight {
	return &Weight{name: name, shape: slices.Clone(shape), id: weightIDs.Add(1), read: read, forms: map[string]Form{}}
}

// Name is the weight's name in the checkpoint.
func (w *Weight) Name() string { return w.name }

// Shape is the weight's shape in the checkpoint.
func (w *Weight) Shape() []int { return slices.Clone(w.shape) }

// ID tells weights apart, within a process.
func (w *Weight) ID() uint64 { return w.id }

// Len is the number of values.
func (w *Weight) Len() int {
	n := 1
	for _, d := range w.shape {
		n *= d
	}
	return n
}

// Values returns a copy of the values in the checkpoint's layout.
func (w *Weight) Values() ([]float32, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []float32
	err := w.use(func(v []float32) { out = slices.Clone(v) })
	return out, err
}

// use calls f with the values, which f must not keep.
func (w *Weight) use(f func([]float32)) error {
	if w.read != nil {
		short := false
		err := w.read(func(v []float32) {
			if short = len(v) != w.Len(); !short {
				f(v)
			}
		})
		if err == nil && short {
			err = fmt.Errorf("graph: weight %s: not the %d values of %v: %w", w.name, w.Len(), w.shape, ErrShape)
		}
		return err
	}
	for _, k := range w.keys {
		if form := w.forms[k]; form.Logical != nil {
			f(form.Logical())
			return nil
		}
	}
	return fmt.Errorf("graph: weight %s: %w", w.name, errDetached)
}

// Form returns the data of the form key, which make computes from the values
// when it is first asked for. make must not keep the values.
func (w *Weight) Form(key string, make func(logical []float32) Form) ([]float32, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	form, ok := w.forms[key]
	if !ok {
		if err := w.use(func(v []float32) { form = make(v) }); err != nil {
			return nil, err
		}
		if form.Err != nil {
			return nil, fmt.Errorf("graph: weight %s: %w", w.name, form.Err)
		}
		w.add(key, form)
	}
	return form.Data, nil
}

// Derived is Form for data that compute makes without the values, or from
// those of several weights.
func (w *Weight) Derived(key string, compute func() ([]float32, error)) ([]float32, error) {
	w.mu.Lock()
	form, ok := w.forms[key]
	w.mu.Unlock()
	if ok {
		return form.Data, nil
	}
	data, err := compute() // outside of the lock: it may read w
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if form, ok := w.forms[key]; ok {
		return form.Data, nil
	}
	w.add(key, Form{Data: data})
	return data, nil
}

func (w *Weight) add(key string, form Form) {
	w.forms[key] = form
	w.keys = append(w.keys, key)
}

// Logical is the form that holds the values as they are.
func Logical(v []float32) Form {
	data := slices.Clone(v)
	return Form{Data: data, Logical: func() []float32 { return data }}
}

// Detach lets go of where the values came from: a file that is closed. They
// remain at hand in the backends' forms, or are kept as they are.
func (w *Weight) Detach() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.read == nil {
		return nil
	}
	back := slices.ContainsFunc(w.keys, func(k string) bool { return w.forms[k].Logical != nil })
	if !back {
		if err := w.use(func(v []float32) { w.add("logical", Logical(v)) }); err != nil {
			return err
		}
	}
	w.read = nil
	return nil
}

// Bytes is the memory that the weight's forms take.
func (w *Weight) Bytes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	var n int64
	for _, f := range w.forms {
		n += int64(4 * len(f.Data))
	}
	return n
}
