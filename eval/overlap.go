package eval

import (
	"fmt"
	"slices"
)

// Pair is two instances that share pixels: indices into an Overlap's lists and
// the number of shared pixels.
type Pair struct {
	True, Pred int
	Inter      int64
}

// Overlap is what the instance metrics need to know of two pictures of
// instances: the area of each instance and the pixels shared by each pair that
// touches at all. Its size grows with the instances, not with their square.
type Overlap struct {
	TrueIDs, PredIDs   []int32 // instance numbers, ascending
	TrueArea, PredArea []int64 // pixels, in the order of the numbers
	Pairs              []Pair  // by True, then Pred
	Pixels             int64   // of the picture

	truePairs []int // pairs of truth t are Pairs[truePairs[t]:truePairs[t+1]]
}

// NewOverlap compares a prediction with the truth. The error wraps ErrSize or
// ErrLabel.
func NewOverlap(truth, pred Labels) (*Overlap, error) {
	if err := checkLabels(truth, pred); err != nil {
		return nil, fmt.Errorf("eval: overlap: %w", err)
	}
	var table pairTable
	for i := 0; i < len(truth.Pix); {
		t, p := truth.Pix[i], pred.Pix[i]
		if t < 0 || p < 0 {
			return nil, fmt.Errorf("eval: overlap: %w: truth %d, prediction %d at x %d, y %d",
				ErrLabel, t, p, i%truth.W, i/truth.W)
		}
		j := i + 1
		for j < len(truth.Pix) && truth.Pix[j] == t && pred.Pix[j] == p {
			j++
		}
		if t != 0 || p != 0 {
			table.add(uint64(t)<<32|uint64(p), int64(j-i))
		}
		i = j
	}
	return newOverlap(table.sorted(), int64(len(truth.Pix))), nil
}

func newOverlap(counts []pairCount, pixels int64) *Overlap {
	o := &Overlap{Pixels: pixels}
	for _, c := range counts {
		t, p := int32(c.key>>32), int32(c.key&0xFFFFFFFF)
		if t != 0 {
			if n := len(o.TrueIDs); n == 0 || o.TrueIDs[n-1] != t {
				o.TrueIDs = append(o.TrueIDs, t)
				o.TrueArea = append(o.TrueArea, 0)
			}
			o.TrueArea[len(o.TrueArea)-1] += c.n
		}
		if p != 0 {
			o.PredIDs = append(o.PredIDs, p)
		}
	}
	slices.Sort(o.PredIDs)
	o.PredIDs = slices.Compact(o.PredIDs)
	o.PredArea = make([]int64, len(o.PredIDs))
	o.truePairs = make([]int, len(o.TrueIDs)+1)
	t := -1
	for _, c := range counts {
		tid, pid := int32(c.key>>32), int32(c.key&0xFFFFFFFF)
		if tid != 0 && (t < 0 || o.TrueIDs[t] != tid) {
			t++
			o.truePairs[t] = len(o.Pairs)
		}
		if pid == 0 {
			continue
		}
		p, _ := slices.BinarySearch(o.PredIDs, pid)
		o.PredArea[p] += c.n
		if tid != 0 {
			o.Pairs = append(o.Pairs, Pair{True: t, Pred: p, Inter: c.n})
		}
	}
	o.truePairs[len(o.TrueIDs)] = len(o.Pairs)
	return o
}

// Union returns the number of pixels in either instance of a pair.
func (o *Overlap) Union(p Pair) int64 {
	return o.TrueArea[p.True] + o.PredArea[p.Pred] - p.Inter
}

// IoU returns the intersection of a pair over its union.
func (o *Overlap) IoU(p Pair) float64 { return float64(p.Inter) / float64(o.Union(p)) }

// Counts returns the confusion table of the pixels, instances aside.
func (o *Overlap) Counts() PixelCounts {
	var c PixelCounts
	for _, p := range o.Pairs {
		c.TP += p.Inter
	}
	for _, a := range o.TrueArea {
		c.FN += a
	}
	for _, a := range o.PredArea {
		c.FP += a
	}
	c.FN -= c.TP
	c.FP -= c.TP
	c.TN = o.Pixels - c.TP - c.FN - c.FP
	return c
}

type pairCount struct {
	key uint64 // truth<<32 | prediction, never 0
	n   int64
}

// pairTable counts keys in an open-addressed hash table.
type pairTable struct {
	slots []pairCount
	used  int
}

func (t *pairTable) add(key uint64, n int64) {
	if 2*t.used >= len(t.slots) {
		t.grow()
	}
	s := t.find(key)
	if s.key == 0 {
		s.key = key
		t.used++
	}
	s.n += n
}

func (t *pairTable) find(key uint64) *pairCount {
	mask := uint64(len(t.slots) - 1)
	for i := (key * 0x9E3779B97F4A7C15) >> 20 & mask; ; i = (i + 1) & mask {
		if s := &t.slots[i]; s.key == key || s.key == 0 {
			return s
		}
	}
}

func (t *pairTable) grow() {
	old := t.slots
	t.slots = make([]pairCount, max(1024, 2*len(old)))
	for _, s := range old {
		if s.key != 0 {
			*t.find(s.key) = s
		}
	}
}

func (t *pairTable) sorted() []pairCount {
	out := make([]pairCount, 0, t.used)
	for _, s := range t.slots {
		if s.key != 0 {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b pairCount) int {
		if a.key < b.key {
			return -1
		}
		return 1
	})
	return out
}
