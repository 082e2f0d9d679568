package cpu

import (
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// panels puts each block of Rows rows into panels, the order in which products
// read rows as lanes: see [kernel.PackPanels]. The number of rows is rounded
// up to whole panels, N = kernel.PackedLen(Rows, 1).
//
// Input: x [B*Rows, K]. Output: [B*N, K].
type panels struct{ Rows int }

func (panels) Name() string { return "panels" }

// Forward implements [graph.Forwarder].
func (p panels) Forward(out graph.View, in []graph.View) error {
	k := in[0].Shape[1]
	kernel.Parallel(in[0].Shape[0]/p.Rows, func(i int) {
		kernel.PackPanels(out.Data[i*kernel.PackedLen(p.Rows, k):], in[0].Data[i*p.Rows*k:], p.Rows, k)
	})
	return nil
}

// fromPanels undoes [panels].
//
// Input: x [B*N, K], N = kernel.PackedLen(Rows, 1). Output: [B*Rows, K].
type fromPanels struct{ Rows int }

func (fromPanels) Name() string { return "from_panels" }

// Forward implements [graph.Forwarder].
func (p fromPanels) Forward(out graph.View, in []graph.View) error {
	k := in[0].Shape[1]
	kernel.Parallel(out.Shape[0]/p.Rows, func(i int) {
		kernel.UnpackPanels(out.Data[i*p.Rows*k:], in[0].Data[i*kernel.PackedLen(p.Rows, k):], p.Rows, k)
	})
	return nil
}

// panelsOf is x [B*rows, K] in panels, made only if it does not come from
// there.
func panelsOf(x *value, rows int) *value {
	if f, ok := x.op.(fromPanels); ok && f.Rows == rows {
		return x.in[0]
	}
	n := x.shape[0] / rows * kernel.PackedLen(rows, 1)
	return &value{op: panels{Rows: rows}, in: []*value{x}, shape: tensor.Shape{n, x.shape[1]}}
}

// panelKeys is an attention of all prompts' tokens to one map, whose keys are in
// panels: see [kernel.PanelAttention].
//
// Inputs: queries [Batch*NQ, D]; keys [N, D], N = kernel.PackedLen(NK, 1); values
// [NK, D]. Output: [Batch*NQ, D].
type panelKeys struct{ op.Attention }

// Forward implements [graph.Forwarder].
func (a panelKeys) Forward(out graph.View, in []graph.View) error {
	kernel.PanelAttention(out.Data, in[0].Data, in[1].Data, in[2].Data, a.Heads, a.HeadDim, a.Batch*a.NQ, a.NK)
	return nil
}

// keepPanels lets attentions whose keys come in panels use them as they are.
func (l *lowered) keepPanels() {
	l.each(func(v *value) {
		a, ok := v.op.(op.Attention)
		if !ok {
			return
		}
		f, ok := v.in[1].op.(fromPanels)
		if ok && f.Rows == a.NK && v.in[1].shape[0] == a.NK && v.in[2].shape[0] == a.NK && v.in[0].shape[0] == a.Batch*a.NQ {
			v.op = panelKeys{a}
			v.in = []*value{v.in[0], v.in[1].in[0], v.in[2]}
		}
	})
}
