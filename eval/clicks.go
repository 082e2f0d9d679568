package eval

import (
	"fmt"
	"math"
)

// Clicks is the course of an interactive segmentation: IoU[i] is the IoU of
// the mask with the truth after i+1 clicks.
type Clicks struct{ IoU []float64 }

// Needed returns the number of clicks after which the IoU first reached the
// target, and whether it did; if not, the number is limit, as in the NoC
// metric of interactive segmentation.
func (c Clicks) Needed(target float64, limit int) (n int, reached bool) {
	for i, v := range c.IoU {
		if i >= limit {
			break
		}
		if v >= target {
			return i + 1, true
		}
	}
	return limit, false
}

// At returns the IoU after n clicks, n from 1. Past the last click that was
// made it stays what it was: simulations stop once nothing is left to correct.
// NaN if there was no click.
func (c Clicks) At(n int) float64 {
	if len(c.IoU) == 0 || n < 1 {
		return math.NaN()
	}
	return c.IoU[min(n, len(c.IoU))-1]
}

// NoC is the number of clicks summed up over instances or pictures.
type NoC struct {
	Target  float64
	Limit   int
	N       int     // courses
	Mean    float64 // clicks, a course that never reached the target counting Limit
	Failed  int     // courses that never reached it
	Reached int
}

// NumberOfClicks returns NoC@target over courses. The mean is NaN without any.
func NumberOfClicks(cs []Clicks, target float64, limit int) (NoC, error) {
	if limit < 1 {
		return NoC{}, fmt.Errorf("eval: number of clicks: limit %d, want at least 1", limit)
	}
	out := NoC{Target: target, Limit: limit, N: len(cs), Mean: math.NaN()}
	sum := 0
	for _, c := range cs {
		n, ok := c.Needed(target, limit)
		sum += n
		if ok {
			out.Reached++
		} else {
			out.Failed++
		}
	}
	if len(cs) > 0 {
		out.Mean = float64(sum) / float64(len(cs))
	}
	return out, nil
}

// ClickCurve returns the mean IoU after 1 to limit clicks over courses.
func ClickCurve(cs []Clicks, limit int) []float64 {
	out := make([]float64, max(limit, 0))
	for i := range out {
		sum, n := 0.0, 0
		for _, c := range cs {
			if v := c.At(i + 1); !math.IsNaN(v) {
				sum += v
				n++
			}
		}
		out[i] = EmptyNaN.Ratio(sum, float64(n))
	}
	return out
}
