package cellpose

// keep clears the cells that ok refuses, numbers the others anew in the order
// of their first pixels, without gaps, and returns how many there are. n is the
// largest number.
func keep(labels []uint32, n int, ok func(l uint32) bool) int {
	const gone = ^uint32(0)
	number := make([]uint32, n+1)
	next := uint32(0)
	for i, l := range labels {
		if l == 0 {
			continue
		}
		if number[l] == 0 {
			if number[l] = gone; ok(l) {
				next++
				number[l] = next
			}
		}
		if labels[i] = number[l]; labels[i] == gone {
			labels[i] = 0
		}
	}
	return int(next)
}

func areas(labels []uint32) []int {
	var n []int
	for _, l := range labels {
		for int(l) >= len(n) {
			n = append(n, 0)
		}
		n[l]++
	}
	return n
}

// dropLarge drops the cells that fill more than a share of the picture.
func dropLarge(labels []uint32, share float64) int {
	n := areas(labels)
	most := float64(len(labels)) * share
	return keep(labels, len(n)-1, func(l uint32) bool { return !(float64(n[l]) > most) })
}

func dropSmall(labels []uint32, n, least int) int {
	size := areas(labels)
	return keep(labels, n, func(l uint32) bool { return size[l] >= least })
}

// fillHoles gives each cell, in the order of their numbers, what it encloses:
// pixels from which no way over its four sides leads out of the cell's box. A
// cell inside another one is lost to it.
//
// Source: utils.py, fill_holes_and_remove_small_masks (cellpose 4.2.1.1);
// fill_voids 2.1.2.
func fillHoles(labels []uint32, n, h, w int) {
	boxes := boxesOf(labels, n, w)
	var out []bool // reached from the box's edge
	var stack []int
	for l := uint32(1); int(l) <= n; l++ {
		b := boxes[l-1]
		if b.Empty() {
			continue
		}
		bw, bh := b.Dx(), b.Dy()
		if cap(out) < bw*bh {
			out = make([]bool, bw*bh)
		}
		out = out[:bw*bh]
		clear(out)
		reach := func(x, y int) {
			if i := y*bw + x; x >= 0 && y >= 0 && x < bw && y < bh && !out[i] && labels[(b.Min.Y+y)*w+b.Min.X+x] != l {
				out[i] = true
				stack = append(stack, i)
			}
		}
		for x := range bw {
			reach(x, 0)
			reach(x, bh-1)
		}
		for y := range bh {
			reach(0, y)
			reach(bw-1, y)
		}
		for len(stack) > 0 {
			x, y := stack[len(stack)-1]%bw, stack[len(stack)-1]/bw
			stack = stack[:len(stack)-1]
			reach(x-1, y)
			reach(x+1, y)
			reach(x, y-1)
			reach(x, y+1)
		}
		for i, o := range out {
			if !o {
				labels[(b.Min.Y+i/bw)*w+b.Min.X+i%bw] = l
			}
		}
	}
}
