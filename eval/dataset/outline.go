package dataset

import (
	"fmt"
	"math"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

// outline is one annotated region.
type outline struct {
	id    string // as the file names it, for errors
	group string // class, group or attribute
	area  orb.MultiPolygon
}

// paint gives the pixels inside an outline a number, over what was there. A
// pixel belongs to a polygon if its centre does; inner rings are holes.
func paint(l eval.Labels, id int32, area orb.MultiPolygon) error {
	m, err := sam.MaskFromPolygons(sam.Size{H: l.H, W: l.W}, area)
	if err != nil {
		return err
	}
	for r := range m.Runs() {
		row := l.Pix[r.Y*l.W+r.X0 : r.Y*l.W+r.X1]
		for i := range row {
			row[i] = id
		}
	}
	return nil
}

// paintAll numbers outlines from 1, later ones over earlier ones.
func paintAll(h, w int, list []outline) (eval.Labels, error) {
	l := eval.NewLabels(sam.Size{H: h, W: w})
	for i, o := range list {
		if err := paint(l, int32(i+1), o.area); err != nil {
			return l, fmt.Errorf("%w: outline %s: %w", ErrFormat, o.id, err)
		}
	}
	return l, nil
}

// scaled returns the area in pixels of another size.
func scaled(area orb.MultiPolygon, f float64) orb.MultiPolygon {
	out := make(orb.MultiPolygon, len(area))
	for i, p := range area {
		out[i] = make(orb.Polygon, len(p))
		for j, r := range p {
			out[i][j] = make(orb.Ring, len(r))
			for k, v := range r {
				out[i][j][k] = orb.Point{v[0] * f, v[1] * f}
			}
		}
	}
	return out
}

func finite(v ...float64) bool {
	for _, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return false
		}
	}
	return true
}
