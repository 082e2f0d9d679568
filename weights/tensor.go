package weights

import (
	"fmt"
	"math"
	"sync/atomic"
)

// Tensor is one tensor of a checkpoint. Its fields are read only.
type Tensor struct {
	Name  string // in Meta's naming, see Layout
	Shape []int  // outermost first; empty for a scalar
	DType DType  // as stored in the file

	src    source
	finite atomic.Bool // the values were checked before
}

// source is where a tensor's values come from.
type source interface {
	// float32s returns the values, row-major, and is free to return memory
	// that it keeps. It checks lengths, not values.
	float32s() ([]float32, error)
	// release says that the values are not needed for now.
	release()
}

// Len returns the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float32s returns the values as float32, row-major and contiguous.
//
// The slice aliases the file's mapping where the file stores it that way: it
// must not be written to, nor used after the checkpoint is closed. Otherwise
// every call makes a copy. A NaN or an infinity is an error that wraps
// ErrNotFinite and names the tensor and the flat index; so is an integer that
// float32 cannot hold.
func (t *Tensor) Float32s() ([]float32, error) {
	data, err := t.values()
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	return data, nil
}

func (t *Tensor) values() (data []float32, err error) {
	err = guarded(func() error {
		data, err = t.checked()
		return err
	})
	return data, err
}

// checked returns the values and looks at each once.
func (t *Tensor) checked() ([]float32, error) {
	data, err := t.src.float32s()
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", t.Name, err)
	}
	if !t.finite.Load() {
		if i := firstNotFinite(data); i >= 0 {
			return nil, fmt.Errorf("read %s: element %d of %v is %v: %w", t.Name, i, t.Shape, data[i], ErrNotFinite)
		}
		t.finite.Store(true)
	}
	return data, nil
}

// Release tells the system that the caller is done with the slice Float32s
// returned: pages of the mapped file are given back, and read again if they
// are needed again. It does nothing for copies and may be called at any time.
func (t *Tensor) Release() { t.src.release() }

// firstNotFinite returns the index of the first NaN or infinity, or -1.
func firstNotFinite(x []float32) int {
	const expMask = 0x7f800000
	i := 0
	for ; i+4 <= len(x); i += 4 {
		q := x[i : i+4 : i+4]
		// x-x is 0 for finite numbers and NaN for the others.
		s := (q[0] - q[0]) + (q[1] - q[1]) + (q[2] - q[2]) + (q[3] - q[3])
		if s != 0 {
			break
		}
	}
	for ; i < len(x); i++ {
		if math.Float32bits(x[i])&expMask == expMask {
			return i
		}
	}
	return -1
}

// memSource is a tensor held in memory.
type memSource struct {
	shape []int
	data  []float32
}

func (m memSource) float32s() ([]float32, error) {
	n, err := numel(m.shape)
	if err != nil {
		return nil, err
	}
	if n != len(m.data) {
		return nil, fmt.Errorf("%d values, want %d for shape %v", len(m.data), n, m.shape)
	}
	return m.data, nil
}

func (memSource) release() {}

// numel returns the number of elements of a shape, and refuses negative sizes
// and products that overflow.
func numel(shape []int) (int, error) {
	n := 1
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("shape %v: negative size", shape)
		}
		if d != 0 && n > math.MaxInt/8/d {
			return 0, fmt.Errorf("shape %v: too large", shape)
		}
		n *= d
	}
	return n, nil
}
