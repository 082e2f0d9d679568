package sam

import "sort"

// boxNMS returns the indices of the boxes (x0, y0, x1, y1) that remain when
// each, by falling score, suppresses those after it whose IoU with it exceeds
// thresh. Boxes of equal score keep their order.
//
// As in torchvision, whose CPU code this follows, areas are (x1-x0)*(y1-y0)
// in float32, and boxes without an area suppress nothing: their IoU of 0/0
// exceeds no threshold.
//
// A grid over the plane finds the boxes that meet, so that many small objects
// do not cost the square of their number.
func boxNMS(boxes [][4]float32, scores []float32, thresh float64) []int {
	order := make([]int, len(boxes))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return scores[order[a]] > scores[order[b]] })
	idx := newBoxIndex(boxes)
	keep := make([]int, 0, len(order))
	for _, i := range order {
		suppressed := idx.any(boxes[i], func(j int) bool { return float64(boxIoU(boxes[j], boxes[i])) > thresh })
		if !suppressed {
			keep = append(keep, i)
			idx.add(i)
		}
	}
	return keep
}

// boxIoU is torchvision's, with NaN for two boxes without an area.
func boxIoU(a, b [4]float32) float32 {
	w := max(0, min(a[2], b[2])-max(a[0], b[0]))
	h := max(0, min(a[3], b[3])-max(a[1], b[1]))
	inter := w * h
	areaA, areaB := (a[2]-a[0])*(a[3]-a[1]), (b[2]-b[0])*(b[3]-b[1])
	sum := areaA + areaB
	return inter / (sum - inter)
}

// boxIndex is a grid of buckets over the boxes that were kept.
type boxIndex struct {
	boxes      [][4]float32
	x0, y0     float32
	cell       float32
	cols, rows int
	buckets    [][]int32
	seen       []int32 // the last query that met each box
	query      int32
}

func newBoxIndex(boxes [][4]float32) *boxIndex {
	x := &boxIndex{boxes: boxes, cell: 1, cols: 1, rows: 1, seen: make([]int32, len(boxes))}
	if len(boxes) > 0 {
		lo, hi := boxes[0], boxes[0]
		mean := float32(0)
		for _, b := range boxes {
			for c := range 2 {
				lo[c], hi[c+2] = min(lo[c], b[c]), max(hi[c+2], b[c+2])
			}
			mean += (b[2] - b[0] + b[3] - b[1]) / 2 / float32(len(boxes))
		}
		// Cells as wide as a box, and no more than 256 x 256 of them.
		x.x0, x.y0 = lo[0], lo[1]
		x.cell = max(mean, (hi[2]-lo[0])/256, (hi[3]-lo[1])/256, 1)
		x.cols, x.rows = int((hi[2]-lo[0])/x.cell)+1, int((hi[3]-lo[1])/x.cell)+1
	}
	x.buckets = make([][]int32, x.cols*x.rows)
	return x
}

// cells calls f for the buckets that b touches until f returns true.
func (x *boxIndex) cells(b [4]float32, f func(k int) bool) bool {
	c0, c1 := int((b[0]-x.x0)/x.cell), int((b[2]-x.x0)/x.cell)
	r0, r1 := int((b[1]-x.y0)/x.cell), int((b[3]-x.y0)/x.cell)
	for r := max(r0, 0); r <= min(r1, x.rows-1); r++ {
		for c := max(c0, 0); c <= min(c1, x.cols-1); c++ {
			if f(r*x.cols + c) {
				return true
			}
		}
	}
	return false
}

func (x *boxIndex) add(i int) {
	x.cells(x.boxes[i], func(k int) bool {
		x.buckets[k] = append(x.buckets[k], int32(i))
		return false
	})
}

// any reports whether f is true for a box in the index that may meet b.
func (x *boxIndex) any(b [4]float32, f func(j int) bool) bool {
	x.query++
	return x.cells(b, func(k int) bool {
		for _, j := range x.buckets[k] {
			if x.seen[j] == x.query {
				continue
			}
			x.seen[j] = x.query
			if f(int(j)) {
				return true
			}
		}
		return false
	})
}
