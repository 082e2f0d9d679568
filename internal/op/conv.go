package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// Conv is a convolution of maps of H x W pixels with square kernels. Pad
// pixels of 0 surround the map.
//
// Inputs: x [Batch*H*W, In]; the weight [Out, In, size, size]; bias [Out],
// which may be absent. Output: [Batch*OutH*OutW, Out], of the size that
// [Conv.Grid] returns.
//
// With Winograd a backend may compute 3 x 3 kernels of stride 1 by Winograd's
// algorithm, which multiplies less and rounds otherwise.
type Conv struct {
	Batch, H, W, Stride, Pad int
	Winograd                 bool
}

// Name implements [graph.Op].
func (Conv) Name() string { return "conv" }

// Params implements [graph.Op].
func (c Conv) Params() string {
	s := fmt.Sprintf("batch=%d %dx%d stride=%d pad=%d", c.Batch, c.H, c.W, c.Stride, c.Pad)
	if c.Winograd {
		s += " winograd"
	}
	return s
}

// Grid is the size of the map that a kernel of size x size pixels leaves: where
// it does not fit any more, the rest of a row or column is left out.
func (c Conv) Grid(size int) (h, w int) {
	return (c.H+2*c.Pad-size)/c.Stride + 1, (c.W+2*c.Pad-size)/c.Stride + 1
}

// Shape implements [graph.Op].
func (c Conv) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) < 2 || len(in[0]) != 2 || len(in[1]) != 4 || c.Stride < 1 || c.Pad < 0 {
		return nil, fmt.Errorf("inputs %v, want [M, In], [Out, In, size, size] and a bias: %w", in, graph.ErrShape)
	}
	out, size := in[1][0], in[1][2]
	if size < 1 || size > min(c.H, c.W)+2*c.Pad {
		return nil, fmt.Errorf("kernels of %d do not fit into %dx%d with borders of %d: %w", size, c.H, c.W, c.Pad, graph.ErrShape)
	}
	want := withBias(in, 2, out, tensor.Shape{c.Batch * c.H * c.W, -1}, tensor.Shape{out, in[0][1], size, size})
	h, w := c.Grid(size)
	return tensor.Shape{c.Batch * h * w, out}, match(in, want...)
}

// Depthwise is a 3 x 3 convolution of each channel by itself, with zero
// padding 1.
//
// Inputs: x [H*W, C]; the weight [C, 1, 3, 3]; bias [C]. Output: [OutH*OutW,
// C], of H and W over the stride, rounded up.
type Depthwise struct{ H, W, Stride int }

// Name implements [graph.Op].
func (Depthwise) Name() string { return "depthwise" }

// Params implements [graph.Op].
func (d Depthwise) Params() string { return fmt.Sprintf("%dx%d stride=%d", d.H, d.W, d.Stride) }

// Grid is the size of the map that the convolution leaves.
func (d Depthwise) Grid() (h, w int) {
	return (d.H + d.Stride - 1) / d.Stride, (d.W + d.Stride - 1) / d.Stride
}

// Shape implements [graph.Op].
func (d Depthwise) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) == 0 || len(in[0]) != 2 || d.Stride < 1 {
		return nil, fmt.Errorf("inputs %v with a stride of %d: %w", in, d.Stride, graph.ErrShape)
	}
	c := in[0][1]
	h, w := d.Grid()
	return tensor.Shape{h * w, c}, match(in, tensor.Shape{d.H * d.W, c}, tensor.Shape{c, 1, 3, 3}, tensor.Shape{c})
}

// Upscale2x2 is a transposed convolution of size and stride 2: each pixel
// becomes 2 x 2 pixels.
//
// Inputs: x [Batch*H*W, In]; the weight [In, Out, 2, 2]; bias [Out]. Output:
// [Batch*2H*2W, Out].
type Upscale2x2 struct{ Batch, H, W int }

// Name implements [graph.Op].
func (Upscale2x2) Name() string { return "upscale2x2" }

// Params implements [graph.Op].
func (u Upscale2x2) Params() string { return fmt.Sprintf("batch=%d %dx%d", u.Batch, u.H, u.W) }

// Shape implements [graph.Op].
func (u Upscale2x2) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) != 3 || len(in[0]) != 2 || len(in[1]) != 4 {
		return nil, fmt.Errorf("inputs %v, want [M, In], [In, Out, 2, 2] and [Out]: %w", in, graph.ErrShape)
	}
	out := in[1][1]
	return tensor.Shape{u.Batch * 4 * u.H * u.W, out},
		match(in, tensor.Shape{u.Batch * u.H * u.W, -1}, tensor.Shape{in[0][1], out, 2, 2}, tensor.Shape{out})
}
