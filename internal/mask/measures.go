package mask

import "image"

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
