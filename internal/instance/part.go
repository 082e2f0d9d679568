package instance

import (
	"cmp"
	"slices"
)

// pixel is one of the foreground's.
type pixel struct {
	foreground, boundary float32 // of the maps, as they came
	level                uint16  // of the smoothed distance to the boundary
	seed                 bool
}

// run is the foreground between two pixels of a row that are not.
type run struct {
	y, x0  int
	pixels []pixel
}

func (r *run) x1() int { return r.x0 + len(r.pixels) }

// part is what is known of an 8-connected part of the foreground: a set of
// runs that are joined with others as rows come.
type part struct {
	parent    *part // nil: a root
	runs      []run // in no order
	pixels    int
	top, last int // rows
	done      bool
}

func (p *part) root() *part {
	for p.parent != nil {
		if p.parent.parent != nil {
			p.parent = p.parent.parent
		}
		p = p.parent
	}
	return p
}

// unite joins two roots and returns the one that both have now.
func unite(a, b *part) *part {
	if len(a.runs) < len(b.runs) {
		a, b = b, a
	}
	b.parent = a
	a.runs = append(a.runs, b.runs...)
	a.pixels += b.pixels
	a.top = min(a.top, b.top)
	b.runs = nil
	return a
}

// sort brings the runs into the order of their pixels, row by row.
func (p *part) sort() {
	slices.SortFunc(p.runs, func(a, b run) int { return cmp.Or(a.y-b.y, a.x0-b.x0) })
}

// reach is a run of the last row and the part that it belongs to.
type reach struct {
	x0, x1 int
	of     *part
}

// join puts the runs of a row to the parts of the row above that they touch, or
// begins new ones. It returns the row's reaches from the left.
func (b *Bands) join(r *smoothRow, above []reach) []reach {
	var here []reach
	first := 0 // of the row above that the next run can touch
	b.runs(r, func(n run) {
		for first < len(above) && above[first].x1 < n.x0 {
			first++
		}
		var p *part
		for _, a := range above[first:] {
			if a.x0 > n.x1() {
				break
			}
			switch q := a.of.root(); {
			case p == nil:
				p = q
			case p != q:
				p = unite(p, q)
			}
		}
		if p == nil {
			p = &part{top: r.y}
		}
		p.runs = append(p.runs, n)
		p.pixels += len(n.pixels)
		p.last = r.y
		b.held += len(n.pixels)
		here = append(here, reach{n.x0, n.x1(), p})
	})
	return here
}

// runs hands on the runs of a row from the left.
func (b *Bands) runs(r *smoothRow, each func(run)) {
	in := func(x int) bool { return r.smooth[foreground][x] > b.o.ForegroundThreshold }
	for _, span := range r.spans { // nothing is foreground just beside one
		for x := span[0]; x < span[1]; x++ {
			if !in(x) {
				continue
			}
			x0 := x
			for x < span[1] && in(x) {
				x++
			}
			n := run{r.y, x0, make([]pixel, x-x0)}
			for i := range n.pixels {
				u := x0 + i
				v := r.smooth[boundary][u]
				n.pixels[i] = pixel{
					r.raw[foreground][u], r.raw[boundary][u], b.heights.level(v),
					r.smooth[centre][u] < b.o.CentreThreshold && v < b.o.BoundaryThreshold,
				}
			}
			each(n)
		}
	}
}
