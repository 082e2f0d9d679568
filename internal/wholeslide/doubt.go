package wholeslide

import (
	"fmt"
	"math"
)

// Bounds of what outlines of nuclei look like: medians over all of a scale.
const (
	doubtLeast      = 20   // objects, to judge by
	nucleusSmallest = 12.0 // square micrometres
	nucleusLargest  = 200.0
	nucleusPixels   = 2000 // where the resolution is unknown: the model does not see larger ones
	doubtIoU        = 0.55 // predicted
)

// sizes counts objects of a scale by area and by predicted IoU, in little
// memory.
type sizes struct {
	n    int
	area [256]int // by an eighth of the binary logarithm, in pixels of the scale
	iou  [101]int
}

func (c *sizes) add(m found) {
	c.n++
	c.area[min(int(8*math.Log2(float64(max(m.Mask.Area(), 1)))), len(c.area)-1)]++
	c.iou[min(max(int(100*m.IoUPred), 0), 100)]++
}

// medians returns the median area in pixels, to an eighth of its binary
// logarithm, and predicted IoU.
func (c *sizes) medians() (area, iou float64) {
	middle := func(h []int) int {
		left := c.n / 2
		for v, n := range h {
			if left -= n; left < 0 {
				return v
			}
		}
		return 0
	}
	return math.Exp2((float64(middle(c.area[:])) + 0.5) / 8), float64(middle(c.iou[:])) / 100
}

// doubts says why a scale's outlines may be none, nothing if nothing is odd.
func (c *sizes) doubts(q *scalePlan) []string {
	if c.n < doubtLeast {
		return nil
	}
	var out []string
	area, iou := c.medians()
	um2 := area * q.mpp * q.mpp
	switch {
	case !q.Nuclei:
	case q.mpp > 0 && (um2 < nucleusSmallest || um2 > nucleusLargest):
		out = append(out, fmt.Sprintf("half of the objects have less than %.3g square micrometres, and nuclei have %g to %g: the outlines are no nuclei, or the resolution is wrong: give it with -slide-mpp", um2, nucleusSmallest, nucleusLargest))
	case q.mpp == 0 && area > nucleusPixels:
		out = append(out, fmt.Sprintf("half of the objects have more than %.3g pixels, which is much for nuclei: give the resolution with -slide-mpp", area))
	}
	if iou < doubtIoU {
		out = append(out, fmt.Sprintf("half of the objects have a predicted IoU below %.2g: the model is not sure of them; look at the outlines before you count them", iou))
	}
	return out
}
