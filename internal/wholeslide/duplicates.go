package wholeslide

import (
	"errors"
	"sort"

	"github.com/slidesam/sam/internal/mask"
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
//
// Disjoint objects also lose the pixels that a better one has which stays, and
// wait for it while that is open.
func (s *seamMerger) judge(w []found, free []bool) ([]verdict, error) {
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
	var errs []error
	for _, i := range order {
		if verdicts[i] == replaced {
			continue
		}
		if free[i] && !doubt[i] {
			verdicts[i] = stays
		}
		boxes.Near(w[i].Mask.Bounds(), func(j int) bool {
			better := w[i].IoUPred > w[j].IoUPred || w[i].IoUPred == w[j].IoUPred && i < j
			if i == j || !better || verdicts[j] == replaced || !w[i].Mask.Bounds().Overlaps(w[j].Mask.Bounds()) {
				return true
			}
			replaces := s.replaces(&w[i], &w[j])
			touches := replaces || s.plan.Disjoint && w[i].Mask.Intersection(w[j].Mask) > 0
			switch {
			case !touches:
			case verdicts[i] != stays:
				doubt[j] = true
			case replaces:
				verdicts[j] = replaced
			default:
				errs = append(errs, w[j].lose(w[i].Mask))
			}
			return true
		})
	}
	return verdicts, errors.Join(errs...)
}

// lose takes the pixels of another object from what is left of f.
func (f *found) lose(pixels *mask.Mask) error {
	left, err := f.shown().Subtract(pixels)
	f.left = left
	return err
}

// shown is the object's mask without the pixels that it lost.
func (f *found) shown() *mask.Mask {
	if f.left != nil {
		return f.left
	}
	return f.Mask
}

// trim makes what is left of the object its mask: the largest part, since what
// is cut off is no nucleus. It reports whether that is large enough.
func (f *found) trim(least int) (bool, error) {
	if f.left == nil {
		return true, nil
	}
	m, _, err := f.left.DropIslands(f.left.Area() + 1)
	if err != nil {
		return false, err
	}
	f.Mask, f.left = m, nil
	return m.Area() >= max(least, 1), nil
}

// replaces reports whether a, which is no worse, is the same object as b, or
// one that b may not overlap.
func (s *seamMerger) replaces(a, b *found) bool {
	if s.plan.Disjoint {
		return float64(a.Mask.Intersection(b.Mask)) > float64(min(a.Mask.Area(), b.Mask.Area()))/2
	}
	return a.tile != b.tile && a.Mask.IoU(b.Mask) > sameIoU
}
