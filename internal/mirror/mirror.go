// Package mirror turns pictures' prompts and logits over, for a model that looks
// at a picture and its mirror images.
//
//	v := mirror.View{X: true} // from left to right
//	points := v.Points(prompt, canvas)
//	v.Add(sum, logits, canvas, 256)
package mirror

import (
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/promptenc"
)

// View says how the picture is turned over before the encoder sees it: X from
// left to right, Y from top to bottom.
type View struct{ X, Y bool }

// Canvas is the part of the input that is turned over: the picture, its sides
// rounded up to whole patches, so that patches lie on patches and cells of
// logits on cells. The picture stays in the upper left corner, where models
// are used to see it.
type Canvas struct{ Pixels, Cells resample.Size }

// Points returns the points [N, 3] of a prompt, each x, y and a label, where the
// view has them; corners of a box stay its upper left and lower right ones.
func (v View) Points(points []float32, c Canvas) []float32 {
	out := append([]float32(nil), points...)
	for i := 0; i < len(out); i += 3 {
		if out[i+2] == promptenc.Padding {
			continue
		}
		if v.X {
			out[i] = float32(c.Pixels.W) - out[i]
		}
		if v.Y {
			out[i+1] = float32(c.Pixels.H) - out[i+1]
		}
	}
	for i := 0; i+5 < len(out); i += 3 {
		if a, b := out[i:i+3], out[i+3:i+6]; a[2] == promptenc.TopLeft {
			a[0], b[0] = min(a[0], b[0]), max(a[0], b[0])
			a[1], b[1] = min(a[1], b[1]), max(a[1], b[1])
		}
	}
	return out
}

// Add adds to dst the planes src [n, side, side], turned over. What lies beyond the
// canvas is padding in every view and stays where it is.
func (v View) Add(dst, src []float32, c Canvas, side int) {
	for row := range len(src) / side {
		y := row % side
		if v.Y && y < c.Cells.H {
			y = c.Cells.H - 1 - y
		}
		from := src[row*side : (row+1)*side]
		to := dst[(row-row%side+y)*side:][:side]
		n := 0
		if v.X {
			n = c.Cells.W
			for x, f := range from[:n] {
				to[n-1-x] += f
			}
		}
		for x, f := range from[n:] {
			to[n+x] += f
		}
	}
}
