package sam

import (
	"image"
	"sort"
)

// duplicates tells which objects a better one, by predicted IoU, stands for.
func (s *seamMerger) duplicates(w []mergedObject) []bool {
	gone := make([]bool, len(w))
	order := make([]int, len(w))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return w[order[a]].iou > w[order[b]].iou })
	boxes := newRectIndex(w, s.plan.Tile)
	for _, i := range order {
		if gone[i] {
			continue
		}
		boxes.near(i, func(j int) {
			switch {
			case gone[j] || w[j].iou > w[i].iou || w[j].iou == w[i].iou && j < i:
			case s.plan.scale.Disjoint:
				gone[j] = float64(w[i].mask.Intersection(w[j].mask)) > float64(min(w[i].mask.Area(), w[j].mask.Area()))/2
			case w[i].tile != w[j].tile:
				gone[j] = w[i].mask.IoU(w[j].mask) > sameIoU
			}
		})
	}
	return gone
}

// rectIndex finds objects whose rectangles may meet, by buckets.
type rectIndex struct {
	cell    int
	boxes   []image.Rectangle
	buckets map[image.Point][]int
}

func newRectIndex(w []mergedObject, cell int) *rectIndex {
	x := &rectIndex{cell: max(cell/4, 1), buckets: map[image.Point][]int{}}
	for i, o := range w {
		x.boxes = append(x.boxes, o.mask.Bounds())
		x.each(x.boxes[i], func(p image.Point) { x.buckets[p] = append(x.buckets[p], i) })
	}
	return x
}

func (x *rectIndex) each(r image.Rectangle, f func(image.Point)) {
	for j := r.Min.Y / x.cell; j <= (r.Max.Y-1)/x.cell; j++ {
		for i := r.Min.X / x.cell; i <= (r.Max.X-1)/x.cell; i++ {
			f(image.Pt(i, j))
		}
	}
}

// near calls f for each other object whose rectangle overlaps that of i, in
// order.
func (x *rectIndex) near(i int, f func(j int)) {
	seen := map[int]bool{}
	var js []int
	x.each(x.boxes[i], func(p image.Point) {
		for _, j := range x.buckets[p] {
			if j != i && !seen[j] && x.boxes[j].Overlaps(x.boxes[i]) {
				seen[j] = true
				js = append(js, j)
			}
		}
	})
	sort.Ints(js)
	for _, j := range js {
		f(j)
	}
}
