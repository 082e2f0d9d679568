package eval

import (
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/slidesam/sam/eval/internal/region"
)

// ObjectDice returns the object-level Dice of the GlaS challenge: the Dice of
// each true instance with the prediction that covers most of it (the lowest
// number on ties), 0 if none does, weighted by area; the same from the
// prediction's side; and the mean of the two. It is 0 if only one side has
// instances; if neither has, e decides.
//
// Source: Sirinukunwattana et al. 2017, equations 4 and 5.
func (o *Overlap) ObjectDice(e Empty) float64 {
	if len(o.TrueIDs)+len(o.PredIDs) == 0 {
		return e.Ratio(0, 0)
	}
	bestPred, bestTrue := o.largest()
	dice := func(p Pair) float64 {
		return 2 * float64(p.Inter) / float64(o.TrueArea[p.True]+o.PredArea[p.Pred])
	}
	return (weighted(bestPred, o.TrueArea, dice) + weighted(bestTrue, o.PredArea, dice)) / 2
}

func weighted(best []Pair, area []int64, score func(Pair) float64) float64 {
	var sum, total float64
	for i, p := range best {
		total += float64(area[i])
		if p.Inter > 0 {
			sum += float64(area[i]) * score(p)
		}
	}
	return EmptyZero.Ratio(sum, total)
}

// largest returns for each true instance its pair with the largest
// intersection, and the same for each prediction. Inter is 0 where there is
// none.
func (o *Overlap) largest() (ofTrue, ofPred []Pair) {
	ofTrue, ofPred = make([]Pair, len(o.TrueIDs)), make([]Pair, len(o.PredIDs))
	for _, p := range o.Pairs {
		if p.Inter > ofTrue[p.True].Inter {
			ofTrue[p.True] = p
		}
		if p.Inter > ofPred[p.Pred].Inter {
			ofPred[p.Pred] = p
		}
	}
	return ofTrue, ofPred
}

// ObjectHausdorff returns the object-level Hausdorff distance of the GlaS
// challenge in the unit of the spacing: the distance between each true
// instance, as a set of pixels, and the prediction that covers most of it, or
// else the nearest by the same distance (the lowest number on ties); weighted
// by area; the same from the prediction's side; and the mean of the two. It is
// +Inf if only one side has instances; if neither has, e decides. The error
// wraps ErrSize or ErrLabel, or says what is wrong with the spacing.
//
// Source: Sirinukunwattana et al. 2017, equations 6 and 7.
func ObjectHausdorff(truth, pred Labels, s Spacing, e Empty) (float64, error) {
	s = s.orPixels()
	if err := s.check(); err != nil {
		return 0, fmt.Errorf("eval: object hausdorff: %w", err)
	}
	o, err := NewOverlap(truth, pred)
	if err != nil {
		return 0, err
	}
	switch {
	case len(o.TrueIDs)+len(o.PredIDs) == 0:
		return e.distance(), nil
	case len(o.TrueIDs) == 0 || len(o.PredIDs) == 0:
		return math.Inf(1), nil
	}
	m := objectMeter{
		truth: takeApart(truth), pred: takeApart(pred),
		points: pointMeter{spacing: s}, known: map[[2]int]float64{},
	}
	bestPred, bestTrue := o.largest()
	var sum [2]float64
	var total [2]float64
	for t, p := range bestPred {
		d := 0.0
		if p.Inter > 0 {
			d = m.distance(t, p.Pred)
		} else {
			d = m.nearest(m.truth.regions[t], m.pred.regions, func(p int) float64 { return m.distance(t, p) })
		}
		sum[0] += float64(o.TrueArea[t]) * d
		total[0] += float64(o.TrueArea[t])
	}
	for p, q := range bestTrue {
		d := 0.0
		if q.Inter > 0 {
			d = m.distance(q.True, p)
		} else {
			d = m.nearest(m.pred.regions[p], m.truth.regions, func(t int) float64 { return m.distance(t, p) })
		}
		sum[1] += float64(o.PredArea[p]) * d
		total[1] += float64(o.PredArea[p])
	}
	return (sum[0]/total[0] + sum[1]/total[1]) / 2, nil
}

type objectMeter struct {
	truth, pred *instances
	points      pointMeter
	known       map[[2]int]float64
	outside     []int32
}

// distance returns the Hausdorff distance of the pixel sets of true instance t
// and predicted instance p. The point of a set that is nearest to a point
// outside of it lies on its outline.
func (m *objectMeter) distance(t, p int) float64 {
	key := [2]int{t, p}
	if d, ok := m.known[key]; ok {
		return d
	}
	box := m.truth.regions[t].Box.Union(m.pred.regions[p].Box)
	w := m.truth.l.W
	far := m.points.farthest(m.without(m.truth.of(t), m.pred.l.Pix, m.pred.regions[p].ID), m.pred.edges(p), w, box, 0)
	far = m.points.farthest(m.without(m.pred.of(p), m.truth.l.Pix, m.truth.regions[t].ID), m.truth.edges(t), w, box, far)
	d := math.Sqrt(far)
	m.known[key] = d
	return d
}

// without returns the pixels that do not have the number id in other.
func (m *objectMeter) without(pixels, other []int32, id int32) []int32 {
	m.outside = m.outside[:0]
	for _, i := range pixels {
		if other[i] != id {
			m.outside = append(m.outside, i)
		}
	}
	return m.outside
}

// nearest returns the smallest distance to any of the others. No side of two
// boxes can differ by more than the Hausdorff distance, which spares most
// measurements.
func (m *objectMeter) nearest(r region.Region, others []region.Region, distance func(int) float64) float64 {
	type candidate struct {
		i     int
		bound float64
	}
	cs := make([]candidate, len(others))
	for i, q := range others {
		dx := max(abs(r.Box.Min.X-q.Box.Min.X), abs(r.Box.Max.X-q.Box.Max.X))
		dy := max(abs(r.Box.Min.Y-q.Box.Min.Y), abs(r.Box.Max.Y-q.Box.Max.Y))
		cs[i] = candidate{i, max(float64(dx)*m.points.spacing.X, float64(dy)*m.points.spacing.Y)}
	}
	slices.SortFunc(cs, func(a, b candidate) int {
		if a.bound != b.bound {
			if a.bound < b.bound {
				return -1
			}
			return 1
		}
		return a.i - b.i
	})
	best := math.Inf(1)
	for _, c := range cs {
		if c.bound > best {
			break
		}
		best = min(best, distance(c.i))
	}
	return best
}

func abs(a int) int { return max(a, -a) }

// MatchedSurfaces measures the outlines of matched instances, each pair apart
// from the others. Matches are those of o, which must be the
// overlap of the same two pictures. Errors are as for NewSurface.
func MatchedSurfaces(truth, pred Labels, o *Overlap, matches []Matched, c SurfaceConvention, s Spacing) ([]*Surface, error) {
	s = s.orPixels()
	if err := checkLabels(truth, pred); err != nil {
		return nil, fmt.Errorf("eval: matched surfaces: %w", err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("eval: matched surfaces: %w", err)
	}
	tr, pr := takeApart(truth), takeApart(pred)
	if len(tr.regions) != len(o.TrueIDs) || len(pr.regions) != len(o.PredIDs) {
		return nil, fmt.Errorf("eval: matched surfaces: overlap is of other pictures")
	}
	m := pointMeter{spacing: s}
	length := cornerLengths(s)
	out := make([]*Surface, len(matches))
	for i, q := range matches {
		box := tr.regions[q.True].Box.Union(pr.regions[q.Pred].Box)
		sf := &Surface{Convention: c}
		if c == SurfaceDeepMind {
			box.Max = box.Max.Add(image.Pt(1, 1))
			te, tl := tr.corners(q.True, &length)
			pe, pl := pr.corners(q.Pred, &length)
			sf.TrueToPred, sf.TrueLen = sortPairs(roots(m.nearest(te, pe, truth.W+1, box)), tl)
			sf.PredToTrue, sf.PredLen = sortPairs(roots(m.nearest(pe, te, truth.W+1, box)), pl)
		} else {
			te, pe := tr.edges(q.True), pr.edges(q.Pred)
			sf.TrueToPred, sf.PredToTrue = roots(m.nearest(te, pe, truth.W, box)), roots(m.nearest(pe, te, truth.W, box))
			slices.Sort(sf.TrueToPred)
			slices.Sort(sf.PredToTrue)
		}
		out[i] = sf
	}
	return out, nil
}

func roots(v []float64) []float64 {
	for i, x := range v {
		v[i] = math.Sqrt(x)
	}
	return v
}
