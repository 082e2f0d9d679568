package cpu

import (
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// crossing is the shape of the steps that follow.
type crossing struct{ kernel.Absorbed }

// absorb brings x [Tokens, Heads*HeadDim] to c columns by w.
func (a crossing) absorb(x, w *value, c int) *value {
	return &value{op: absorbRows{crossing: a}, in: []*value{x, w}, shape: tensor.Shape{a.Heads * a.Tokens, c}}
}

// absorbRows is [kernel.Absorbed.Absorb] of x and a weight that changes, where
// [absorb] has a packed one. With Bias a third input is added to the first
// head's rows.
type absorbRows struct {
	crossing
	Bias bool
}

// Name implements [graph.Op].
func (absorbRows) Name() string { return "absorb_rows" }

// Forward implements [graph.Forwarder].
func (a absorbRows) Forward(out graph.View, in []graph.View) error {
	c := out.Shape[1]
	a.Absorb(out.Data, in[0].Data, in[1].Data, c)
	if a.Bias {
		for t := range a.Tokens {
			row := out.Data[t*c:][:c]
			kernel.Add(row, row, in[2].Data)
		}
	}
	return nil
}

// projectHeads is [kernel.Absorbed.PerHead] of x, a weight that changes, where
// [perHead] has a packed one, and, with Bias or Add, one of these.
type projectHeads struct {
	crossing
	Bias, Add bool
}

// Name implements [graph.Op].
func (projectHeads) Name() string { return "project_heads" }

// Forward implements [graph.Forwarder].
func (p projectHeads) Forward(out graph.View, in []graph.View) error {
	var bias, add []float32
	switch {
	case p.Bias:
		bias = in[2].Data
	case p.Add:
		add = in[2].Data
	}
	p.PerHead(out.Data, in[0].Data, in[1].Data, bias, add, len(in[0].Data)/(p.Heads*p.Tokens))
	return nil
}

// absorbGrad is [kernel.Absorbed.AbsorbGrad] of x and dy.
type absorbGrad struct{ crossing }

// Name implements [graph.Op].
func (absorbGrad) Name() string { return "absorb_grad" }

// Forward implements [graph.Forwarder].
func (a absorbGrad) Forward(out graph.View, in []graph.View) error {
	a.AbsorbGrad(out.Data, in[0].Data, in[1].Data, len(in[1].Data)/(a.Heads*a.Tokens))
	return nil
}

// tokenToImage is [kernel.Absorbed.TokenToImage] of a map, positions and reads:
// found, then the weights.
type tokenToImage struct{ crossing }

// Name implements [graph.Op].
func (tokenToImage) Name() string { return "token_to_image" }

// Forward implements [graph.Forwarder].
func (t tokenToImage) Forward(out graph.View, in []graph.View) error {
	n := len(in[2].Data)
	t.TokenToImage(out.Data[:n], out.Data[n:], in[0].Data, in[1].Data, in[2].Data)
	return nil
}

// tokenToImageGrad is [kernel.Absorbed.TokenToImageGrad] of dfound, map,
// positions, reads, found and weights: the gradient of the map, then that of
// the reads.
type tokenToImageGrad struct{ crossing }

// Name implements [graph.Op].
func (tokenToImageGrad) Name() string { return "token_to_image_grad" }

// Forward implements [graph.Forwarder].
func (t tokenToImageGrad) Forward(out graph.View, in []graph.View) error {
	n := len(in[1].Data)
	t.TokenToImageGrad(out.Data[:n], out.Data[n:], in[0].Data, in[1].Data, in[2].Data, in[3].Data, in[4].Data, in[5].Data)
	return nil
}

// imageToToken is [kernel.Absorbed.ImageToToken] of a map, positions, keys, what
// is known of their scores, and values: the next map, then the weights.
type imageToToken struct{ crossing }

// Name implements [graph.Op].
func (imageToToken) Name() string { return "image_to_token" }

// Forward implements [graph.Forwarder].
func (t imageToToken) Forward(out graph.View, in []graph.View) error {
	n := len(in[0].Data)
	t.ImageToToken(out.Data[:n], out.Data[n:], in[0].Data, in[1].Data, in[2].Data, in[3].Data, in[4].Data)
	return nil
}

// imageToTokenGrad is [kernel.Absorbed.ImageToTokenGrad] of dnext, map, positions,
// keys, values and weights: the gradients of the map, of keys, of values, and
// of what is known.
type imageToTokenGrad struct{ crossing }

// Name implements [graph.Op].
func (imageToTokenGrad) Name() string { return "image_to_token_grad" }

// Forward implements [graph.Forwarder].
func (t imageToTokenGrad) Forward(out graph.View, in []graph.View) error {
	n, m := len(in[1].Data), len(in[3].Data)
	t.ImageToTokenGrad(out.Data[:n], out.Data[n:][:m], out.Data[n+2*m:], out.Data[n+m:][:m],
		in[0].Data, in[1].Data, in[2].Data, in[3].Data, in[4].Data, in[5].Data)
	return nil
}

// turn is a matrix turned over: its input [N, K] as [K, N].
type turn struct{}

// Name implements [graph.Op].
func (turn) Name() string { return "turn" }

// Forward implements [graph.Forwarder].
func (turn) Forward(out graph.View, in []graph.View) error {
	kernel.Transpose(out.Data, in[0].Data, in[0].Shape[0], in[0].Shape[1])
	return nil
}

// zeros are what they say.
type zeros struct{}

// Name implements [graph.Op].
func (zeros) Name() string { return "zeros" }

// Forward implements [graph.Forwarder].
func (zeros) Forward(out graph.View, _ []graph.View) error {
	clear(out.Data)
	return nil
}
