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
// Output: what [Criterion.Results] reads, then, with Slopes, the gradient of
// the losses' weighted sum in the logits and in the qualities, in one row.
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
		return tensor.Shape{c.reported()}, nil
	}
	return tensor.Shape{c.reported() + want[0].TotalSize() + want[1].TotalSize()}, nil
}

// reported is how many values the prompts' results have.
func (c Criterion) reported() int { return c.Prompts * (4 + len(c.Masks)) }

// report writes the results.
func (c Criterion) report(out []float32, results []Result) {
	for i, r := range results {
		row := out[i*(4+len(c.Masks)):]
		row[0], row[1], row[2], row[3] = float32(r.Loss), float32(r.Mask), float32(r.Error), float32(r.Best)
		for m, iou := range r.IoUs {
			row[4+m] = float32(iou)
		}
	}
}

// Results returns the prompts' results from the criterion's output.
func (c Criterion) Results(out []float32) []Result {
	all := make([]Result, c.Prompts)
	for i := range all {
		row := out[i*(4+len(c.Masks)):]
		all[i] = Result{Loss: float64(row[0]), Mask: float64(row[1]), Error: float64(row[2]), Best: int(row[3])}
		for m := range c.Masks {
			all[i].IoUs = append(all[i].IoUs, float64(row[4+m]))
		}
	}
	return all
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
		d := out.Data[c.reported():]
		results = o.Slopes(d[:len(o.Logits)], d[len(o.Logits):], in[4].Data)
	} else {
		results = o.Value()
	}
	c.report(out.Data, results)
	return nil
}

// apply adds the criterion and returns the gradients of the logits and of the
// qualities, nil without Slopes, and its own node.
func (c Criterion) apply(b *graph.Builder, logits, iou *G.Node) (seeds []*G.Node, own *G.Node) {
	n := c.Side * c.Side
	own = b.Apply(c, logits, iou, b.Input(inTarget, c.Prompts, n), b.Input(inSize, 2), b.Input(inWeight, c.Prompts),
		b.Input(inWindow, c.Prompts, 5), b.Input(inFine, c.Prompts, n))
	if b.Err() != nil || !c.Slopes {
		return nil, own
	}
	l, q := logits.Shape(), iou.Shape()
	return []*G.Node{
		b.Apply(op.Part{At: c.reported(), Dims: l.Clone()}, own),
		b.Apply(op.Part{At: c.reported() + l.TotalSize(), Dims: q.Clone()}, own),
	}, own
}
