package instances

import "github.com/slidesam/sam/internal/kernel"

// channels of maps and targets: foreground, distances to centre and boundary.
const channels = 3

// unknown is the foreground of a target's pixel of which nothing is known; it
// does not count.
const unknown = -1

// sums are what a channel's Dice is made of, over the pixels that count.
type sums struct{ pt, pp, tt float64 }

// eps is the least denominator.
const eps = 1e-7

func (s sums) loss() float64 { return 1 - 2*s.pt/max(s.pp+s.tt, eps) }

// slope is the loss's in one prediction p whose target is t.
func (s sums) slope(p, t float64) float64 {
	d := s.pp + s.tt
	if d < eps {
		return -2 * t / eps
	}
	return (4*s.pt*p/d - 2*t) / d
}

// rows is how many pixels are summed up at a time: sums do not depend on the
// number of goroutines.
const rows = 1 << 13

// counts reports which channels count at a pixel with that target: the
// foreground where it is known, distances in objects alone.
func counts(target []float32) (foreground, distances bool) {
	return target[0] >= 0, target[0] > 0
}

// dice is the sum of the three channels' squared Dice losses of maps [N, 3]
// against a target [N, 3]; distances count in the target's foreground alone.
// With d, as long as maps, it sets that to the loss's gradient times weight.
//
// Source: torch_em/loss/distance_based.py, DiceBasedDistanceLoss with
// mask_distances_in_bg; torch_em/loss/dice.py, dice_score (torch-em 6f71247c).
func dice(maps, target, d []float32, weight float64) float64 {
	n := len(maps) / channels
	parts := (n + rows - 1) / rows
	each := make([][channels]sums, parts)
	pixels := func(part int, f func(i, c int, p, t float64)) {
		for i := part * rows; i < min((part+1)*rows, n); i++ {
			t := target[i*channels:][:channels]
			foreground, distances := counts(t)
			for c, p := range maps[i*channels:][:channels] {
				if c == 0 && foreground || c > 0 && distances {
					f(i, c, float64(p), float64(t[c]))
				}
			}
		}
	}
	kernel.Parallel(parts, func(part int) {
		pixels(part, func(_, c int, p, t float64) {
			s := &each[part][c]
			s.pt += float64(p * t)
			s.pp += float64(p * p)
			s.tt += float64(t * t)
		})
	})
	var all [channels]sums
	var loss float64
	for c := range all {
		for _, s := range each {
			all[c] = sums{all[c].pt + s[c].pt, all[c].pp + s[c].pp, all[c].tt + s[c].tt}
		}
		loss += all[c].loss()
	}
	if d == nil {
		return loss
	}
	clear(d)
	kernel.Parallel(parts, func(part int) {
		pixels(part, func(i, c int, p, t float64) { d[i*channels+c] = float32(weight * all[c].slope(p, t)) })
	})
	return loss
}
