package spatial

import (
	"image"
	"math"
	"sort"
)

// BoxNMS returns the indices of the boxes (x0, y0, x1, y1) that remain when
// each, by falling score, suppresses those after it whose IoU with it exceeds
// thresh. Boxes of equal score keep their order.
//
// As in torchvision, whose CPU code this follows, areas are (x1-x0)*(y1-y0)
// in float32, and boxes without an area suppress nothing: their IoU of 0/0
// exceeds no threshold.
//
// An index of the plane finds the boxes that meet, so that many small objects
// do not cost the square of their number.
func BoxNMS(boxes [][4]float32, scores []float32, thresh float64) []int {
	order := make([]int, len(boxes))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return scores[order[a]] > scores[order[b]] })
	side := float32(0) // the mean one
	for _, b := range boxes {
		side += (b[2] - b[0] + b[3] - b[1]) / 2 / float32(len(boxes))
	}
	kept := NewIndex(int(side))
	keep := make([]int, 0, len(order))
	for _, i := range order {
		r := meets(boxes[i])
		if kept.Near(r, func(j int) bool { return !(float64(boxIoU(boxes[j], boxes[i])) > thresh) }) {
			keep = append(keep, i)
			kept.Add(i, r)
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

// meets returns the pixels of a box, with those that it touches.
func meets(b [4]float32) image.Rectangle {
	return image.Rect(int(math.Floor(float64(b[0]))), int(math.Floor(float64(b[1]))), int(math.Floor(float64(b[2])))+1, int(math.Floor(float64(b[3])))+1)
}
