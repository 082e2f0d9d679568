package mask

import (
	"image"
	"math"
	"math/bits"
)

// Window returns the part of the mask that lies in r, as a mask of r.
func (m *Mask) Window(r image.Rectangle) (*Mask, error) {
	b, err := NewBuilder(Size{H: r.Dy(), W: r.Dx()}, m.box.Intersect(r).Sub(r.Min))
	if err != nil {
		return nil, err
	}
	for run := range m.Runs() {
		x0, x1 := max(run.X0, r.Min.X), min(run.X1, r.Max.X)
		if run.Y >= r.Min.Y && run.Y < r.Max.Y && x0 < x1 {
			b.SetRun(Run{Y: run.Y - r.Min.Y, X0: x0 - r.Min.X, X1: x1 - r.Min.X})
		}
	}
	return b.Mask(), nil
}

// AreaIn returns the number of the mask's pixels in r.
func (m *Mask) AreaIn(r image.Rectangle) int {
	if m.Bounds().In(r) {
		return m.Area()
	}
	n := 0
	for run := range m.Runs() {
		if run.Y >= r.Min.Y && run.Y < r.Max.Y {
			n += max(0, min(run.X1, r.Max.X)-max(run.X0, r.Min.X))
		}
	}
	return n
}

// Centroid returns the mean place of the mask's pixels.
func (m *Mask) Centroid() (x, y float64) {
	n := float64(m.Area())
	for r := range m.Runs() {
		w := float64(r.X1 - r.X0)
		x += w * (float64(r.X0) + w/2)
		y += w * (float64(r.Y) + 0.5)
	}
	return x / n, y / n
}

// Perimeter returns the length of the mask's outlines, those of holes included,
// by the Cauchy-Crofton formula with lines of four directions: that of a disc is
// within a few per cent, whereas the sides of its pixels are longer by a quarter
// whatever their size.
//
// Source: skimage.measure.perimeter_crofton with 4 directions (scikit-image
// 0.26), which counts the same crossings.
func (m *Mask) Perimeter() float64 {
	if m.Area() == 0 {
		return 0
	}
	// Pixels whose neighbour on one side is not of the mask: lines cross the
	// outline there, and as often on the other side.
	left, up, falling, rising := 0, 0, 0, 0
	above := make([]uint64, m.wide)
	for y := m.box.Min.Y; y < m.box.Max.Y; y++ {
		row := m.row(y)
		for i, w := range row {
			var before, after, here uint64 // the words beside, of the row above and of this one
			if i > 0 {
				before, here = above[i-1], row[i-1]
			}
			if i+1 < len(row) {
				after = above[i+1]
			}
			left += bits.OnesCount64(w &^ (w<<1 | here>>63))
			up += bits.OnesCount64(w &^ above[i])
			falling += bits.OnesCount64(w &^ (above[i]<<1 | before>>63))
			rising += bits.OnesCount64(w &^ (above[i]>>1 | after<<63))
		}
		above = row
	}
	return math.Pi / 4 * (float64(left+up) + float64(falling+rising)/math.Sqrt2)
}

// Circularity returns 4 pi times the area over the square of the perimeter: 1 for
// a disc, which small ones may exceed by a little and are then 1, less for what is
// long, lobed or has holes. It is NaN for an empty mask.
func (m *Mask) Circularity() float64 {
	p := m.Perimeter()
	return min(4*math.Pi*float64(m.Area())/(p*p), 1)
}
