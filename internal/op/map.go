package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
)

// Bilinear2x doubles the sides of a map by bilinear interpolation, as
// torch.nn.functional.interpolate does with align_corners=False: pixels are
// squares, and beyond the edge is what is at the edge.
//
// Input: [H*W, C]. Output: [2H*2W, C].
type Bilinear2x struct{ H, W int }

// Name implements [graph.Op].
func (Bilinear2x) Name() string { return "bilinear2x" }

// Params implements [graph.Op].
func (u Bilinear2x) Params() string { return fmt.Sprintf("%dx%d", u.H, u.W) }

// Shape implements [graph.Op].
func (u Bilinear2x) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if err := match(in, tensor.Shape{u.H * u.W, -1}); err != nil {
		return nil, err
	}
	return tensor.Shape{4 * in[0][0], in[0][1]}, nil
}

// ChannelNorm normalises each channel over all pixels of a map to mean 0 and
// (biased) variance 1: torch's InstanceNorm2d, and its BatchNorm2d in training
// mode on a batch of one.
//
// Inputs: x [M, C]; gamma [C] and beta [C], which scale and shift the result
// and may be absent. Output: [M, C].
type ChannelNorm struct{ Eps float32 }

// Name implements [graph.Op].
func (ChannelNorm) Name() string { return "channel_norm" }

// Params implements [graph.Op].
func (n ChannelNorm) Params() string { return fmt.Sprintf("eps=%g", n.Eps) }

// InPlace implements [graph.InPlacer].
func (ChannelNorm) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (ChannelNorm) Shape(in []tensor.Shape) (tensor.Shape, error) { return normed(in, 2) }

// BatchNorm normalises each channel with a mean and a variance that are
// weights: torch's BatchNorm2d after eval().
//
// Inputs: x [M, C]; gamma, beta, mean, variance, each [C]. Output: [M, C].
type BatchNorm struct{ Eps float32 }

// Name implements [graph.Op].
func (BatchNorm) Name() string { return "batch_norm" }

// Params implements [graph.Op].
func (n BatchNorm) Params() string { return fmt.Sprintf("eps=%g", n.Eps) }

// InPlace implements [graph.InPlacer].
func (BatchNorm) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (BatchNorm) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) == 1 {
		return nil, fmt.Errorf("no statistics: %w", graph.ErrShape)
	}
	return normed(in, 4)
}

// normed is the shape of a map and of n vectors, or none, for its channels.
func normed(in []tensor.Shape, n int) (tensor.Shape, error) {
	if len(in) == 0 || len(in[0]) != 2 {
		return nil, fmt.Errorf("no [M, C] input: %w", graph.ErrShape)
	}
	want := []tensor.Shape{{-1, in[0][1]}}
	for range min(n, n*(len(in)-1)) {
		want = append(want, tensor.Shape{in[0][1]})
	}
	return in[0], match(in, want...)
}

// Skip lays the middle channels of a second map beside a first one: as many
// as the first has, or all if Whole.
//
// Inputs: x [M, A], y [M, B]. Output: [M, 2A], or [M, A+B] if Whole.
//
// Source: unet.py, Decoder._crop, which cuts all axes of y to x's sizes, the
// channels among them (torch-em 6f71247c).
type Skip struct{ Whole bool }

// Name implements [graph.Op].
func (Skip) Name() string { return "skip" }

// Params implements [graph.Op].
func (s Skip) Params() string { return fmt.Sprintf("whole=%t", s.Whole) }

// Crop returns the first of the channels of y, which has b, that are laid
// beside the a of x, and how many.
func (s Skip) Crop(a, b int) (first, n int) {
	if s.Whole {
		return 0, b
	}
	return (b - a) / 2, a
}

// Shape implements [graph.Op].
func (s Skip) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) == 0 || len(in[0]) != 2 {
		return nil, fmt.Errorf("no [M, A] input: %w", graph.ErrShape)
	}
	if err := match(in, in[0], tensor.Shape{in[0][0], -1}); err != nil {
		return nil, err
	}
	a, b := in[0][1], in[1][1]
	first, n := s.Crop(a, b)
	if first < 0 || (b-a)%2 != 0 && !s.Whole {
		return nil, fmt.Errorf("%d channels have no %d in their middle: %w", b, a, graph.ErrShape)
	}
	return tensor.Shape{in[0][0], a + n}, nil
}

// Sigmoid is 1/(1+exp(-x)).
//
// Input: x of any shape. Output: the same shape.
type Sigmoid struct{}

// Name implements [graph.Op].
func (Sigmoid) Name() string { return "sigmoid" }

// Params implements [graph.Op].
func (Sigmoid) Params() string { return "" }

// InPlace implements [graph.InPlacer].
func (Sigmoid) InPlace() int { return 0 }

// Shape implements [graph.Op].
func (Sigmoid) Shape(in []tensor.Shape) (tensor.Shape, error) { return same(in) }
