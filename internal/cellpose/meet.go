package cellpose

import (
	"cmp"
	"image"
	"slices"
)

// Names of get_masks_torch.
const (
	rpad    = 20 // of the histogram around the picture
	reach   = 5  // a seed grows so far
	inPeak  = 10 // a peak has more ends than this
	inReach = 2  // and grows over pixels with more than this
)

// meet labels the pixels at by the peaks of the histogram of where they end.
// Peaks are the largest within two pixels, and grow over pixels with enough
// ends; where two meet, the higher has it, of equal ones the later row by row.
//
// Source: dynamics.py, get_masks_torch (cellpose 4.2.1.1), whose sort may order
// equal peaks in another way.
func meet(labels []uint32, ends []image.Point, at []int32, h, w int) {
	g := grid{h + 2*rpad, w + 2*rpad}
	n := make([]int32, g.h*g.w)
	for _, p := range ends {
		n[(p.Y+rpad)*g.w+p.X+rpad]++
	}
	highest := g.highest(n)
	var peaks []int
	for i, v := range n {
		if v > inPeak && v == highest[i] {
			peaks = append(peaks, i)
		}
	}
	slices.SortStableFunc(peaks, func(a, b int) int { return cmp.Compare(n[a], n[b]) })
	of := make([]uint32, len(n))
	for k, p := range peaks {
		g.grow(n, p, func(i int) { of[i] = uint32(k + 1) })
	}
	for k, i := range at {
		labels[i] = of[(ends[k].Y+rpad)*g.w+ends[k].X+rpad]
	}
}

// grid is the histogram's size.
type grid struct{ h, w int }

// highest returns the largest of n within two pixels of each.
func (g grid) highest(n []int32) []int32 {
	rows, out := slices.Clone(n), make([]int32, len(n))
	for y := range g.h {
		for d := max(-2, -y); d <= min(2, g.h-1-y); d++ {
			for x, v := range n[(y+d)*g.w:][:g.w] {
				rows[y*g.w+x] = max(rows[y*g.w+x], v)
			}
		}
	}
	copy(out, rows)
	for y := range g.h {
		for x := range g.w {
			for u := max(x-2, 0); u <= min(x+2, g.w-1); u++ {
				out[y*g.w+x] = max(out[y*g.w+x], rows[y*g.w+u])
			}
		}
	}
	return out
}

// grow calls f for the pixels that a peak grows over, step by step to its
// neighbours of all eight sides. The peak lies rpad pixels or more inside.
func (g grid) grow(n []int32, peak int, f func(i int)) {
	const side = 2*reach + 1
	var set, next [side * side]bool
	set[reach*side+reach] = true
	first := peak - reach*g.w - reach
	for range reach {
		for y := range side {
			for x := range side {
				i := y*side + x
				next[i] = false
				if n[first+y*g.w+x] <= inReach {
					continue
				}
				for v := max(y-1, 0); v <= min(y+1, side-1) && !next[i]; v++ {
					for u := max(x-1, 0); u <= min(x+1, side-1); u++ {
						next[i] = next[i] || set[v*side+u]
					}
				}
			}
		}
		set = next
	}
	for i, in := range set {
		if in {
			f(first + i/side*g.w + i%side)
		}
	}
}
