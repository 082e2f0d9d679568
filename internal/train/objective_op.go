package train

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
)

// Criterion is a [Loss] as the last op of a graph: the prompts' losses and, so
// that maps are walked through once, their gradient.
//
// Inputs: logits [Prompts*len(Masks), Side*Side], qualities [Prompts,
// Qualities], the target [Prompts, Side*Side], the part of the maps that lies
// in the picture [2]: rows, columns, each prompt's weight [Prompts], its window
// [Prompts, 5]: left, top, right and bottom cell and the factor, and the
// window's target, [Prompts, Side*Side], of which it uses what it needs.
// Output: the losses [Prompts], then, with Slopes, the gradient of their
// weighted sum in the logits and in the qualities, in one row.
type Criterion struct {
	Loss
	Prompts, Side, Qualities int
	Masks                    []int
	Slopes                   bool
}

// Name implements [graph.Op].
func (Criterion) Name() string { return "criterion" }

// Params implements [graph.Op].
func (c Criterion) Params() string { return fmt.Sprintf("%+v", c) }

// Shape implements [graph.Op].
func (c Criterion) Shape(in []tensor.Shape) (tensor.Shape, error) {
	n := c.Side * c.Side
	want := []tensor.Shape{{c.Prompts * len(c.Masks), n}, {c.Prompts, c.Qualities}, {c.Prompts, n}, {2}, {c.Prompts}, {c.Prompts, 5}, {c.Prompts, n}}
	if len(in) != len(want) {
		return nil, fmt.Errorf("%d inputs, want %d: %w", len(in), len(want), graph.ErrShape)
	}
	for i, w := range want {
		if !in[i].Eq(w) {
			return nil, fmt.Errorf("input %d is %v, want %v: %w", i, in[i], w, graph.ErrShape)
		}
	}
	if !c.Slopes {
		return tensor.Shape{c.Prompts}, nil
	}
	return tensor.Shape{c.Prompts + want[0].TotalSize() + want[1].TotalSize()}, nil
}

// Forward implements [graph.Forwarder].
func (c Criterion) Forward(out graph.View, in []graph.View) error {
	size := in[3].Data
	o := &Objective{
		Loss: c.Loss, Prompts: c.Prompts, Side: c.Side, H: int(size[0]), W: int(size[1]), Masks: c.Masks, Qualities: c.Qualities,
		Logits: in[0].Data, IoU: in[1].Data, Target: in[2].Data,
	}
	n := c.Side * c.Side
	for p := range c.Prompts {
		w := in[5].Data[5*p:][:5]
		o.Windows = append(o.Windows, Window{int(w[0]), int(w[1]), int(w[2]), int(w[3]), int(w[4]), in[6].Data[p*n:][:n]})
	}
	if err := o.Check(); err != nil {
		return err
	}
	var results []Result
	if c.Slopes {
		d := out.Data[c.Prompts:]
		results = o.Slopes(d[:len(o.Logits)], d[len(o.Logits):], in[4].Data)
	} else {
		results = o.Value()
	}
	for i, r := range results {
		out.Data[i] = float32(r.Loss)
	}
	return nil
}

// apply adds the criterion and returns the gradients of the logits and of the
// qualities, nil without Slopes, and the node that holds the losses.
func (c Criterion) apply(b *graph.Builder, logits, iou *G.Node) (seeds []*G.Node, losses *G.Node) {
	n := c.Side * c.Side
	losses = b.Apply(c, logits, iou, b.Input(inTarget, c.Prompts, n), b.Input(inSize, 2), b.Input(inWeight, c.Prompts),
		b.Input(inWindow, c.Prompts, 5), b.Input(inFine, c.Prompts, n))
	if b.Err() != nil || !c.Slopes {
		return nil, losses
	}
	l, q := logits.Shape(), iou.Shape()
	return []*G.Node{
		b.Apply(op.Part{At: c.Prompts, Dims: l.Clone()}, losses),
		b.Apply(op.Part{At: c.Prompts + l.TotalSize(), Dims: q.Clone()}, losses),
	}, losses
}
