package op

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// The gradients of the ops of convolutional maps.

// Smooth implements [graph.Differ].
func (Bilinear2x) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (u Bilinear2x) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	return []*G.Node{b.Apply(Bilinear2xGrad(u), c.Grad)}
}

// Bilinear2xGrad is the gradient of [Bilinear2x].
//
// Input: dy [2H*2W, C]. Output: [H*W, C].
type Bilinear2xGrad struct{ H, W int }

// Name implements [graph.Op].
func (Bilinear2xGrad) Name() string { return "bilinear2x_grad" }

// Params implements [graph.Op].
func (u Bilinear2xGrad) Params() string { return fmt.Sprintf("%dx%d", u.H, u.W) }

// Shape implements [graph.Op].
func (u Bilinear2xGrad) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{4 * u.H * u.W, -1}); err != nil {
		return nil, err
	}
	return tensor.Shape{u.H * u.W, in[0][1]}, nil
}

// Smooth implements [graph.Differ].
func (ChannelNorm) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (n ChannelNorm) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	g := make([]*G.Node, len(c.In))
	if c.Want[0] {
		g[0] = b.Apply(ChannelNormGradX(n), append([]*G.Node{c.Grad}, c.In[:min(2, len(c.In))]...)...)
	}
	if len(g) > 1 && (c.Want[1] || c.Want[2]) {
		affine(b, c, g, b.Apply(ChannelNormGradParams(n), c.Grad, c.In[0]))
	}
	return g
}

// affine cuts both, the gradients of a norm's scale and of its shift, into
// those that are wanted.
func affine(b graph.Applier, c graph.Call, g []*G.Node, both *G.Node) {
	channels := c.In[1].Shape()[0]
	for i := range 2 {
		if c.Want[1+i] {
			g[1+i] = b.Apply(Part{i * channels, c.In[1+i].Shape().Clone()}, both)
		}
	}
}

// ChannelNormGradX is the gradient of the map of [ChannelNorm].
//
// Inputs: dy [M, C], x [M, C], gamma [C], which may be absent. Output: [M, C].
type ChannelNormGradX struct{ Eps float32 }

// Name implements [graph.Op].
func (ChannelNormGradX) Name() string { return "channel_norm_grad_x" }

// Params implements [graph.Op].
func (n ChannelNormGradX) Params() string { return fmt.Sprintf("eps=%g", n.Eps) }

// InPlace implements [graph.InPlacer].
func (ChannelNormGradX) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (ChannelNormGradX) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) < 2 {
		return nil, fmt.Errorf("%d inputs, want dy, x and perhaps gamma: %w", len(in), graph.ErrShape)
	}
	if _, err := normed(in[1:], 1); err != nil {
		return nil, err
	}
	return alike(in[:2], 2)
}

// ChannelNormGradParams is the gradient of the scale of [ChannelNorm], then
// that of its shift.
//
// Inputs: dy [M, C], x [M, C]. Output: [2*C].
type ChannelNormGradParams struct{ Eps float32 }

// Name implements [graph.Op].
func (ChannelNormGradParams) Name() string { return "channel_norm_grad_params" }

// Params implements [graph.Op].
func (n ChannelNormGradParams) Params() string { return fmt.Sprintf("eps=%g", n.Eps) }

// Shape implements [graph.Op].
func (ChannelNormGradParams) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	return tensor.Shape{2 * in[0][1]}, match(in[1:], in[0])
}

// ChannelMoments are the means of a map's channels, then their biased
// variances: what [ChannelNorm] divides by, and a batch norm gathers.
//
// Input: x [M, C]. Output: [2*C].
type ChannelMoments struct{}

// Name implements [graph.Op].
func (ChannelMoments) Name() string { return "channel_moments" }

// Params implements [graph.Op].
func (ChannelMoments) Params() string { return "" }

// Shape implements [graph.Op].
func (ChannelMoments) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	return tensor.Shape{2 * in[0][1]}, nil
}

// Smooth implements [graph.Differ]: statistics are gathered, not trained.
func (BatchNorm) Smooth(i int) bool { return i < 3 }

// Gradient implements [graph.Differ].
func (n BatchNorm) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	g := make([]*G.Node, len(c.In))
	if c.Want[0] {
		g[0] = b.Apply(BatchNormGradX(n), c.Grad, c.In[1], c.In[4])
	}
	if c.Want[1] || c.Want[2] {
		affine(b, c, g, b.Apply(BatchNormGradParams(n), c.Grad, c.In[0], c.In[3], c.In[4]))
	}
	return g
}

// BatchNormGradX is the gradient of the map of [BatchNorm].
//
// Inputs: dy [M, C]; gamma and variance, each [C]. Output: [M, C].
type BatchNormGradX struct{ Eps float32 }

// Name implements [graph.Op].
func (BatchNormGradX) Name() string { return "batch_norm_grad_x" }

// Params implements [graph.Op].
func (n BatchNormGradX) Params() string { return fmt.Sprintf("eps=%g", n.Eps) }

// InPlace implements [graph.InPlacer].
func (BatchNormGradX) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (BatchNormGradX) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 3 {
		return nil, fmt.Errorf("%d inputs, want dy, gamma and variance: %w", len(in), graph.ErrShape)
	}
	return normed(in, 2)
}

// BatchNormGradParams is the gradient of the scale of [BatchNorm], then that
// of its shift.
//
// Inputs: dy [M, C], x [M, C]; mean and variance, each [C]. Output: [2*C].
type BatchNormGradParams struct{ Eps float32 }

// Name implements [graph.Op].
func (BatchNormGradParams) Name() string { return "batch_norm_grad_params" }

// Params implements [graph.Op].
func (n BatchNormGradParams) Params() string { return fmt.Sprintf("eps=%g", n.Eps) }

// Shape implements [graph.Op].
func (BatchNormGradParams) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, -1}, tensor.Shape{-1}, tensor.Shape{-1}); err != nil {
		return nil, err
	}
	c := tensor.Shape{in[0][1]}
	return tensor.Shape{2 * in[0][1]}, match(in[1:], in[0], c, c)
}

// Smooth implements [graph.Differ].
func (Skip) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (s Skip) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	left, right := c.In[0].Shape()[1], c.In[1].Shape()[1]
	first, n := s.Crop(left, right)
	g := make([]*G.Node, 2)
	if c.Want[0] {
		g[0] = b.Apply(Columns{0, left}, c.Grad)
	}
	if c.Want[1] {
		if g[1] = b.Apply(Columns{left, n}, c.Grad); n < right {
			g[1] = b.Apply(ColumnsGrad{Columns{first, n}, right}, g[1])
		}
	}
	return g
}

// Columns are N columns of a map, from First on.
//
// Input: [M, C]. Output: [M, N].
type Columns struct{ First, N int }

// Name implements [graph.Op].
func (Columns) Name() string { return "columns" }

// Params implements [graph.Op].
func (k Columns) Params() string { return fmt.Sprintf("first=%d n=%d", k.First, k.N) }

// Shape implements [graph.Op].
func (k Columns) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	return tensor.Shape{in[0][0], k.N}, k.among(in[0][1])
}

// among returns an error unless the columns lie among c.
func (k Columns) among(c int) error {
	if k.First < 0 || k.N < 1 || k.First+k.N > c {
		return fmt.Errorf("columns %d to %d of %d: %w", k.First, k.First+k.N, c, graph.ErrShape)
	}
	return nil
}

// ColumnsGrad puts [Columns] back in their places among Of, the others 0.
//
// Input: [M, N]. Output: [M, Of].
type ColumnsGrad struct {
	Columns
	Of int
}

// Name implements [graph.Op].
func (ColumnsGrad) Name() string { return "columns_grad" }

// Params implements [graph.Op].
func (k ColumnsGrad) Params() string { return fmt.Sprintf("%s of=%d", k.Columns.Params(), k.Of) }

// Shape implements [graph.Op].
func (k ColumnsGrad) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, k.N}); err != nil {
		return nil, err
	}
	return tensor.Shape{in[0][0], k.Of}, k.among(k.Of)
}

// Smooth implements [graph.Differ].
func (Sigmoid) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (Sigmoid) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	return []*G.Node{b.Apply(SigmoidGrad{}, c.Grad, c.Out)}
}

// SigmoidGrad is the gradient through a sigmoid.
//
// Inputs: dy, and y, what the sigmoid gave, of one shape. Output: the same
// shape.
type SigmoidGrad struct{}

// Name implements [graph.Op].
func (SigmoidGrad) Name() string { return "sigmoid_grad" }

// Params implements [graph.Op].
func (SigmoidGrad) Params() string { return "" }

// InPlace implements [graph.InPlacer].
func (SigmoidGrad) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (SigmoidGrad) Shape(in []tensor.Shape) (tensor.Shape, error) { return alike(in, 2) }
