package sam

// Clip returns the part of the box that lies in a picture of size s, and false
// if there is none: the box is beside the picture, its corners are in the wrong
// order, or a number is NaN. A box at the edge may have no width or height.
// [Model.Predict] takes no box outside the picture.
func (b Box) Clip(s Size) (Box, bool) {
	w, h := float64(s.W), float64(s.H)
	if !(b.X0 <= b.X1 && b.Y0 <= b.Y1 && b.X0 <= w && b.Y0 <= h && b.X1 >= 0 && b.Y1 >= 0) {
		return Box{}, false
	}
	return Box{X0: max(b.X0, 0), Y0: max(b.Y0, 0), X1: min(b.X1, w), Y1: min(b.Y1, h)}, true
}

// finderTolerance is how many pixels outside the picture a finder's prompts may
// lie: detectors round, and their boxes reach over the edge.
const finderTolerance = 2.0

// clipNear returns the prompts with points and boxes that lie outside the
// picture by at most finderTolerance brought to its edge, and how many were.
// Others are as they were, for Predict to refuse.
func clipNear(ps []Prompt, s Size) ([]Prompt, int) {
	out, n := ps, 0
	for i, p := range ps {
		q, moved := p.clipNear(s)
		if !moved {
			continue
		}
		if n == 0 {
			out = append([]Prompt(nil), ps...)
		}
		out[i] = q
		n++
	}
	return out, n
}

func (p Prompt) clipNear(s Size) (Prompt, bool) {
	moved := false
	near := func(x, y float64) (float64, float64) {
		cx, cy := min(max(x, 0), float64(s.W)), min(max(y, 0), float64(s.H))
		if (cx != x || cy != y) && max(cx-x, x-cx, cy-y, y-cy) <= finderTolerance {
			moved = true
			return cx, cy
		}
		return x, y
	}
	points := append([]Point(nil), p.Points...)
	for i, pt := range points {
		points[i].X, points[i].Y = near(pt.X, pt.Y)
	}
	var box *Box
	if p.Box != nil {
		b := *p.Box
		b.X0, b.Y0 = near(b.X0, b.Y0)
		b.X1, b.Y1 = near(b.X1, b.Y1)
		box = &b
	}
	if moved {
		p.Points, p.Box = points, box
	}
	return p, moved
}
