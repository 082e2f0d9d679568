package mask

import (
	"cmp"
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/paulmach/orb"
)

// FromPolygons returns the mask of the pixels whose centre lies in any of
// the polygons, whose coordinates are pixel corners as those of
// [Mask.Polygons]: pixel (x, y) has its centre at (x+0.5, y+0.5).
//
// Within one polygon the even-odd rule decides, so that inner rings are holes
// whatever their direction. A centre on an edge belongs to the side with the
// greater x, or on a horizontal edge the greater y, so that polygons that
// share an edge share no pixel. Rings need not be closed and may reach beyond
// the picture. The error wraps [ErrMask] if a coordinate is NaN, infinite or
// beyond 1e9, or if the size is out of range.
func FromPolygons(size Size, polygons orb.MultiPolygon) (*Mask, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	var hull image.Rectangle
	for i, p := range polygons {
		for j, r := range p {
			for k, v := range r {
				// Also false for NaN.
				if !(math.Abs(v[0]) <= 1e9 && math.Abs(v[1]) <= 1e9) {
					return nil, fmt.Errorf("%w: polygon %d, ring %d, point %d: (%g, %g)", ErrMask, i, j, k, v[0], v[1])
				}
				x, y := int(math.Floor(v[0])), int(math.Floor(v[1]))
				hull = hull.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	b, err := NewBuilder(size, hull)
	if err != nil {
		return nil, err
	}
	if len(b.bits) > 0 {
		for _, p := range polygons {
			fillPolygon(b, p)
		}
	}
	return b.Mask(), nil
}

// side is a ring's segment that crosses the centres of rows y0 to y1-1.
type side struct {
	y0, y1 int
	x      float64 // where it crosses the centre of row y0
	slope  float64
}

// fillPolygon adds the pixels of one polygon, row by row.
func fillPolygon(b *Builder, p orb.Polygon) {
	sides := polygonSides(b.hull, p)
	slices.SortFunc(sides, func(a, b side) int { return cmp.Compare(a.y0, b.y0) })
	var live []side
	var at []float64
	for y := b.hull.Min.Y; y < b.hull.Max.Y && (len(sides) > 0 || len(live) > 0); y++ {
		live = slices.DeleteFunc(live, func(s side) bool { return s.y1 <= y })
		for len(sides) > 0 && sides[0].y0 == y {
			live = append(live, sides[0])
			sides = sides[1:]
		}
		at = at[:0]
		for _, s := range live {
			at = append(at, s.x+float64(y-s.y0)*s.slope)
		}
		slices.Sort(at)
		row := b.Row(y)
		for i := 0; i+1 < len(at); i += 2 {
			x0 := max(firstCentre(at[i]), b.hull.Min.X)
			x1 := min(firstCentre(at[i+1]), b.hull.Max.X)
			setBits(row, x0-b.x0, x1-b.x0)
		}
	}
}

// polygonSides returns the segments of all rings that cross the centre of a
// row of the hull.
func polygonSides(hull image.Rectangle, p orb.Polygon) []side {
	var out []side
	for _, r := range p {
		for i := range r {
			a, b := r[i], r[(i+1)%len(r)]
			if a[1] > b[1] {
				a, b = b, a
			}
			s := side{y0: firstCentre(a[1]), y1: firstCentre(b[1])}
			if s.y0 >= s.y1 || s.y1 <= hull.Min.Y || s.y0 >= hull.Max.Y {
				continue
			}
			s.y0 = max(s.y0, hull.Min.Y)
			if s.slope = (b[0] - a[0]) / (b[1] - a[1]); math.IsInf(s.slope, 0) {
				s.slope = 0 // too short in y to be anything but a point
			}
			s.x = a[0] + (float64(s.y0)+0.5-a[1])*s.slope
			out = append(out, s)
		}
	}
	return out
}

// firstCentre returns the first column or row whose centre is at v or beyond.
func firstCentre(v float64) int { return int(math.Ceil(v - 0.5)) }
