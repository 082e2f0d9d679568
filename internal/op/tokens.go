package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// Tokens puts the same head rows before each prompt's own rows.
//
// Inputs: head [H, C], own [Batch*N, C] unless N is 0. Output:
// [Batch*(H+N), C].
type Tokens struct{ Batch, N int }

// Name implements [graph.Op].
func (Tokens) Name() string { return "tokens" }

// Params implements [graph.Op].
func (t Tokens) Params() string { return fmt.Sprintf("batch=%d n=%d", t.Batch, t.N) }

// Shape implements [graph.Op].
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

// Pick takes the rows Which, in that order, out of each block of Rows rows.
//
// Input: [Batch*Rows, C]. Output: [Batch*len(Which), C].
type Pick struct {
	Rows  int
	Which []int
}

// Name implements [graph.Op].
func (Pick) Name() string { return "pick" }

// Params implements [graph.Op].
func (k Pick) Params() string { return fmt.Sprintf("rows=%d which=%v", k.Rows, k.Which) }

// Shape implements [graph.Op].
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

// blocks is the shape of x when each block of from rows becomes to rows.
func blocks(in []tensor.Shape, from, to int) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	if from <= 0 || to <= 0 || in[0][0]%from != 0 {
		return nil, fmt.Errorf("%v in blocks of %d rows: %w", in[0], from, graph.ErrShape)
	}
	return tensor.Shape{in[0][0] / from * to, in[0][1]}, nil
}

// Rows puts the rows of all inputs one after the other.
//
// Inputs: any number of [N, C]. Output: [the sum of all N, C].
type Rows struct{}

// Name implements [graph.Op].
func (Rows) Name() string { return "rows" }

// Params implements [graph.Op].
func (Rows) Params() string { return "" }

// Shape implements [graph.Op].
func (Rows) Shape(in []tensor.Shape) (tensor.Shape, error) {
	n := 0
	for _, s := range in {
		if len(s) != 2 || s[1] != in[0][1] {
			return nil, fmt.Errorf("inputs %v are not rows of one width: %w", in, graph.ErrShape)
		}
		n += s[0]
	}
	if n == 0 {
		return nil, fmt.Errorf("no rows: %w", graph.ErrShape)
	}
	return tensor.Shape{n, in[0][1]}, nil
}

// Masks is each prompt's mask logits: the products of its hypernetworks'
// outputs with its upscaled map.
//
// Inputs: up [Batch*N, C], then one [Batch, C] for each mask. Output:
// [Batch*masks, N].
type Masks struct{ Batch int }

// Name implements [graph.Op].
func (Masks) Name() string { return "masks" }

// Params implements [graph.Op].
func (m Masks) Params() string { return fmt.Sprintf("batch=%d", m.Batch) }

// Shape implements [graph.Op].
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

// Floor leaves out the masks of prompts of which none is good enough: if floor
// is positive, the logits of a prompt are 0 where the quality of none of its
// masks, the columns Which, exceeds it.
//
// Inputs: logits [Batch*len(Which), N], quality [Batch, *], floor [1].
// Output: logits' shape.
type Floor struct{ Which []int }

// Name implements [graph.Op].
func (Floor) Name() string { return "floor" }

// Params implements [graph.Op].
func (f Floor) Params() string { return fmt.Sprintf("which=%v", f.Which) }

// InPlace implements [graph.InPlacer].
func (Floor) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (f Floor) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, -1}, tensor.Shape{1}); err != nil {
		return nil, err
	}
	if len(f.Which) == 0 || in[0][0] != in[1][0]*len(f.Which) {
		return nil, fmt.Errorf("logits %v for %d masks of the prompts of %v: %w", in[0], len(f.Which), in[1], graph.ErrShape)
	}
	for _, i := range f.Which {
		if i < 0 || i >= in[1][1] {
			return nil, fmt.Errorf("quality %v has no column %d: %w", in[1], i, graph.ErrShape)
		}
	}
	return in[0], nil
}
