package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// Tokens puts the same head rows before each prompt's own rows.
//
// Inputs: head [H, C], own [Batch*N, C] unless N is 0. Output:
// [Batch*(H+N), C].
type Tokens struct{ Batch, N int }

// Name implements [graph.Kernel].
func (Tokens) Name() string { return "tokens" }

// Params implements [graph.Kernel].
func (t Tokens) Params() string { return fmt.Sprintf("batch=%d n=%d", t.Batch, t.N) }

// Shape implements [graph.Kernel].
func (t Tokens) Shape(in []tensor.Shape) (tensor.Shape, error) {
	want := []tensor.Shape{{-1, -1}}
	if t.N > 0 {
		want = append(want, tensor.Shape{t.Batch * t.N, -1})
	}
	if err := match(in, want...); err != nil {
		return nil, err
	}
	if t.N > 0 && in[0][1] != in[1][1] {
		return nil, fmt.Errorf("%v and %v differ in width: %w", in[0], in[1], graph.ErrShape)
	}
	return tensor.Shape{t.Batch * (in[0][0] + t.N), in[0][1]}, nil
}

// Forward implements [graph.Kernel].
func (t Tokens) Forward(out graph.View, in []graph.View) error {
	head, n := in[0].Data, t.N*in[0].Shape[1]
	for p := 0; p < t.Batch; p++ {
		dst := out.Data[p*(len(head)+n):]
		copy(dst, head)
		if n > 0 {
			copy(dst[len(head):], in[1].Data[p*n:(p+1)*n])
		}
	}
	return nil
}

// Pick takes the rows Which, in that order, out of each block of Rows rows.
//
// Input: [Batch*Rows, C]. Output: [Batch*len(Which), C].
type Pick struct {
	Rows  int
	Which []int
}

// Name implements [graph.Kernel].
func (Pick) Name() string { return "pick" }

// Params implements [graph.Kernel].
func (k Pick) Params() string { return fmt.Sprintf("rows=%d which=%v", k.Rows, k.Which) }

// Shape implements [graph.Kernel].
func (k Pick) Shape(in []tensor.Shape) (tensor.Shape, error) {
	s, err := blocks(in, k.Rows, len(k.Which))
	if err != nil {
		return nil, err
	}
	for _, i := range k.Which {
		if i < 0 || i >= k.Rows {
			return nil, fmt.Errorf("row %d of blocks of %d in %v: %w", i, k.Rows, in[0], graph.ErrShape)
		}
	}
	return s, nil
}

// Forward implements [graph.Kernel].
func (k Pick) Forward(out graph.View, in []graph.View) error {
	c := in[0].Shape[1]
	for i := range out.Shape[0] {
		from := i/len(k.Which)*k.Rows + k.Which[i%len(k.Which)]
		copy(out.Data[i*c:(i+1)*c], in[0].Data[from*c:])
	}
	return nil
}

// Masks is each prompt's mask logits: the products of its hypernetworks'
// outputs with its upscaled map.
//
// Inputs: up [Batch*N, C], then one [Batch, C] for each mask. Output:
// [Batch*masks, N].
type Masks struct{ Batch int }

// Name implements [graph.Kernel].
func (Masks) Name() string { return "masks" }

// Params implements [graph.Kernel].
func (m Masks) Params() string { return fmt.Sprintf("batch=%d", m.Batch) }

// Shape implements [graph.Kernel].
func (m Masks) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) < 2 || len(in[0]) != 2 || m.Batch <= 0 || in[0][0]%m.Batch != 0 {
		return nil, fmt.Errorf("inputs %v for %d prompts: %w", in, m.Batch, graph.ErrShape)
	}
	c := in[0][1]
	for i, s := range in[1:] {
		if len(s) != 2 || s[0] != m.Batch || s[1] != c {
			return nil, fmt.Errorf("input %d is %v, want [%d, %d]: %w", i+1, s, m.Batch, c, graph.ErrShape)
		}
	}
	return tensor.Shape{m.Batch * (len(in) - 1), in[0][0] / m.Batch}, nil
}

// Forward implements [graph.Kernel].
func (m Masks) Forward(out graph.View, in []graph.View) error {
	c, k := in[0].Shape[1], len(in)-1
	n := out.Shape[1]
	hyper := make([]float32, k*c)
	for p := 0; p < m.Batch; p++ {
		for j := 0; j < k; j++ {
			copy(hyper[j*c:(j+1)*c], in[1+j].Data[p*c:(p+1)*c])
		}
		kernel.MaskProduct(out.Data[p*k*n:(p+1)*k*n], in[0].Data[p*n*c:(p+1)*n*c], hyper, n, c, k)
	}
	return nil
}
