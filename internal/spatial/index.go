// Package spatial finds rectangles of a plane that lie near one another.
//
//	x := spatial.NewIndex(256)
//	x.Add(0, image.Rect(10, 10, 40, 30))
//	x.Near(image.Rect(30, 20, 60, 60), func(id int) bool { ...; return true })
package spatial

import "image"

// Index holds rectangles by number, in buckets of equal squares. It is not
// safe for several goroutines.
type Index struct {
	cell    int
	buckets map[image.Point][]int
	seen    map[int]struct{}
}

// NewIndex returns an empty index whose buckets have sides of cell, at least
// 1: best about as large as the rectangles.
func NewIndex(cell int) *Index {
	return &Index{cell: max(cell, 1), buckets: map[image.Point][]int{}, seen: map[int]struct{}{}}
}

// Add puts rectangle r into the index as number id. Empty rectangles are
// found by none.
func (x *Index) Add(id int, r image.Rectangle) {
	x.each(r, func(p image.Point) bool {
		x.buckets[p] = append(x.buckets[p], id)
		return true
	})
}

// Remove takes number id, which was added with r, out of the index.
func (x *Index) Remove(id int, r image.Rectangle) {
	x.each(r, func(p image.Point) bool {
		b := x.buckets[p]
		for i, v := range b {
			if v == id {
				b[i] = b[len(b)-1]
				b = b[:len(b)-1]
				break
			}
		}
		if len(b) == 0 {
			delete(x.buckets, p)
		} else {
			x.buckets[p] = b
		}
		return true
	})
}

// Near calls f once for each number whose rectangle shares a bucket with r,
// in no order, until f returns false. All whose rectangles meet r are among
// them. It reports whether f never returned false. f must not call Near.
func (x *Index) Near(r image.Rectangle, f func(id int) bool) bool {
	clear(x.seen)
	return x.each(r, func(p image.Point) bool {
		for _, id := range x.buckets[p] {
			if _, twice := x.seen[id]; twice {
				continue
			}
			x.seen[id] = struct{}{}
			if !f(id) {
				return false
			}
		}
		return true
	})
}

// each calls f for the buckets of r until it returns false.
func (x *Index) each(r image.Rectangle, f func(p image.Point) bool) bool {
	if r.Empty() {
		return true
	}
	for j := floorDiv(r.Min.Y, x.cell); j <= floorDiv(r.Max.Y-1, x.cell); j++ {
		for i := floorDiv(r.Min.X, x.cell); i <= floorDiv(r.Max.X-1, x.cell); i++ {
			if !f(image.Pt(i, j)) {
				return false
			}
		}
	}
	return true
}

func floorDiv(a, b int) int {
	if a < 0 {
		return -((-a + b - 1) / b)
	}
	return a / b
}
