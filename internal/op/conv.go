package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// Patches cuts a picture into Size x Size patches, one row each, so that a
// convolution with that size and stride becomes a product. With ChannelFirst
// a row runs over (channel, y, x), as torch stores the weights of such a
// convolution; otherwise over (y, x, channel).
//
// Input: [Batch*H*W, C] of a map of H x W pixels; Size divides both.
// Output: [Batch*(H/Size)*(W/Size), C*Size*Size].
type Patches struct {
	Batch, H, W, Size int
	ChannelFirst      bool
}

// Name implements [graph.Kernel].
func (Patches) Name() string { return "patches" }

// Params implements [graph.Kernel].
func (p Patches) Params() string {
	return fmt.Sprintf("batch=%d %dx%d size=%d chw=%t", p.Batch, p.H, p.W, p.Size, p.ChannelFirst)
}

// Shape implements [graph.Kernel].
func (p Patches) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{p.Batch * p.H * p.W, -1}); err != nil {
		return nil, err
	}
	if p.Size <= 0 || p.H%p.Size != 0 || p.W%p.Size != 0 {
		return nil, fmt.Errorf("patches of %d do not tile %dx%d: %w", p.Size, p.H, p.W, graph.ErrShape)
	}
	return tensor.Shape{p.Batch * (p.H / p.Size) * (p.W / p.Size), in[0][1] * p.Size * p.Size}, nil
}

// Forward implements [graph.Kernel].
func (p Patches) Forward(out graph.View, in []graph.View) error {
	c, x := in[0].Shape[1], in[0].Data
	gw, row := p.W/p.Size, c*p.Size*p.Size
	kernel.Parallel(p.Batch*p.H/p.Size, func(gy int) {
		for gx := 0; gx < gw; gx++ {
			dst := out.Data[(gy*gw+gx)*row:][:row]
			for y := 0; y < p.Size; y++ {
				src := x[((gy*p.Size+y)*p.W+gx*p.Size)*c:][:p.Size*c]
				if !p.ChannelFirst {
					copy(dst[y*p.Size*c:], src)
					continue
				}
				for k := 0; k < c; k++ {
					d := dst[(k*p.Size+y)*p.Size:][:p.Size]
					for i := range d {
						d[i] = src[i*c+k]
					}
				}
			}
		}
	})
	return nil
}

// Conv3x3 is a 3 x 3 convolution with zero padding 1 and no bias.
//
// Inputs: x [H*W, In], the packed weight of [Out, 9*In] in (y, x, channel)
// order. Output: [H*W, Out].
type Conv3x3 struct{ H, W, In, Out int }

// Name implements [graph.Kernel].
func (Conv3x3) Name() string { return "conv3x3" }

// Params implements [graph.Kernel].
func (c Conv3x3) Params() string { return fmt.Sprintf("%dx%d in=%d out=%d", c.H, c.W, c.In, c.Out) }

// Shape implements [graph.Kernel].
func (c Conv3x3) Shape(in []tensor.Shape) (tensor.Shape, error) {
	err := match(in, tensor.Shape{c.H * c.W, c.In}, tensor.Shape{kernel.PackedLen(c.Out, 9*c.In)})
	return tensor.Shape{c.H * c.W, c.Out}, err
}

// Forward implements [graph.Kernel].
func (c Conv3x3) Forward(out graph.View, in []graph.View) error {
	w := kernel.PackedOf(in[1].Data, c.Out, 9*c.In)
	kernel.Conv3x3(out.Data, in[0].Data, c.H, c.W, &w)
	return nil
}

// Upscale2x2 is a transposed convolution of size and stride 2: each pixel
// becomes 2 x 2 pixels.
//
// Inputs: x [Batch*H*W, In]; the packed weight of [4*Out, In] in (y, x,
// channel) order; bias [4*Out], the channels' bias four times over.
// Output: [Batch*2H*2W, Out].
type Upscale2x2 struct {
	Batch, H, W, In, Out int
	GELU                 bool
}

// Name implements [graph.Kernel].
func (Upscale2x2) Name() string { return "upscale2x2" }

// Params implements [graph.Kernel].
func (u Upscale2x2) Params() string {
	return fmt.Sprintf("batch=%d %dx%d in=%d out=%d gelu=%t", u.Batch, u.H, u.W, u.In, u.Out, u.GELU)
}

// Shape implements [graph.Kernel].
func (u Upscale2x2) Shape(in []tensor.Shape) (tensor.Shape, error) {
	// Two packed halves: the weights of the upper and of the lower row.
	err := match(in, tensor.Shape{u.Batch * u.H * u.W, u.In}, tensor.Shape{2 * kernel.PackedLen(2*u.Out, u.In)}, tensor.Shape{4 * u.Out})
	return tensor.Shape{u.Batch * 4 * u.H * u.W, u.Out}, err
}

// Forward implements [graph.Kernel].
func (u Upscale2x2) Forward(out graph.View, in []graph.View) error {
	half := len(in[1].Data) / 2
	n, row := 2*u.Out, u.W*u.In
	act := kernel.ActNone
	if u.GELU {
		act = kernel.ActGELU
	}
	up := kernel.PackedOf(in[1].Data[:half], n, u.In)
	down := kernel.PackedOf(in[1].Data[half:], n, u.In)
	kernel.Parallel(u.Batch*u.H, func(y int) {
		x := in[0].Data[y*row:][:row]
		dst := out.Data[2*y*u.W*n:]
		kernel.GemmSerial(dst[:u.W*n], n, x, u.In, u.W, &up, kernel.Epilogue{Bias: in[2].Data[:n], Act: act})
		kernel.GemmSerial(dst[u.W*n:2*u.W*n], n, x, u.In, u.W, &down, kernel.Epilogue{Bias: in[2].Data[n:], Act: act})
	})
	return nil
}
