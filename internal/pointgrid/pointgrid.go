// Package pointgrid lays points over pictures, crops of pictures and slides, as
// Segment Anything's automatic mask generator does.
//
//	for _, c := range pointgrid.Crops(1500, 1000, 1, 0.34) {
//		for _, p := range pointgrid.Even(32) { ... p.X * c.Rect.Dx() ... }
//	}
package pointgrid

import (
	"image"
	"math"
)

// Point is a place in a picture.
type Point struct{ X, Y float64 }

// Even returns n x n points evenly spaced in [0, 1], x fastest, at the values of
// numpy's linspace(1/2n, 1-1/2n, n).
func Even(n int) []Point {
	start := 1 / float64(2*n)
	stop := 1 - start
	at := make([]float64, n)
	for i := range at {
		at[i] = start
		if n > 1 {
			step := (stop - start) / float64(n-1)
			at[i] = float64(i)*step + start
		}
	}
	if n > 1 {
		at[n-1] = stop
	}
	return cross(at, at)
}

// cross returns the points of these columns and rows, x fastest.
func cross(xs, ys []float64) []Point {
	out := make([]Point, 0, len(xs)*len(ys))
	for _, y := range ys {
		for _, x := range xs {
			out = append(out, Point{x, y})
		}
	}
	return out
}

// Crop is a part of a picture and its layer, 0 for the whole picture.
type Crop struct {
	Rect  image.Rectangle
	Layer int
}

// Crops returns the whole picture of w x h pixels and the crops of each layer,
// column by column: 2 x 2 of the first one, 4 x 4 of the second one. overlap is
// that of neighbours in the first layer, as a part of the shorter side.
//
// Source: utils/amg.py, generate_crop_boxes (segment-anything dca509f).
func Crops(w, h, layers int, overlap float64) []Crop {
	out := []Crop{{image.Rect(0, 0, w, h), 0}}
	for i := range layers {
		n := 2 << i
		over := int(overlap * float64(min(w, h)) * (2 / float64(n)))
		length := func(l int) int { return int(math.Ceil(float64(over*(n-1)+l) / float64(n))) }
		cw, ch := length(w), length(h)
		for ix := range n {
			for iy := range n {
				x0, y0 := (cw-over)*ix, (ch-over)*iy
				// A picture of few pixels leaves the last crops nothing.
				r := image.Rectangle{Min: image.Pt(x0, y0), Max: image.Pt(min(x0+cw, w), min(y0+ch, h))}
				if !r.Empty() {
					out = append(out, Crop{r, i + 1})
				}
			}
		}
	}
	return out
}

// Tile is where a picture lies on a slide: points are then those of one grid
// over the slide, and only those in the tile's core, so that each is decoded by
// one tile.
type Tile struct {
	Window image.Rectangle // the picture on the slide
	Core   image.Rectangle // part of Window
}

// Points returns the core's points of the slide's grid with the given spacing
// that lie in rectangle r of the picture, in the frame of r.
func (t Tile) Points(r image.Rectangle, fx, fy float64) []Point {
	at := r.Add(t.Window.Min)
	in := at.Intersect(t.Core)
	axis := func(lo, hi, from int, f float64) (out []float64) {
		// The same comparison at both ends: a point on a seam is in one core.
		for i := math.Floor(float64(lo)/f - 0.5); (i+0.5)*f < float64(hi); i++ {
			if v := (i + 0.5) * f; v >= float64(lo) {
				out = append(out, v-float64(from))
			}
		}
		return out
	}
	return cross(axis(in.Min.X, in.Max.X, at.Min.X, fx), axis(in.Min.Y, in.Max.Y, at.Min.Y, fy))
}

// Owns reports whether a point in the frame of rectangle r of the picture lies
// in the core. A point on the picture's far edge counts to its last pixel.
func (t Tile) Owns(r image.Rectangle, x, y float64) bool {
	at := r.Min.Add(t.Window.Min)
	return image.Pt(min(int(x)+at.X, t.Window.Max.X-1), min(int(y)+at.Y, t.Window.Max.Y-1)).In(t.Core)
}
