package op

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// LowRank adds products of two narrow matrices to rows of a weight: low-rank
// adaptation (LoRA).
//
// Inputs: the weight [N, K]; then for each of First two matrices, A [R, K] and
// B [M, R]: B·A is added to the M rows from that one on. Output: [N, K].
//
// Source: Hu et al. 2021; micro_sam/models/peft_sam.py, AttentionLoRA, with
// alpha 1.
type LowRank struct{ First []int }

// Name implements [graph.Op].
func (LowRank) Name() string { return "low_rank" }

// Params implements [graph.Op].
func (l LowRank) Params() string { return fmt.Sprint(l.First) }

// Shape implements [graph.Op].
func (l LowRank) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 1+2*len(l.First) || len(in[0]) != 2 {
		return nil, fmt.Errorf("inputs %v for a weight and %d pairs: %w", in, len(l.First), graph.ErrShape)
	}
	for i, row := range l.First {
		a, b := in[1+2*i], in[2+2*i]
		if len(a) != 2 || len(b) != 2 || a[1] != in[0][1] || b[1] != a[0] || row < 0 || row+b[0] > in[0][0] {
			return nil, fmt.Errorf("%v and %v from row %d of %v: %w", a, b, row, in[0], graph.ErrShape)
		}
	}
	return in[0], nil
}

// Smooth implements [graph.Differ].
func (LowRank) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (l LowRank) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	g := make([]*G.Node, len(c.In))
	if c.Want[0] {
		g[0] = c.Grad
	}
	k := c.In[0].Shape()[1]
	for i, row := range l.First {
		am, bm := c.In[1+2*i], c.In[2+2*i]
		if !c.Want[1+2*i] && !c.Want[2+2*i] {
			continue
		}
		m := bm.Shape()[0]
		rows := b.Apply(Part{row * k, tensor.Shape{m, k}}, c.Grad)
		if c.Want[1+2*i] {
			g[1+2*i] = b.Apply(LinearGradW{am.Shape().Clone()}, bm, rows)
		}
		if c.Want[2+2*i] {
			g[2+2*i] = b.Apply(Linear{}, rows, am)
		}
	}
	return g
}
