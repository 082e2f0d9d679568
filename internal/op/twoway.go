package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// TwoWay is [kernel.TwoWay]: the attention of a picture's map to each
// prompt's tokens, a layer norm, and the tokens' next attention to the map.
// With Look the first half is left out.
//
// Maps and what belongs to their rows are in panels (see [Panels]). Inputs,
// with D = Heads*HeadDim and N = kernel.PackedLen(Cells, 1):
//   - x: the map, [N, C] for all prompts, or [>= Batch*N, C], such as a TwoWay
//     returns;
//   - positions [N, D]: the known part of the keys;
//   - read [Batch*Readers, D] and readX [Batch*Heads*Readers, C]: the queries
//     of the tokens that look, as they are and absorbed (see [Absorb]);
//
// and without Look:
//   - queries [N, D]: the known part of the map's queries;
//   - keys [Batch*Tokens, D];
//   - values [Batch*Heads*Tokens, C], absorbed;
//   - gamma, beta [C] of the norm;
//   - keysX [Batch*Heads*Tokens, C], absorbed, unless the queries are Known.
//
// Output: [Batch*N + Batch*Heads*Readers, C], each prompt's map, then the mean
// row that each of its heads and readers found in it. With Look only those,
// [Batch*Heads*Readers, C].
type TwoWay struct {
	Batch, Cells, Heads, HeadDim int
	Tokens, Readers              int // tokens that the map looks at, and that look at it
	Eps                          float32
	Look                         bool // leave out the first half
	Known                        bool // queries are complete
}

// Name implements [graph.Kernel].
func (TwoWay) Name() string { return "two_way" }

// Params implements [graph.Kernel].
func (t TwoWay) Params() string {
	return fmt.Sprintf("batch=%d cells=%d heads=%d dim=%d tokens=%d readers=%d eps=%g look=%t known=%t",
		t.Batch, t.Cells, t.Heads, t.HeadDim, t.Tokens, t.Readers, t.Eps, t.Look, t.Known)
}

// InPlace implements [graph.InPlacer]: the map may be overwritten by the next
// one.
func (t TwoWay) InPlace() int {
	if t.Look {
		return -1
	}
	return 0
}

// found is the number of rows that the readers find.
func (t TwoWay) found() int { return t.Batch * t.Heads * t.Readers }

// Shape implements [graph.Kernel].
func (t TwoWay) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) == 0 || len(in[0]) != 2 {
		return nil, fmt.Errorf("no [N, C] input: %w", graph.ErrShape)
	}
	c, d, rows := in[0][1], t.Heads*t.HeadDim, t.Batch*t.Tokens
	absorbed := tensor.Shape{t.Heads * rows, c}
	padded := kernel.PackedLen(t.Cells, 1)
	panels := tensor.Shape{padded, d}
	want := []tensor.Shape{{-1, c}, panels, {t.Batch * t.Readers, d}, {t.found(), c}}
	if !t.Look {
		want = append(want, panels, tensor.Shape{rows, d}, absorbed, tensor.Shape{c}, tensor.Shape{c})
		if !t.Known {
			want = append(want, absorbed)
		}
	}
	if err := match(in, want...); err != nil {
		return nil, err
	}
	if n := in[0][0]; n != padded && n < t.Batch*padded {
		return nil, fmt.Errorf("map of %d rows for %d prompts of %d: %w", n, t.Batch, padded, graph.ErrShape)
	}
	if t.Look {
		return tensor.Shape{t.found(), c}, nil
	}
	return tensor.Shape{t.Batch*padded + t.found(), c}, nil
}

// Forward implements [graph.Kernel].
func (t TwoWay) Forward(out graph.View, in []graph.View) error {
	k := kernel.TwoWay{
		Prompts: t.Batch, Cells: t.Cells, Channels: in[0].Shape[1], Heads: t.Heads, HeadDim: t.HeadDim, Tokens: t.Tokens, Readers: t.Readers,
		Shared: in[0].Shape[0] == kernel.PackedLen(t.Cells, 1), Eps: t.Eps,
		X: in[0].Data, Positions: in[1].Data, Read: in[2].Data, ReadX: in[3].Data,
	}
	if t.Look {
		k.Run(nil, out.Data)
		return nil
	}
	k.Queries, k.Keys, k.Values, k.Gamma, k.Beta = in[4].Data, in[5].Data, in[6].Data, in[7].Data, in[8].Data
	if !t.Known {
		k.KeysX = in[9].Data
	}
	n := t.Batch * kernel.PackedLen(t.Cells, k.Channels)
	k.Run(out.Data[:n], out.Data[n:])
	return nil
}

// Absorb brings each head's channels of a row to the width of a map: row (p,
// h, t) of the result is the h-th part of row (p, t) of x times the h-th
// weight. Products of such rows with a map are products of x with the map's
// projection, which then need not be made.
//
// Inputs: x [Batch*Tokens, Heads*HeadDim]; the packed weights of [C, HeadDim]
// for each head, one after the other; with Bias a bias [C], added to the first
// head's rows. Output: [Batch*Heads*Tokens, C].
type Absorb struct {
	Batch, Tokens, Heads, HeadDim, C int
	Bias                             bool
}

// Name implements [graph.Kernel].
func (Absorb) Name() string { return "absorb" }

// Params implements [graph.Kernel].
func (a Absorb) Params() string {
	return fmt.Sprintf("batch=%d tokens=%d heads=%d dim=%d c=%d bias=%t", a.Batch, a.Tokens, a.Heads, a.HeadDim, a.C, a.Bias)
}

// Shape implements [graph.Kernel].
func (a Absorb) Shape(in []tensor.Shape) (tensor.Shape, error) {
	want := []tensor.Shape{{a.Batch * a.Tokens, a.Heads * a.HeadDim}, {a.Heads * kernel.PackedLen(a.C, a.HeadDim)}}
	if a.Bias {
		want = append(want, tensor.Shape{a.C})
	}
	return tensor.Shape{a.Batch * a.Heads * a.Tokens, a.C}, match(in, want...)
}

// Forward implements [graph.Kernel].
func (a Absorb) Forward(out graph.View, in []graph.View) error {
	size, d, n := kernel.PackedLen(a.C, a.HeadDim), a.Heads*a.HeadDim, a.Tokens*a.C
	kernel.Parallel(a.Batch*a.Heads, func(i int) {
		p, h := i/a.Heads, i%a.Heads
		w := kernel.PackedOf(in[1].Data[h*size:(h+1)*size], a.C, a.HeadDim)
		var e kernel.Epilogue
		if a.Bias && h == 0 {
			e.Bias = in[2].Data
		}
		kernel.GemmSerial(out.Data[i*n:(i+1)*n], a.C, in[0].Data[p*a.Tokens*d+h*a.HeadDim:], d, a.Tokens, &w, e)
	})
	return nil
}

// PerHead projects what each head found in a map: the h-th part of row (p, t)
// of the result is row (p, h, t) of x times the h-th weight, plus the h-th
// part of the bias.
//
// Inputs: x, whose last rows are [Batch*Heads*Tokens, C], as [TwoWay] returns
// it; the packed weights of [HeadDim, C] for each head, one after the other;
// bias [Heads*HeadDim]. Output: [Batch*Tokens, Heads*HeadDim].
type PerHead struct {
	Batch, Tokens, Heads, HeadDim int
}

// Name implements [graph.Kernel].
func (PerHead) Name() string { return "per_head" }

// Params implements [graph.Kernel].
func (k PerHead) Params() string {
	return fmt.Sprintf("batch=%d tokens=%d heads=%d dim=%d", k.Batch, k.Tokens, k.Heads, k.HeadDim)
}

// Shape implements [graph.Kernel].
func (k PerHead) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) == 0 || len(in[0]) != 2 || in[0][0] < k.Batch*k.Heads*k.Tokens {
		return nil, fmt.Errorf("inputs %v without %d rows: %w", in, k.Batch*k.Heads*k.Tokens, graph.ErrShape)
	}
	d := k.Heads * k.HeadDim
	return tensor.Shape{k.Batch * k.Tokens, d}, match(in, in[0], tensor.Shape{k.Heads * kernel.PackedLen(k.HeadDim, in[0][1])}, tensor.Shape{d})
}

// Forward implements [graph.Kernel].
func (k PerHead) Forward(out graph.View, in []graph.View) error {
	c, d := in[0].Shape[1], k.Heads*k.HeadDim
	size := kernel.PackedLen(k.HeadDim, c)
	x := in[0].Data[(in[0].Shape[0]-k.Batch*k.Heads*k.Tokens)*c:]
	kernel.Parallel(k.Batch*k.Heads, func(i int) {
		p, h := i/k.Heads, i%k.Heads
		w := kernel.PackedOf(in[1].Data[h*size:(h+1)*size], k.HeadDim, c)
		kernel.GemmSerial(out.Data[p*k.Tokens*d+h*k.HeadDim:], d, x[i*k.Tokens*c:], c, k.Tokens, &w,
			kernel.Epilogue{Bias: in[2].Data[h*k.HeadDim : (h+1)*k.HeadDim]})
	})
	return nil
}
