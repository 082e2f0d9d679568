package op

import (
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
)

// The gradients of the ops that graphs for inference and for training share.

// Smooth implements [graph.Differ].
func (LayerNorm) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (l LayerNorm) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	g := make([]*G.Node, 3)
	if c.Want[1] || c.Want[2] {
		n := c.In[1].Shape()[0]
		both := b.Apply(LayerNormGradParams(l), c.Grad, c.In[0])
		if c.Want[1] {
			g[1] = b.Apply(Part{0, c.In[1].Shape().Clone()}, both)
		}
		if c.Want[2] {
			g[2] = b.Apply(Part{n, c.In[2].Shape().Clone()}, both)
		}
	}
	if c.Want[0] {
		g[0] = b.Apply(LayerNormGradX(l), c.Grad, c.In[0], c.In[1])
	}
	return g
}

// Smooth implements [graph.Differ].
func (GELU) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (GELU) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	return []*G.Node{b.Apply(GELUGrad{}, c.Grad, c.In[0])}
}

// Smooth implements [graph.Differ].
func (Add) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (Add) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	g := make([]*G.Node, 2)
	for i, x := range c.In {
		if !c.Want[i] {
			continue
		}
		if g[i] = c.Grad; !x.Shape().Eq(c.Grad.Shape()) {
			g[i] = b.Apply(SumBlocks{x.Shape().Clone()}, c.Grad)
		}
	}
	return g
}

// Smooth implements [graph.Differ].
func (Attention) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (a Attention) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	return partsOf(b, c, b.Apply(AttentionGrad{a}, c.Grad, c.In[0], c.In[1], c.In[2], c.Out))
}

// Smooth implements [graph.Differ].
func (RelPosAttention) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (a RelPosAttention) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	return partsOf(b, c, b.Apply(RelPosGrad{a}, c.Grad, c.In[0], c.In[1], c.In[2], c.In[3], c.Out))
}

// Smooth implements [graph.Differ].
func (Tokens) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (t Tokens) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	head := c.In[0].Shape()[0]
	rows := func(from, to int) Pick {
		p := Pick{Rows: head + t.N}
		for i := from; i < to; i++ {
			p.Which = append(p.Which, i)
		}
		return p
	}
	g := make([]*G.Node, len(c.In))
	if c.Want[0] {
		g[0] = b.Apply(rows(0, head), c.Grad)
		if t.Batch > 1 {
			g[0] = b.Apply(SumBlocks{c.In[0].Shape().Clone()}, g[0])
		}
	}
	if t.N > 0 && c.Want[1] {
		g[1] = b.Apply(rows(head, head+t.N), c.Grad)
	}
	return g
}

// Smooth implements [graph.Differ].
func (Pick) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (k Pick) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	return []*G.Node{b.Apply(Place{k}, c.Grad)}
}

// Smooth implements [graph.Differ].
func (Masks) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (m Masks) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	g := make([]*G.Node, len(c.In))
	var all *G.Node
	for i, x := range c.In[1:] {
		if !c.Want[1+i] {
			continue
		}
		if all == nil {
			all = b.Apply(MasksGradHyper{m}, c.Grad, c.In[0])
		}
		g[1+i] = b.Apply(Part{i * x.Shape().TotalSize(), x.Shape().Clone()}, all)
	}
	if c.Want[0] {
		g[0] = b.Apply(MasksGradUp{m}, append([]*G.Node{c.Grad}, c.In[1:]...)...)
	}
	return g
}

// Smooth implements [graph.Differ].
func (Rows) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (Rows) Gradient(b graph.Applier, c graph.Call) []*G.Node { return partsOf(b, c, c.Grad) }

// Smooth implements [graph.Differ].
func (ReLU) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (ReLU) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	return []*G.Node{b.Apply(ReLUGrad{}, c.Grad, c.Out)}
}

// Smooth implements [graph.Differ]: points and the frequencies of their
// encoding are not trained.
func (Points) Smooth(i int) bool { return i == 2 }

// Gradient implements [graph.Differ].
func (Points) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	return []*G.Node{nil, nil, b.Apply(PointsGrad{Rows: c.In[2].Shape()[0]}, c.Grad, c.In[0])}
}
