package eval

import (
	"fmt"
	"math"

	"github.com/slidesam/sam"
)

// PQConvention says whose small constants enter panoptic quality.
type PQConvention uint8

const (
	// PQExact has none: DQ = TP/(TP+FP/2+FN/2), SQ = SumIoU/TP, PQ = DQ x SQ.
	// Where DQ is 0 because nothing was found, so is PQ.
	PQExact PQConvention = iota
	// PQHoVerNet adds 1e-6 beneath SQ: get_fast_pq of hover_net and PanNuke.
	PQHoVerNet
	// PQCoNIC adds 1e-6 beneath SQ and DQ: the challenge's pooled mPQ+.
	PQCoNIC
	// PQMONAI adds 1e-6 beneath each of the three, and PQ is not the product:
	// SumIoU/(TP+FP/2+FN/2+1e-6).
	PQMONAI
)

// Panoptic matches instances for panoptic quality: pairs with an IoU above the
// threshold (strictly, unlike Match). Below a threshold of 0.5 pairs are
// assigned one to one with the largest sum of IoU first.
//
// Source: get_fast_pq, stats_utils.py, hover_net 039b6441.
func (o *Overlap) Panoptic(threshold float64) Counts {
	var found []Matched
	if threshold >= 0.5 {
		for _, p := range o.Pairs {
			if iou := o.IoU(p); iou > threshold {
				found = append(found, Matched{p.True, p.Pred, iou})
			}
		}
		return o.counts(found)
	}
	for _, m := range o.matchIoU() {
		if m.IoU > threshold {
			found = append(found, m)
		}
	}
	return o.counts(found)
}

// DQ returns the detection quality TP / (TP + FP/2 + FN/2), which is F1.
func (c Counts) DQ(e Empty) float64 { return c.F1(e) }

// SQ returns the segmentation quality, the mean IoU of the found instances.
// If there are instances but none was found it is 0.
func (c Counts) SQ(e Empty) float64 {
	if c.TP == 0 && c.FP+c.FN > 0 {
		return 0
	}
	return c.MeanMatched(e)
}

// PQ returns the panoptic quality DQ x SQ.
func (c Counts) PQ(e Empty) float64 {
	return e.Ratio(2*c.SumIoU, float64(2*c.TP+c.FP+c.FN))
}

// Panoptic returns detection, segmentation and panoptic quality as the named
// program computes them. PQMONAI and PQCoNIC give 0 where there is nothing,
// since their denominators are never 0; e decides for the others.
func (c Counts) Panoptic(p PQConvention, e Empty) (dq, sq, pq float64) {
	const eps = 1e-6
	tp, half := float64(c.TP), float64(c.FP)/2+float64(c.FN)/2
	switch p {
	case PQHoVerNet:
		dq, sq = e.Ratio(tp, tp+half), c.SumIoU/(tp+eps)
		if c.TP+c.FP+c.FN == 0 {
			sq = e.Ratio(0, 0)
		}
		return dq, sq, dq * sq
	case PQCoNIC:
		dq, sq = tp/(tp+half+eps), c.SumIoU/(tp+eps)
		return dq, sq, dq * sq
	case PQMONAI:
		return tp / (tp + half + eps), c.SumIoU / (tp + eps), c.SumIoU / (tp + half + eps)
	}
	return c.DQ(e), c.SQ(e), c.PQ(e)
}

// Instances is a picture of instances of several classes.
type Instances struct {
	Labels
	Class map[int32]int // instance number to class, 0 <= class; absent: no class
}

// ClassCounts holds the counts of each class for one picture or many.
type ClassCounts []Counts

// CountClasses matches the instances of each of n classes apart from the
// others (an instance of the wrong class is both missed and invented), for
// mPQ and mPQ+. Threshold is as for Panoptic. The error wraps ErrSize or
// ErrLabel.
func CountClasses(truth, pred Instances, n int, threshold float64) (ClassCounts, error) {
	if err := checkLabels(truth.Labels, pred.Labels); err != nil {
		return nil, fmt.Errorf("eval: count classes: %w", err)
	}
	out := make(ClassCounts, n)
	for c := range out {
		o, err := NewOverlap(truth.only(c), pred.only(c))
		if err != nil {
			return nil, err
		}
		out[c] = o.Panoptic(threshold)
	}
	return out, nil
}

func (s Instances) only(class int) Labels {
	keep := make(map[int32]bool, len(s.Class))
	for id, c := range s.Class {
		keep[id] = c == class
	}
	l := NewLabels(sam.Size{H: s.H, W: s.W})
	for i, v := range s.Pix {
		if v != 0 && keep[v] {
			l.Pix[i] = v
		}
	}
	return l
}

// Add returns the counts of both pictures together, class by class. A shorter
// list is taken to have no instances of the classes it lacks.
func (c ClassCounts) Add(d ClassCounts) ClassCounts {
	out := make(ClassCounts, max(len(c), len(d)))
	copy(out, c)
	for i, x := range d {
		out[i] = out[i].Add(x)
	}
	return out
}

// MPQ returns PanNuke's multi-class panoptic quality of one picture: the mean
// of PQ over the classes that the truth has. A class only predicted is not
// counted, as in the published script. NaN if the truth has no instance.
func (c ClassCounts) MPQ() float64 {
	var sum float64
	n := 0
	for _, x := range c {
		if x.TP+x.FN > 0 {
			_, _, pq := x.Panoptic(PQHoVerNet, EmptyNaN)
			sum += pq
			n++
		}
	}
	if n == 0 {
		return math.NaN()
	}
	return sum / float64(n)
}

// MPQPlus returns mPQ+ of the CoNIC challenge: c are the counts pooled over
// all pictures; the mean of PQ over all classes, a class that never occurs
// counting 0.
func (c ClassCounts) MPQPlus() float64 {
	if len(c) == 0 {
		return math.NaN()
	}
	var sum float64
	for _, x := range c {
		_, _, pq := x.Panoptic(PQCoNIC, EmptyZero)
		sum += pq
	}
	return sum / float64(len(c))
}
