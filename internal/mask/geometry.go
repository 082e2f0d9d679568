package mask

import "github.com/paulmach/orb"

// Frame places a picture's pixels on a slide: a point p of the picture lies
// at Offset + Scale*p. The zero value leaves points where they are.
type Frame struct {
	OffsetX, OffsetY float64 // of the picture's top left corner, in slide pixels
	Scale            float64 // slide pixels per picture pixel; 0 stands for 1
}

// Geometry returns the mask's outlines on the slide: an orb.Polygon if the
// mask is one 4-connected part, else an orb.MultiPolygon. It is nil if the
// mask is empty. The rules are those of [Mask.Polygons].
func (m *Mask) Geometry(f Frame) orb.Geometry {
	polygons := m.Polygons()
	scale := f.Scale
	if scale == 0 {
		scale = 1
	}
	if f != (Frame{}) {
		for _, p := range polygons {
			for _, r := range p {
				for i, v := range r {
					r[i] = orb.Point{f.OffsetX + float64(scale*v[0]), f.OffsetY + float64(scale*v[1])}
				}
			}
		}
	}
	switch len(polygons) {
	case 0:
		return nil
	case 1:
		return polygons[0]
	}
	return polygons
}
