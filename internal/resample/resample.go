// Package resample resizes pictures and planes exactly as the code that
// Segment Anything was trained with does.
//
// Two filters live here, and they are not the same:
//
//   - [Bilinear] is Pillow's BILINEAR on 8-bit RGB: antialiased when it
//     shrinks, integer arithmetic, rounded to 8 bits between the two passes.
//     SAM's picture goes through it on its way in. The result has Pillow's
//     bits.
//   - [Upscaler] is PyTorch's interpolate(mode="bilinear",
//     align_corners=False) on float32, twice: from the low-resolution logits
//     to the network's input frame and from there to the picture. SAM's masks
//     go through it on their way out. It is never antialiased.
//
// Pictures are row-major [H, W, 3], planes row-major [H, W]; x points right,
// y down. Sizes are {H, W}.
//
//	in := resample.RGB{Size: resample.Size{H: 480, W: 640}, Pix: pix}
//	out := resample.LongestSide(in.Size, 1024) // {768, 1024}
//	small, err := resample.Bilinear(nil, in, out)
package resample

import (
	"errors"
	"fmt"
	"math"
)

// ErrSize is wrapped by every error about a size that cannot be served.
var ErrSize = errors.New("size out of range")

// maxSide bounds each side of a picture: below it the rounding of all the
// weights of one pixel together cannot push a 32-bit sum over its end.
const maxSide = 1 << 22

// Size is a picture's height and width in pixels.
type Size struct{ H, W int }

// String returns the size as HxW.
func (s Size) String() string { return fmt.Sprintf("%dx%d", s.H, s.W) }

func (s Size) check(what string) error {
	if s.H < 1 || s.W < 1 || s.H > maxSide || s.W > maxSide {
		return fmt.Errorf("%s %v: %w: each side must lie in 1..%d", what, s, ErrSize, maxSide)
	}
	return nil
}

// LongestSide returns the size that a picture of size in has after SAM's
// resize of its longest side to long.
//
// Both sides are scaled by the float64 ratio long/max(H, W) and rounded half
// up. A side that would round to 0 (aspect ratio above about 2*long, where
// the original fails) becomes 1.
//
// Source: utils/transforms.py, ResizeLongestSide.get_preprocess_shape
// (segment-anything dca509f).
func LongestSide(in Size, long int) Size {
	scale := float64(long) / float64(max(in.H, in.W))
	side := func(n int) int {
		// The conversion keeps the compiler from fusing product and sum.
		return max(1, int(math.Floor(float64(float64(n)*scale)+0.5)))
	}
	return Size{H: side(in.H), W: side(in.W)}
}
