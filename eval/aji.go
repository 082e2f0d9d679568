package eval

// Aggregated is the numerator and the denominator of an aggregated score, kept
// apart so that pictures can be pooled.
type Aggregated struct{ Inter, Total int64 }

// Add returns the sums of both pictures together.
func (a Aggregated) Add(b Aggregated) Aggregated {
	return Aggregated{Inter: a.Inter + b.Inter, Total: a.Total + b.Total}
}

// Ratio returns Inter / Total.
func (a Aggregated) Ratio(e Empty) float64 { return e.Ratio(float64(a.Inter), float64(a.Total)) }

// Dice2Sums returns the sums of DICE2, the ensemble Dice: over all pairs that
// share a pixel, twice the shared pixels over both areas. An instance counts
// once for each partner; one without any partner does not count.
//
// Source: get_fast_dice_2, stats_utils.py, hover_net 039b6441.
func (o *Overlap) Dice2Sums() Aggregated {
	var a Aggregated
	for _, p := range o.Pairs {
		a.Inter += 2 * p.Inter
		a.Total += o.TrueArea[p.True] + o.PredArea[p.Pred]
	}
	return a
}

// Dice2 returns the ratio of Dice2Sums. Where no two instances overlap, which
// makes hover_net divide by zero, it is 0 if there is any instance and e's
// score otherwise.
func (o *Overlap) Dice2(e Empty) float64 { return o.ratioOrZero(o.Dice2Sums(), e) }

// AJISums returns the sums of the aggregated Jaccard index of Kumar et al.
// 2017: each true instance takes the prediction of largest IoU (the lowest
// number on ties; one prediction may serve several); the sum of their
// intersections over the sum of their unions plus the areas of the true
// instances without a partner and of the predictions that nobody took.
//
// Source: get_fast_aji, stats_utils.py, hover_net 039b6441, whose 1e-6 beneath
// the IoU is kept where it decides which partner is taken.
func (o *Overlap) AJISums() Aggregated {
	var a Aggregated
	used := make([]bool, len(o.PredIDs))
	for t, area := range o.TrueArea {
		best, bestIoU := -1, 0.0
		for i := o.truePairs[t]; i < o.truePairs[t+1]; i++ {
			p := o.Pairs[i]
			if iou := float64(p.Inter) / (float64(o.Union(p)) + 1e-6); iou > bestIoU {
				best, bestIoU = i, iou
			}
		}
		if best < 0 {
			a.Total += area
			continue
		}
		p := o.Pairs[best]
		used[p.Pred] = true
		a.Inter += p.Inter
		a.Total += o.Union(p)
	}
	for p, area := range o.PredArea {
		if !used[p] {
			a.Total += area
		}
	}
	return a
}

// AJI returns the ratio of AJISums. If only one side has instances it is 0,
// where hover_net raises an error.
func (o *Overlap) AJI(e Empty) float64 { return o.AJISums().Ratio(e) }

// AJIPlusSums returns the sums of AJI+: as AJI, but instances are matched one
// to one with the largest sum of IoU.
//
// Source: get_fast_aji_plus, stats_utils.py, hover_net 039b6441.
func (o *Overlap) AJIPlusSums() Aggregated {
	var a Aggregated
	for _, area := range o.TrueArea {
		a.Total += area
	}
	for _, area := range o.PredArea {
		a.Total += area
	}
	for _, m := range o.matchIoU() {
		p := o.pair(m.True, m.Pred)
		a.Inter += p.Inter
		a.Total -= p.Inter // both areas are in: area + area - inter is the union
	}
	return a
}

// AJIPlus returns the ratio of AJIPlusSums.
func (o *Overlap) AJIPlus(e Empty) float64 { return o.AJIPlusSums().Ratio(e) }

func (o *Overlap) ratioOrZero(a Aggregated, e Empty) float64 {
	if a.Total == 0 && len(o.TrueIDs)+len(o.PredIDs) > 0 {
		return 0
	}
	return a.Ratio(e)
}
