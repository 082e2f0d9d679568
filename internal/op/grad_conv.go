package op

import (
	"fmt"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// Smooth implements [graph.Differ].
func (Upscale2x2) Smooth(int) bool { return true }

// Gradient implements [graph.Differ].
func (u Upscale2x2) Gradient(b graph.Applier, c graph.Call) []*G.Node {
	g := make([]*G.Node, 3)
	if c.Want[2] {
		g[2] = b.Apply(SumBlocks{c.In[2].Shape().Clone()}, c.Grad)
	}
	if !c.Want[0] && !c.Want[1] {
		return g
	}
	rows := b.Apply(Quarters(u), c.Grad)
	if c.Want[1] {
		g[1] = b.Apply(UpscaleGradW{}, rows, c.In[0])
	}
	if c.Want[0] {
		g[0] = b.Apply(UpscaleGradX{}, rows, c.In[1])
	}
	return g
}

// Quarters turns the 2 x 2 pixels of each cell into one row, in the order (y,
// x): it undoes the last step of [Upscale2x2].
//
// Input: [Batch*2H*2W, C]. Output: [Batch*H*W, 4*C].
type Quarters struct{ Batch, H, W int }

// Name implements [graph.Op].
func (Quarters) Name() string { return "quarters" }

// Params implements [graph.Op].
func (q Quarters) Params() string { return fmt.Sprintf("batch=%d %dx%d", q.Batch, q.H, q.W) }

// Shape implements [graph.Op].
func (q Quarters) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{q.Batch * 4 * q.H * q.W, -1}); err != nil {
		return nil, err
	}
	return tensor.Shape{q.Batch * q.H * q.W, 4 * in[0][1]}, nil
}

// UpscaleGradX is the gradient of the map of [Upscale2x2].
//
// Inputs: dy as [Quarters] gives it, [M, 4*Out]; the weight [In, Out, 2, 2].
// Output: [M, In].
type UpscaleGradX struct{}

// Name implements [graph.Op].
func (UpscaleGradX) Name() string { return "upscale_grad_x" }

// Params implements [graph.Op].
func (UpscaleGradX) Params() string { return "" }

// Shape implements [graph.Op].
func (UpscaleGradX) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, -1, 2, 2}); err != nil {
		return nil, err
	}
	if in[0][1] != 4*in[1][1] {
		return nil, fmt.Errorf("quarters %v for a weight %v: %w", in[0], in[1], graph.ErrShape)
	}
	return tensor.Shape{in[0][0], in[1][0]}, nil
}

// UpscaleGradW is the gradient of the weight of [Upscale2x2].
//
// Inputs: dy as [Quarters] gives it, [M, 4*Out]; x [M, In]. Output: [In, Out,
// 2, 2].
type UpscaleGradW struct{}

// Name implements [graph.Op].
func (UpscaleGradW) Name() string { return "upscale_grad_w" }

// Params implements [graph.Op].
func (UpscaleGradW) Params() string { return "" }

// Shape implements [graph.Op].
func (UpscaleGradW) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{-1, -1}, tensor.Shape{-1, -1}); err != nil {
		return nil, err
	}
	if in[0][0] != in[1][0] || in[0][1]%4 != 0 {
		return nil, fmt.Errorf("quarters %v of %v: %w", in[0], in[1], graph.ErrShape)
	}
	return tensor.Shape{in[1][1], in[0][1] / 4, 2, 2}, nil
}

// patches reports whether the convolution cuts the map into patches of its
// kernel's size.
func (c Conv) patches(size int) bool {
	return c.Stride == size && c.Pad == 0 && c.H%size == 0 && c.W%size == 0
}

// threes reports whether it is one of 3 x 3 pixels that leaves the map's size.
func (c Conv) threes(size int) bool { return size == 3 && c.Stride == 1 && c.Pad == 1 && c.Batch == 1 }

// Smooth implements [graph.Differ].
func (Conv) Smooth(int) bool { return true }

// Gradient implements [graph.Differ]. There is one for patches and for 3 x 3
// kernels that leave the map's size, which is what Segment Anything has.
func (c Conv) Gradient(b graph.Applier, k graph.Call) []*G.Node {
	g := make([]*G.Node, len(k.In))
	if len(g) > 2 && k.Want[2] {
		g[2] = b.Apply(SumBlocks{k.In[2].Shape().Clone()}, k.Grad)
	}
	w := k.In[1].Shape()
	if c.threes(w[2]) {
		if k.Want[1] {
			g[1] = b.Apply(Conv3x3GradW{c.H, c.W}, k.Grad, k.In[0])
		}
		if k.Want[0] {
			g[0] = b.Apply(Conv3x3GradX{c.H, c.W}, k.Grad, k.In[1])
		}
		return g
	}
	p := Patches{Batch: c.Batch, H: c.H, W: c.W, Size: w[2]}
	if !c.patches(w[2]) {
		return g // an error follows: a gradient is missing
	}
	if k.Want[1] {
		g[1] = b.Apply(LinearGradW{w.Clone()}, k.Grad, b.Apply(p, k.In[0]))
	}
	if k.Want[0] {
		g[0] = b.Apply(PatchesGrad{p}, b.Apply(LinearGradX{}, k.Grad, k.In[1]))
	}
	return g
}

// Patches cuts a picture into Size x Size patches, one row each, in the order
// (channel, y, x) in which torch stores a convolution's weight.
//
// Input: [Batch*H*W, C] of a map of H x W pixels; Size divides both.
// Output: [Batch*(H/Size)*(W/Size), C*Size*Size].
type Patches struct{ Batch, H, W, Size int }

// Name implements [graph.Op].
func (Patches) Name() string { return "patches" }

// Params implements [graph.Op].
func (p Patches) Params() string {
	return fmt.Sprintf("batch=%d %dx%d size=%d", p.Batch, p.H, p.W, p.Size)
}

// Shape implements [graph.Op].
func (p Patches) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{p.Batch * p.H * p.W, -1}); err != nil {
		return nil, err
	}
	if p.Size <= 0 || p.H%p.Size != 0 || p.W%p.Size != 0 {
		return nil, fmt.Errorf("patches of %d do not tile %dx%d: %w", p.Size, p.H, p.W, graph.ErrShape)
	}
	return tensor.Shape{p.Batch * (p.H / p.Size) * (p.W / p.Size), in[0][1] * p.Size * p.Size}, nil
}

// PatchesGrad is the gradient of [Patches]: patches put back in their places.
//
// Input: [Batch*(H/Size)*(W/Size), C*Size*Size]. Output: [Batch*H*W, C].
type PatchesGrad struct{ Patches }

// Name implements [graph.Op].
func (PatchesGrad) Name() string { return "patches_grad" }

// Shape implements [graph.Op].
func (p PatchesGrad) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{p.Batch * (p.H / p.Size) * (p.W / p.Size), -1}); err != nil {
		return nil, err
	}
	if in[0][1]%(p.Size*p.Size) != 0 {
		return nil, fmt.Errorf("rows of %d for patches of %d: %w", in[0][1], p.Size, graph.ErrShape)
	}
	return tensor.Shape{p.Batch * p.H * p.W, in[0][1] / (p.Size * p.Size)}, nil
}

// Conv3x3GradX is the gradient of the map of a [Conv] of 3 x 3 pixels that
// leaves its size.
//
// Inputs: dy [H*W, Out], the weight [Out, In, 3, 3]. Output: [H*W, In].
type Conv3x3GradX struct{ H, W int }

// Name implements [graph.Op].
func (Conv3x3GradX) Name() string { return "conv3x3_grad_x" }

// Params implements [graph.Op].
func (c Conv3x3GradX) Params() string { return fmt.Sprintf("%dx%d", c.H, c.W) }

// Shape implements [graph.Op].
func (c Conv3x3GradX) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{c.H * c.W, -1}, tensor.Shape{-1, -1, 3, 3}); err != nil {
		return nil, err
	}
	if in[0][1] != in[1][0] {
		return nil, fmt.Errorf("%v for a weight %v: %w", in[0], in[1], graph.ErrShape)
	}
	return tensor.Shape{c.H * c.W, in[1][1]}, nil
}

// Conv3x3GradW is the gradient of the weight of a [Conv] of 3 x 3 pixels that
// leaves the map's size.
//
// Inputs: dy [H*W, Out], x [H*W, In]. Output: [Out, In, 3, 3].
type Conv3x3GradW struct{ H, W int }

// Name implements [graph.Op].
func (Conv3x3GradW) Name() string { return "conv3x3_grad_w" }

// Params implements [graph.Op].
func (c Conv3x3GradW) Params() string { return fmt.Sprintf("%dx%d", c.H, c.W) }

// Shape implements [graph.Op].
func (c Conv3x3GradW) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{c.H * c.W, -1}, tensor.Shape{c.H * c.W, -1}); err != nil {
		return nil, err
	}
	return tensor.Shape{in[0][1], in[1][1], 3, 3}, nil
}
