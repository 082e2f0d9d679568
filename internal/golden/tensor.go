package golden

import "fmt"

// index says which arrays of a file are samples and which are masks.
type index struct {
	Samples map[string]struct {
		Stride int
		Shape  []int
	}
	Masks map[string]struct {
		N, H, W int
		RowStep int `json:"row_step"`
	}
}

// Tensor is a reference tensor. Data holds elements 0, Stride, 2*Stride, ...
// of the row-major tensor of the given Shape; Stride 1 is the whole tensor.
type Tensor[T float32 | uint8] struct {
	Name   string
	Shape  []int
	Stride int
	Data   []T
}

// Len returns the number of elements of the whole tensor.
func (t *Tensor[T]) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Pick returns those elements of full that Data holds of the reference. full
// is a whole row-major tensor of t.Shape. The result does not alias full. Pick
// returns an error if full has another number of elements.
func (t *Tensor[T]) Pick(full []T) ([]T, error) {
	if len(full) != t.Len() {
		return nil, fmt.Errorf("golden: pick %s: %d elements, want %d of shape %v", t.Name, len(full), t.Len(), t.Shape)
	}
	out := make([]T, 0, len(t.Data))
	for i := 0; i < len(full); i += t.Stride {
		out = append(out, full[i])
	}
	return out, nil
}

func tensor[T float32 | uint8](f *File, name string) (*Tensor[T], error) {
	data, shape, err := read[T](f, name)
	if err != nil {
		return nil, err
	}
	t := &Tensor[T]{Name: f.name + ": " + name, Shape: shape, Stride: 1, Data: data}
	if s, ok := f.index.Samples[name]; ok {
		if s.Stride < 1 {
			return nil, fmt.Errorf("golden: read %s: %s: sampled by stride %d", f.name, name, s.Stride)
		}
		t.Stride, t.Shape = s.Stride, s.Shape
	}
	if want := (t.Len() + t.Stride - 1) / t.Stride; len(data) != want {
		return nil, fmt.Errorf("golden: read %s: %s: %d values, want %d of shape %v by stride %d", f.name, name, len(data), want, t.Shape, t.Stride)
	}
	return t, nil
}

// Masks is a stack of N binary masks of H x W pixels, of which every
// RowStep-th row is stored, from row 0.
type Masks struct {
	Name    string
	N, H, W int
	RowStep int
	bits    []uint8
}

// Masks returns the binary masks stored under name.
func (f *File) Masks(name string) (*Masks, error) {
	bits, _, err := read[uint8](f, name)
	if err != nil {
		return nil, err
	}
	s, ok := f.index.Masks[name]
	if !ok || s.RowStep < 1 {
		return nil, fmt.Errorf("golden: read %s: %s: not masks", f.name, name)
	}
	m := &Masks{Name: f.name + ": " + name, N: s.N, H: s.H, W: s.W, RowStep: s.RowStep, bits: bits}
	if want := (m.N*m.Rows()*m.W + 7) / 8; len(bits) != want {
		return nil, fmt.Errorf("golden: read %s: %s: %d bytes, want %d", f.name, name, len(bits), want)
	}
	return m, nil
}

// Rows returns how many rows of each mask are stored.
func (m *Masks) Rows() int { return (m.H + m.RowStep - 1) / m.RowStep }

// Compared returns how many pixels of each mask are stored.
func (m *Masks) Compared() int { return m.Rows() * m.W }

// Stored returns the stored rows of mask i, [Rows, W].
func (m *Masks) Stored(i int) []bool {
	n := m.Compared()
	out := make([]bool, n)
	for k := range out {
		at := i*n + k
		out[k] = m.bits[at>>3]>>(7-at&7)&1 == 1
	}
	return out
}

// Pick returns the rows of full that are stored of each mask, [Rows, W]. full
// is one whole mask, [H, W]. Pick returns an error if full has another size.
func (m *Masks) Pick(full []bool) ([]bool, error) {
	if len(full) != m.H*m.W {
		return nil, fmt.Errorf("golden: pick %s: %d pixels, want %d x %d", m.Name, len(full), m.H, m.W)
	}
	out := make([]bool, 0, m.Compared())
	for y := 0; y < m.H; y += m.RowStep {
		out = append(out, full[y*m.W:(y+1)*m.W]...)
	}
	return out, nil
}

// Diff returns how many stored pixels of mask i differ from full, [H, W], and
// how many were compared. It returns an error if full has another size or
// there is no mask i.
func (m *Masks) Diff(i int, full []bool) (differ, compared int, err error) {
	if i < 0 || i >= m.N {
		return 0, 0, fmt.Errorf("golden: compare %s: mask %d, have %d", m.Name, i, m.N)
	}
	got, err := m.Pick(full)
	if err != nil {
		return 0, 0, err
	}
	for k, w := range m.Stored(i) {
		if w != got[k] {
			differ++
		}
	}
	return differ, len(got), nil
}
