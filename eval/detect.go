package eval

import (
	"fmt"
	"math"
	"slices"

	"github.com/slidesam/sam/eval/internal/assign"
	"github.com/slidesam/sam/eval/internal/region"
)

// Centroid is the mean position of an instance's pixels, in pixels; the centre
// of the pixel in the corner is (0, 0).
type Centroid struct{ X, Y float64 }

// Centroids returns the centroid of every instance in the order of their
// numbers.
func Centroids(l Labels) []Centroid {
	rs := region.Measure(l.Pix, l.H, l.W)
	out := make([]Centroid, len(rs))
	for i, r := range rs {
		out[i].X, out[i].Y = r.Centroid()
	}
	return out
}

// Detection says how centroids are paired.
type Detection uint8

const (
	// DetectWithin pairs as many centroids as possible that lie within the
	// radius of each other, and of those pairings takes the one with the
	// smallest sum of distances. Time grows with the neighbours, not the
	// square of the instances.
	DetectWithin Detection = iota
	// DetectHoVerNet pairs all centroids, near or far, with the smallest sum
	// of distances, and then drops the pairs beyond the radius: a far pair can
	// break up near ones, so that it finds fewer. Time and memory grow with
	// the square of the instances.
	//
	// Source: pair_coordinates, stats_utils.py, hover_net 039b6441.
	DetectHoVerNet
)

// HoVerNetRadius is the radius in pixels at 40x (0.25 micrometres a pixel) at
// which HoVer-Net counts a nucleus as found.
const HoVerNetRadius = 12

// CountCentroids matches predicted with true centroids one to one within a
// radius (included), in the unit of the spacing. SumIoU of the result is 0.
// The F1 of the counts is the detection F1.
func CountCentroids(truth, pred []Centroid, radius float64, d Detection, s Spacing) (Counts, error) {
	s = s.orPixels()
	if err := s.check(); err != nil {
		return Counts{}, fmt.Errorf("eval: count centroids: %w", err)
	}
	for _, cs := range [][]Centroid{truth, pred} {
		for _, c := range cs {
			if math.IsNaN(c.X+c.Y) || math.IsInf(c.X, 0) || math.IsInf(c.Y, 0) {
				return Counts{}, fmt.Errorf("eval: count centroids: centroid (%g, %g)", c.X, c.Y)
			}
		}
	}
	tp := 0
	if len(truth) > 0 && len(pred) > 0 && radius >= 0 {
		var edges []assign.Edge
		if d == DetectHoVerNet {
			edges = allEdges(truth, pred, s)
		} else {
			edges = nearEdges(truth, pred, radius, s)
		}
		for t, p := range assign.Max(len(truth), len(pred), edges) {
			if p >= 0 && (d == DetectWithin || distance(truth[t], pred[p], s) <= radius) {
				tp++
			}
		}
	}
	return Counts{TP: tp, FP: len(pred) - tp, FN: len(truth) - tp}, nil
}

func distance(a, b Centroid, s Spacing) float64 {
	dx, dy := (a.X-b.X)*s.X, (a.Y-b.Y)*s.Y
	return math.Sqrt(dx*dx + dy*dy)
}

// nearEdges joins the pairs within the radius. A pair weighs 1 and less than
// its share of another 1 for being near: more pairs beat nearer pairs.
func nearEdges(truth, pred []Centroid, radius float64, s Spacing) []assign.Edge {
	order := make([]int, len(pred))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case pred[a].X < pred[b].X:
			return -1
		case pred[a].X > pred[b].X:
			return 1
		}
		return a - b
	})
	n := float64(min(len(truth), len(pred)) + 1)
	var edges []assign.Edge
	for t, c := range truth {
		from, _ := slices.BinarySearchFunc(order, c.X-radius/s.X-1, func(i int, x float64) int {
			if pred[i].X < x {
				return -1
			}
			return 1
		})
		for _, p := range order[from:] {
			if pred[p].X > c.X+radius/s.X+1 {
				break
			}
			if d := distance(c, pred[p], s); d <= radius {
				w := 1.0
				if radius > 0 {
					w += (1 - d/radius) / n
				}
				edges = append(edges, assign.Edge{Row: t, Col: p, Weight: w})
			}
		}
	}
	return edges
}

func allEdges(truth, pred []Centroid, s Spacing) []assign.Edge {
	edges := make([]assign.Edge, 0, len(truth)*len(pred))
	far := 0.0
	for t, a := range truth {
		for p, b := range pred {
			d := distance(a, b, s)
			far = max(far, d)
			edges = append(edges, assign.Edge{Row: t, Col: p, Weight: d})
		}
	}
	for i := range edges {
		edges[i].Weight = far + 1 - edges[i].Weight
	}
	return edges
}
