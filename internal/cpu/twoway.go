package cpu

import (
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// twoWay is [kernel.TwoWay]: the attention of a picture's map to each
// prompt's tokens, a layer norm, and the tokens' next attention to the map.
// With Look the first half is left out.
//
// Maps and what belongs to their rows are in panels (see [panels]). Inputs,
// with D = Heads*HeadDim and N = kernel.PackedLen(Cells, 1):
//   - x: the map, [N, C] for all prompts, or [>= Batch*N, C], such as a twoWay
//     returns;
//   - positions [N, D]: the known part of the keys;
//   - read [Batch*Readers, D] and readX [Batch*Heads*Readers, C]: the queries
//     of the tokens that look, as they are and absorbed (see [absorb]);
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
type twoWay struct {
	Batch, Cells, Heads, HeadDim int
	Tokens, Readers              int // tokens that the map looks at, and that look at it
	Eps                          float32
	Look                         bool // leave out the first half
	Known                        bool // queries are complete
}

func (twoWay) Name() string { return "two_way" }

// InPlace implements [graph.InPlacer]: the map may be overwritten by the next
// one.
func (t twoWay) InPlace() int {
	if t.Look {
		return -1
	}
	return 0
}

// Forward implements [graph.Forwarder].
func (t twoWay) Forward(out graph.View, in []graph.View) error {
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

// absorb brings each head's channels of a row to the width of a map: row (p,
// h, t) of the result is the h-th part of row (p, t) of x times the h-th
// weight. Products of such rows with a map are products of x with the map's
// projection, which then need not be made.
//
// Inputs: x [Batch*Tokens, Heads*HeadDim]; the packed weights of [C, HeadDim]
// for each head, one after the other; with Bias a bias [C], added to the first
// head's rows. Output: [Batch*Heads*Tokens, C].
type absorb struct {
	Batch, Tokens, Heads, HeadDim, C int
	Bias                             bool
}

func (absorb) Name() string { return "absorb" }

// Forward implements [graph.Forwarder].
func (a absorb) Forward(out graph.View, in []graph.View) error {
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

// perHead projects what each head found in a map: the h-th part of row (p, t)
// of the result is row (p, h, t) of x times the h-th weight, plus the h-th
// part of the bias.
//
// Inputs: x, whose last rows are [Batch*Heads*Tokens, C], as [twoWay] returns
// it; the packed weights of [HeadDim, C] for each head, one after the other;
// bias [Heads*HeadDim]. Output: [Batch*Tokens, Heads*HeadDim].
type perHead struct {
	Batch, Tokens, Heads, HeadDim int
}

func (perHead) Name() string { return "per_head" }

// Forward implements [graph.Forwarder].
func (k perHead) Forward(out graph.View, in []graph.View) error {
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
