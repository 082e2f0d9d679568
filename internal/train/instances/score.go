package instances

// Counts are how found objects agree with the true ones.
type Counts struct {
	TP, FP, FN int
	IoU        float64 // sum over the TP
}

// F1 is 2TP/(2TP+FP+FN), 1 where there is nothing to find and nothing found.
func (c Counts) F1() float64 { return c.share(2 * float64(c.TP)) }

// PQ is the panoptic quality, F1 times the mean IoU of what was found.
func (c Counts) PQ() float64 { return c.share(2 * c.IoU) }

func (c Counts) share(v float64) float64 {
	n := 2*c.TP + c.FP + c.FN
	if n == 0 {
		return 1
	}
	return v / float64(n)
}

// Add adds those of another picture.
func (c Counts) Add(d Counts) Counts {
	return Counts{c.TP + d.TP, c.FP + d.FP, c.FN + d.FN, c.IoU + d.IoU}
}

// Count compares two pictures of labels, whose 0 is background: objects with
// an IoU of more than a half are the same. Found ones that lie where nothing is
// known by more than half do not count; known is nil if all is.
func Count(truth, found []uint32, known []bool) Counts {
	type pair struct{ t, f uint32 }
	both := map[pair]int{}
	area, size, outside := map[uint32]int{}, map[uint32]int{}, map[uint32]int{}
	var order []uint32 // of the true ones, so that sums have one order
	for i, t := range truth {
		f := found[i]
		if t != 0 {
			if area[t] == 0 {
				order = append(order, t)
			}
			area[t]++
		}
		if f != 0 {
			size[f]++
			if known != nil && !known[i] {
				outside[f]++
			}
		}
		if t != 0 && f != 0 {
			both[pair{t, f}]++
		}
	}
	best := map[uint32]float64{} // at most one has more than a half
	for p, n := range both {
		if iou := float64(n) / float64(area[p.t]+size[p.f]-n); iou > 0.5 {
			best[p.t] = iou
		}
	}
	var c Counts
	for _, t := range order {
		if iou, ok := best[t]; ok {
			c.TP++
			c.IoU += iou
		} else {
			c.FN++
		}
	}
	c.FP = -c.TP
	for f, n := range size {
		if 2*outside[f] <= n {
			c.FP++
		}
	}
	return c
}
