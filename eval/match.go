package eval

import (
	"math"

	"github.com/slidesam/sam/eval/internal/assign"
)

// Counts is the outcome of matching instances one to one: how many were found,
// invented and missed, and the sum of the IoU of the found. Add pools the
// outcomes of several pictures, so that one Counts per picture gives both the
// pooled score and the mean over pictures.
type Counts struct {
	TP, FP, FN int
	SumIoU     float64
}

// Add returns the counts of both pictures together.
func (c Counts) Add(d Counts) Counts {
	return Counts{TP: c.TP + d.TP, FP: c.FP + d.FP, FN: c.FN + d.FN, SumIoU: c.SumIoU + d.SumIoU}
}

// Precision returns TP / (TP + FP).
func (c Counts) Precision(e Empty) float64 { return e.Ratio(float64(c.TP), float64(c.TP+c.FP)) }

// Recall returns TP / (TP + FN).
func (c Counts) Recall(e Empty) float64 { return e.Ratio(float64(c.TP), float64(c.TP+c.FN)) }

// F1 returns 2TP / (2TP + FP + FN). It is also the detection quality DQ.
func (c Counts) F1(e Empty) float64 {
	return e.Ratio(2*float64(c.TP), float64(2*c.TP+c.FP+c.FN))
}

// AP returns TP / (TP + FP + FN), which the cell literature calls average
// precision and StarDist calls accuracy.
func (c Counts) AP(e Empty) float64 { return e.Ratio(float64(c.TP), float64(c.TP+c.FP+c.FN)) }

// MeanMatched returns the mean IoU of the found instances.
func (c Counts) MeanMatched(e Empty) float64 { return e.Ratio(c.SumIoU, float64(c.TP)) }

// MeanTrue returns the sum of the IoU of the found over the true instances.
func (c Counts) MeanTrue(e Empty) float64 { return e.Ratio(c.SumIoU, float64(c.TP+c.FN)) }

// Matched is a true and a predicted instance that belong together.
type Matched struct {
	True, Pred int // indices into the Overlap's lists
	IoU        float64
}

// Match pairs true and predicted instances one to one so that as many pairs as
// possible reach an IoU of threshold, and among those pairings takes one with
// the largest sum of IoU over all pairs (below the threshold too, as StarDist
// does; where several are equally good, SumIoU below a threshold of 0.5 may
// depend on the choice). It returns the counts and the pairs that reach the
// threshold, which must be above 0.
//
// IoU is compared with >=, in float64. StarDist rounds IoU to float32 before
// it compares, and numpy.arange gives 0.6000000000000001 for 0.6: at an IoU of
// exactly a threshold the three may differ.
//
// Source: stardist.matching.matching, 0.9.2.
func (o *Overlap) Match(threshold float64) (Counts, []Matched) {
	if !(threshold > 0) {
		return Counts{TP: 0, FP: len(o.PredIDs), FN: len(o.TrueIDs)}, nil
	}
	if threshold > 0.5 {
		// more than half of the union: no instance can be in two such pairs
		var found []Matched
		for _, p := range o.Pairs {
			if iou := o.IoU(p); iou >= threshold {
				found = append(found, Matched{p.True, p.Pred, iou})
			}
		}
		return o.counts(found), found
	}
	n := min(len(o.TrueIDs), len(o.PredIDs))
	edges := make([]assign.Edge, len(o.Pairs))
	for i, p := range o.Pairs {
		iou := o.IoU(p)
		w := iou / float64(2*n)
		if iou >= threshold {
			w++
		}
		edges[i] = assign.Edge{Row: p.True, Col: p.Pred, Weight: w}
	}
	var found []Matched
	for _, m := range o.assigned(edges) {
		if m.IoU >= threshold {
			found = append(found, m)
		}
	}
	return o.counts(found), found
}

// matchIoU pairs instances one to one so that the sum of IoU is the largest.
func (o *Overlap) matchIoU() []Matched {
	edges := make([]assign.Edge, len(o.Pairs))
	for i, p := range o.Pairs {
		edges[i] = assign.Edge{Row: p.True, Col: p.Pred, Weight: o.IoU(p)}
	}
	return o.assigned(edges)
}

func (o *Overlap) assigned(edges []assign.Edge) []Matched {
	var out []Matched
	for t, p := range assign.Max(len(o.TrueIDs), len(o.PredIDs), edges) {
		if p >= 0 {
			out = append(out, Matched{t, p, o.IoU(o.pair(t, p))})
		}
	}
	return out
}

// pair returns the pair of the indices t and p; Inter is 0 if they do not touch.
func (o *Overlap) pair(t, p int) Pair {
	for _, q := range o.Pairs[o.truePairs[t]:o.truePairs[t+1]] {
		if q.Pred == p {
			return q
		}
	}
	return Pair{True: t, Pred: p}
}

func (o *Overlap) counts(found []Matched) Counts {
	c := Counts{TP: len(found), FP: len(o.PredIDs) - len(found), FN: len(o.TrueIDs) - len(found)}
	for _, m := range found {
		c.SumIoU += m.IoU
	}
	return c
}

// Thresholds returns the ten IoU thresholds 0.50, 0.55 ... 0.95, each the
// float64 nearest to its decimal.
func Thresholds() []float64 {
	out := make([]float64, 10)
	for i := range out {
		out[i] = float64(50+5*i) / 100
	}
	return out
}

// Segmentation is the matching of one picture at every threshold of
// Thresholds. Add pools pictures.
type Segmentation [10]Counts

// Segmentation matches at every threshold of Thresholds.
func (o *Overlap) Segmentation() Segmentation {
	var s Segmentation
	for i, t := range Thresholds() {
		s[i], _ = o.Match(t)
	}
	return s
}

// Add returns the counts of both pictures together, threshold by threshold.
func (s Segmentation) Add(d Segmentation) Segmentation {
	for i := range s {
		s[i] = s[i].Add(d[i])
	}
	return s
}

// MSA returns the mean segmentation accuracy: the mean of AP over the
// thresholds 0.5:0.05:0.95, as elf and micro-sam define it.
func (s Segmentation) MSA(e Empty) float64 {
	var sum float64
	for _, c := range s {
		sum += c.AP(e)
	}
	return sum / float64(len(s))
}

// SA returns AP at a threshold of Thresholds (SA50 is SA(0.5, e)), and NaN at
// any other.
func (s Segmentation) SA(threshold float64, e Empty) float64 {
	for i, t := range Thresholds() {
		if math.Abs(t-threshold) < 1e-9 {
			return s[i].AP(e)
		}
	}
	return math.NaN()
}
