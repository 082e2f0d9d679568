package mask

import (
	"cmp"
	"slices"

	"github.com/paulmach/orb"
)

// Polygons returns the mask's outlines along the edges of its pixels: exactly
// the mask's area, no corner cut. [FromPolygons] gives the mask back.
//
// Coordinates are pixel corners: pixel (x, y) is the square from (x, y) to
// (x+1, y+1). Each polygon is one 4-connected part of the mask, its first ring
// the outline, the others the holes, which are 8-connected parts of the rest;
// pixels that touch at a corner only belong to different polygons. Rings are
// closed, simple and have a vertex only where they turn; where the mask
// touches itself at a corner, rings share that point. So every polygon is
// valid in the sense of OGC and JTS.
//
// Outlines have a positive and holes a negative area by the shoelace formula
// on the numbers as they are: RFC 7946's right-hand rule. On a screen, where y
// points down, outlines therefore run clockwise. Polygons are ordered by their
// topmost, then leftmost pixel, and so are the holes of each by their own. The
// same mask gives the same rings.
//
// The result is empty if the mask is. Time and memory grow with the number of
// runs, not with the area.
func (m *Mask) Polygons() orb.MultiPolygon {
	if m.Area() == 0 {
		return nil
	}
	return newTracer(m).polygons()
}

// tracer follows the vertical edges of a mask's runs. Each run of a row has
// two: its left one, walked upwards, and its right one, walked downwards, so
// that pixels lie on the right hand. Edges are numbered row by row from left
// to right: even ones are left, odd ones right.
type tracer struct {
	y0   int     // first row
	rows []int   // [rows+1] first edge of each row
	x, y []int32 // column and row of each edge
	next []int32 // the edge that follows on the outline
	part []int32 // of each run: its part of the mask, by union-find
	flag []uint8 // of each edge
	ring []point // scratch
	seen map[point]int
}

type point struct{ x, y int32 }

// Flags of an edge.
const (
	walked     = 1 << iota
	startCross // at its start, two pixels touch at a corner only
	endCross   // at its end they do
)

func newTracer(m *Mask) *tracer {
	t := &tracer{y0: m.box.Min.Y, rows: make([]int, 1, m.box.Dy()+1), seen: map[point]int{}}
	for r := range m.Runs() {
		for len(t.rows) <= r.Y-t.y0 {
			t.rows = append(t.rows, len(t.x))
		}
		t.x = append(t.x, int32(r.X0), int32(r.X1))
		t.y = append(t.y, int32(r.Y), int32(r.Y))
	}
	for len(t.rows) <= m.box.Dy() {
		t.rows = append(t.rows, len(t.x))
	}
	t.next = make([]int32, len(t.x))
	t.flag = make([]uint8, len(t.x))
	t.part = make([]int32, len(t.x)/2)
	for i := range t.part {
		t.part[i] = int32(i)
	}
	for y := 0; y <= m.box.Dy(); y++ {
		above, below := t.edges(y-1), t.edges(y)
		t.link(above, below)
		t.connect(above, below)
	}
	return t
}

// span is a range of edges.
type span struct{ first, end int }

// edges returns the edges of the row that lies y below the first.
func (t *tracer) edges(y int) span {
	if y < 0 || y+1 >= len(t.rows) {
		return span{}
	}
	return span{t.rows[y], t.rows[y+1]}
}

// link joins the edges of two rows along the line between them.
//
// On that line the outline runs wherever exactly one of the rows has a pixel.
// At each column where a row has an edge, at most one edge arrives from either
// side; where both rows change and in opposite ways, two pixels touch at a
// corner only, and the outline turns right, to stay with its own pixel.
func (t *tracer) link(above, below span) {
	from := int32(-1) // edge that arrived and goes on to the right
	to := int32(-1)   // edge that a walk from the right will continue with
	a, b := above.first, below.first
	for a < above.end || b < below.end {
		switch {
		case b == below.end || a < above.end && t.x[a] < t.x[b]:
			inBelow := (b-below.first)&1 == 1
			left := (a-above.first)&1 == 0
			switch {
			case left && !inBelow: // bottom edge of above begins: walked from the right, then up
				to = int32(a)
			case left: // top edge of below ends, up
				t.next[from] = int32(a)
			case !inBelow: // bottom edge of above ends: down to here, then left
				t.next[a] = to
			default: // top edge of below begins: down to here, then right
				from = int32(a)
			}
			a++
		case a == above.end || t.x[b] < t.x[a]:
			inAbove := (a-above.first)&1 == 1
			left := (b-below.first)&1 == 0
			switch {
			case left && !inAbove: // top edge of below begins: up to here, then right
				from = int32(b)
			case left: // bottom edge of above ends: up to here, then left
				t.next[b] = to
			case !inAbove: // top edge of below ends, down
				t.next[from] = int32(b)
			default: // bottom edge of above begins: walked from the right, then down
				to = int32(b)
			}
			b++
		default: // both rows change in this column
			leftA, leftB := (a-above.first)&1 == 0, (b-below.first)&1 == 0
			switch {
			case leftA && leftB: // straight up
				t.next[b] = int32(a)
			case !leftA && !leftB: // straight down
				t.next[a] = int32(b)
			case leftB: // above ends, below begins
				t.flag[a] |= endCross
				t.flag[b] |= endCross
				t.next[a] = to
				from = int32(b)
			default: // above begins, below ends
				t.flag[a] |= startCross
				t.flag[b] |= startCross
				t.next[from] = int32(b)
				to = int32(a)
			}
			a, b = a+1, b+1
		}
	}
}

// connect joins the parts of runs that share an edge between two rows.
func (t *tracer) connect(above, below span) {
	for a, b := above.first, below.first; a < above.end && b < below.end; {
		if max(t.x[a], t.x[b]) < min(t.x[a+1], t.x[b+1]) {
			p, q := t.root(int32(a/2)), t.root(int32(b/2))
			t.part[max(p, q)] = min(p, q)
		}
		if t.x[a+1] <= t.x[b+1] {
			a += 2
		} else {
			b += 2
		}
	}
}

func (t *tracer) root(i int32) int32 {
	for t.part[i] != i {
		t.part[i] = t.part[t.part[i]]
		i = t.part[i]
	}
	return i
}

// polygons walks all edges.
func (t *tracer) polygons() orb.MultiPolygon {
	var out orb.MultiPolygon
	index := map[int32]int{} // of each part in out
	for e := range t.x {
		if t.flag[e]&walked != 0 {
			continue
		}
		root := t.root(int32(e / 2))
		i, ok := index[root]
		if !ok {
			// Edges come in the order of rows and columns, so this is the left
			// edge of the part's topmost, leftmost pixel.
			i = len(out)
			index[root] = i
			out = append(out, orb.Polygon{nil})
		}
		t.walk(int32(e), func(r orb.Ring) {
			if area2(r) > 0 {
				out[i][0] = r
			} else {
				out[i] = append(out[i], r)
			}
		})
	}
	for _, p := range out {
		slices.SortFunc(p[1:], func(a, b orb.Ring) int {
			return cmp.Or(cmp.Compare(a[0][1], b[0][1]), cmp.Compare(a[0][0], b[0][0]))
		})
	}
	return out
}

// walk follows the outline from edge e and calls emit for each simple ring of
// it. The outline meets itself only at corners where two pixels touch; there
// the loop in between is taken out as a ring of its own.
func (t *tracer) walk(e int32, emit func(orb.Ring)) {
	ring, seen := t.ring[:0], t.seen
	clear(seen)
	add := func(p point, cross bool) {
		if cross {
			if at, ok := seen[p]; ok {
				emit(closedRing(ring[at:]))
				ring = ring[:at]
			}
			seen[p] = len(ring)
		}
		ring = append(ring, p)
	}
	for t.flag[e]&walked == 0 {
		t.flag[e] |= walked
		n := t.next[e]
		if t.x[n] != t.x[e] {
			// A left edge is left at its upper end, a right one at its lower end.
			line := t.y[e] + e&1
			add(point{t.x[e], line}, t.flag[e]&endCross != 0)
			add(point{t.x[n], line}, t.flag[n]&startCross != 0)
		}
		e = n
	}
	emit(closedRing(ring))
	t.ring = ring
}

// closedRing returns the points from the topmost, then leftmost one on.
func closedRing(p []point) orb.Ring {
	start := 0
	for i, q := range p {
		if q.y < p[start].y || q.y == p[start].y && q.x < p[start].x {
			start = i
		}
	}
	r := make(orb.Ring, 0, len(p)+1)
	for i := range p {
		q := p[(start+i)%len(p)]
		r = append(r, orb.Point{float64(q.x), float64(q.y)})
	}
	return append(r, r[0])
}

// area2 returns twice the signed area of a closed ring.
func area2(r orb.Ring) float64 {
	sum := 0.0
	for i := 1; i < len(r); i++ {
		sum += r[i-1][0]*r[i][1] - r[i][0]*r[i-1][1]
	}
	return sum
}
