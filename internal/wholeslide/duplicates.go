package wholeslide

import (
	"sort"

	"github.com/slidesam/sam/internal/spatial"
)

// verdict is what becomes of an object among those that overlap it.
type verdict uint8

const (
	undecided verdict = iota // it depends on objects still to come
	stays
	replaced // by a better one, as the predicted IoU says
)

// judge decides which objects stay. Those that are free meet no object still
// to come.
func (s *seamMerger) judge(w []found, free []bool) []verdict {
	verdicts, doubt := make([]verdict, len(w)), make([]bool, len(w))
	order := make([]int, len(w))
	for i := range order {
		order[i] = i
	}
	sort.SliceStable(order, func(a, b int) bool { return w[order[a]].IoUPred > w[order[b]].IoUPred })
	boxes := spatial.NewIndex(s.plan.tile / 4)
	for i := range w {
		boxes.Add(i, w[i].Mask.Bounds())
	}
	for _, i := range order {
		if verdicts[i] == replaced {
			continue
		}
		if free[i] && !doubt[i] {
			verdicts[i] = stays
		}
		boxes.Near(w[i].Mask.Bounds(), func(j int) bool {
			switch {
			case j == i || !w[i].Mask.Bounds().Overlaps(w[j].Mask.Bounds()) || verdicts[j] == replaced || w[j].IoUPred > w[i].IoUPred || w[j].IoUPred == w[i].IoUPred && j < i || !s.replaces(&w[i], &w[j]):
			case verdicts[i] == stays:
				verdicts[j] = replaced
			default:
				doubt[j] = true
			}
			return true
		})
	}
	return verdicts
}

// replaces reports whether a, which is no worse, is the same object as b, or
// one that b may not overlap.
func (s *seamMerger) replaces(a, b *found) bool {
	if s.plan.Disjoint {
		return float64(a.Mask.Intersection(b.Mask)) > float64(min(a.Mask.Area(), b.Mask.Area()))/2
	}
	return a.tile != b.tile && a.Mask.IoU(b.Mask) > sameIoU
}
