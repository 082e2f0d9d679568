package sam

import (
	"image"
	"sort"
)

// fate is what becomes of an object.
type fate uint8

const (
	fateOpen  fate = iota // it depends on objects still to come
	fateStays             // it is given on
	fateGone              // a better one, by predicted IoU, stands for it
)

// judge tells the objects' fates. Those that are free meet no object still to
// come.
func (s *seamMerger) judge(w []mergedObject, free []bool) []fate {
	fates, doubt := make([]fate, len(w)), make([]bool, len(w))
	order := make([]int, len(w))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return w[order[a]].iou > w[order[b]].iou })
	boxes := newRectIndex(w, s.plan.Tile)
	for _, i := range order {
		if fates[i] == fateGone {
			continue
		}
		if free[i] && !doubt[i] {
			fates[i] = fateStays
		}
		boxes.near(i, func(j int) {
			switch {
			case fates[j] == fateGone || w[j].iou > w[i].iou || w[j].iou == w[i].iou && j < i || !s.standsFor(&w[i], &w[j]):
			case fates[i] == fateStays:
				fates[j] = fateGone
			default:
				doubt[j] = true
			}
		})
	}
	return fates
}

// standsFor reports whether a makes b, which is no better, superfluous.
func (s *seamMerger) standsFor(a, b *mergedObject) bool {
	if s.plan.scale.Disjoint {
		return float64(a.mask.Intersection(b.mask)) > float64(min(a.mask.Area(), b.mask.Area()))/2
	}
	return a.tile != b.tile && a.mask.IoU(b.mask) > sameIoU
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
