// Package op holds the kernels of Segment Anything's networks as nodes of a
// graph: shape rules and calls into internal/kernel.
//
// Pictures and feature maps are kept channels-last, [H*W, C]; a batch of
// prompts stacks its rows, [P*H*W, C].
//
//	b := graph.NewBuilder()
//	x := b.Input("x", 16, 64)
//	y := b.Apply(op.LayerNorm{Eps: 1e-6}, x, gamma, beta)
package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// Linear is act(x·wᵀ + bias) + add.
//
// Inputs: x [M, K]; the packed weight [len]; bias [N] if Bias; add [R, N] if
// Add, where R divides M and the R rows are added to each block of R rows.
// Output: [M, N].
type Linear struct {
	N, K int
	Act  kernel.Act
	Bias bool
	Add  bool
}

// Name implements [graph.Kernel].
func (Linear) Name() string { return "linear" }

// Params implements [graph.Kernel].
func (l Linear) Params() string {
	return fmt.Sprintf("n=%d k=%d act=%d bias=%t add=%t", l.N, l.K, l.Act, l.Bias, l.Add)
}

func (l Linear) arity() int {
	n := 2
	if l.Bias {
		n++
	}
	if l.Add {
		n++
	}
	return n
}

// InPlace implements [graph.InPlacer]: the result may overwrite add.
func (l Linear) InPlace() int {
	if l.Add {
		return l.arity() - 1
	}
	return -1
}

// Shape implements [graph.Kernel].
func (l Linear) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := ranks(in, 2, 1, 1, 2)(l.arity(), l.Bias); err != nil {
		return nil, err
	}
	m := in[0][0]
	if in[0][1] != l.K {
		return nil, fmt.Errorf("x %v, want [*, %d]: %w", in[0], l.K, graph.ErrShape)
	}
	if want := kernel.PackedLen(l.N, l.K); in[1][0] != want {
		return nil, fmt.Errorf("packed weight %v, want [%d]: %w", in[1], want, graph.ErrShape)
	}
	if l.Bias && in[2][0] != l.N {
		return nil, fmt.Errorf("bias %v, want [%d]: %w", in[2], l.N, graph.ErrShape)
	}
	if l.Add {
		a := in[len(in)-1]
		if len(a) != 2 || a[1] != l.N || a[0] == 0 || m%a[0] != 0 {
			return nil, fmt.Errorf("add %v does not fit [%d, %d]: %w", a, m, l.N, graph.ErrShape)
		}
	}
	return tensor.Shape{m, l.N}, nil
}

// Forward implements [graph.Kernel].
func (l Linear) Forward(out graph.View, in []graph.View) error {
	m := in[0].Shape[0]
	w := kernel.PackedOf(in[1].Data, l.N, l.K)
	e := kernel.Epilogue{Act: l.Act}
	if l.Bias {
		e.Bias = in[2].Data
	}
	rows := m
	if l.Add {
		a := in[len(in)-1]
		rows, e.Add, e.LdAdd = a.Shape[0], a.Data, l.N
	}
	for at := 0; at < m; at += rows {
		kernel.Gemm(out.Data[at*l.N:(at+rows)*l.N], l.N, in[0].Data[at*l.K:(at+rows)*l.K], l.K, rows, &w, e)
	}
	return nil
}

// ranks returns a check that the inputs have the ranks x, w, bias, add.
func ranks(in []tensor.Shape, want ...int) func(arity int, bias bool) error {
	return func(arity int, bias bool) error {
		if len(in) != arity {
			return fmt.Errorf("%d inputs, want %d: %w", len(in), arity, graph.ErrShape)
		}
		for i, s := range in {
			w := want[i]
			if i == 2 && !bias {
				w = want[3]
			}
			if len(s) != w {
				return fmt.Errorf("input %d %v, want rank %d: %w", i, s, w, graph.ErrShape)
			}
		}
		return nil
	}
}
