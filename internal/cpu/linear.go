package cpu

import (
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// linear is act(x·wᵀ + bias) + add.
//
// Inputs: x [M, K]; the packed weight [len]; bias [N] if Bias; add [..., N] if
// Add, where its number of rows R divides M and the R rows are added to each block of R rows.
// Output: [M, N].
type linear struct {
	N, K   int
	Format graph.Format // of the weight and of the product
	Act    kernel.Act
	Bias   bool
	Add    bool
}

func (l linear) Name() string {
	switch l.Format {
	case graph.Int8:
		return "linear_int8"
	case graph.Half:
		return "linear_half"
	}
	return "linear"
}

func (l linear) arity() int {
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
func (l linear) InPlace() int {
	if l.Add {
		return l.arity() - 1
	}
	return -1
}

// Forward implements [graph.Forwarder].
func (l linear) Forward(out graph.View, in []graph.View) error {
	m := in[0].Shape[0]
	e := kernel.Epilogue{Act: l.Act}
	if l.Bias {
		e.Bias = in[2].Data
	}
	rows := m
	if l.Add {
		a := in[len(in)-1]
		rows, e.Add, e.LdAdd = len(a.Data)/l.N, a.Data, l.N
	}
	for at := 0; at < m; at += rows {
		l.product(out.Data[at*l.N:(at+rows)*l.N], in[0].Data[at*l.K:(at+rows)*l.K], rows, in[1].Data, e)
	}
	return nil
}

// layer is the product with the packed weight w, as kernel.MLP takes it.
func (l linear) layer(w, bias []float32) kernel.Layer {
	at := kernel.Layer{E: kernel.Epilogue{Act: l.Act, Bias: bias}}
	switch l.Format {
	case graph.Int8:
		p := kernel.Packed8Of(w, l.N, l.K)
		at.W8 = &p
	case graph.Half:
		p := kernel.PackedHalfOf(w, l.N, l.K)
		at.W = &p
	default:
		p := kernel.PackedOf(w, l.N, l.K)
		at.W = &p
	}
	return at
}

// product multiplies x [rows, K] with the packed weight w.
func (l linear) product(dst, x []float32, rows int, w []float32, e kernel.Epilogue) {
	if at := l.layer(w, nil); at.W8 != nil {
		kernel.Gemm8(dst, l.N, x, l.K, rows, at.W8, e)
	} else {
		kernel.Gemm(dst, l.N, x, l.K, rows, at.W, e)
	}
}
