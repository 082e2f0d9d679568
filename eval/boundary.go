package eval

import (
	"fmt"

	"github.com/slidesam/sam/eval/internal/edt"
)

// BoundaryCounts says how much of the outlines of instances lies near the
// outlines of the other picture. Add pools pictures.
type BoundaryCounts struct {
	True, TrueHit int64 // outline pixels of the truth, and those within tolerance of the prediction's
	Pred, PredHit int64
}

// CountBoundary compares the outlines of all instances, inner borders between
// touching instances included. An outline pixel is a pixel of an instance with
// a 4-neighbour of another number, or beyond the picture. Tolerance is in the
// unit of the spacing, and included. The error wraps ErrSize, or says what is
// wrong with the spacing.
//
// Definition: boundary F-measure of Martin et al. 2004 and Perazzi et al. 2016
// (DAVIS), with exact distances in place of a dilation and without one-to-one
// matching of pixels.
func CountBoundary(truth, pred Labels, tolerance float64, s Spacing) (BoundaryCounts, error) {
	s = s.orPixels()
	if err := checkLabels(truth, pred); err != nil {
		return BoundaryCounts{}, fmt.Errorf("eval: boundary: %w", err)
	}
	if err := s.check(); err != nil {
		return BoundaryCounts{}, fmt.Errorf("eval: boundary: %w", err)
	}
	te, pe := outlines(truth), outlines(pred)
	var t edt.Transform
	var c BoundaryCounts
	c.True, c.TrueHit = near(te, t.Squared(pe, truth.H, truth.W, s.X, s.Y), tolerance)
	c.Pred, c.PredHit = near(pe, t.Squared(te, truth.H, truth.W, s.X, s.Y), tolerance)
	return c, nil
}

func near(set []bool, d2 []float64, tolerance float64) (n, hit int64) {
	for i, v := range set {
		if v {
			n++
			if d2[i] <= tolerance*tolerance {
				hit++
			}
		}
	}
	return n, hit
}

func outlines(l Labels) []bool {
	out := make([]bool, len(l.Pix))
	w := l.W
	for i, v := range l.Pix {
		if v == 0 {
			continue
		}
		x := i % w
		out[i] = x == 0 || x == w-1 || i < w || i >= len(l.Pix)-w ||
			l.Pix[i-1] != v || l.Pix[i+1] != v || l.Pix[i-w] != v || l.Pix[i+w] != v
	}
	return out
}

// Add returns the counts of both pictures together.
func (c BoundaryCounts) Add(d BoundaryCounts) BoundaryCounts {
	return BoundaryCounts{c.True + d.True, c.TrueHit + d.TrueHit, c.Pred + d.Pred, c.PredHit + d.PredHit}
}

// Precision returns the part of the predicted outline near the true one.
func (c BoundaryCounts) Precision(e Empty) float64 {
	return e.Ratio(float64(c.PredHit), float64(c.Pred))
}

// Recall returns the part of the true outline near the predicted one.
func (c BoundaryCounts) Recall(e Empty) float64 {
	return e.Ratio(float64(c.TrueHit), float64(c.True))
}

// F returns the harmonic mean of precision and recall: 0 if only one side has
// an outline or none is near, e's score if neither has.
func (c BoundaryCounts) F(e Empty) float64 {
	if c.True == 0 && c.Pred == 0 {
		return e.Ratio(0, 0)
	}
	p, r := c.Precision(EmptyZero), c.Recall(EmptyZero)
	return EmptyZero.Ratio(2*p*r, p+r)
}
