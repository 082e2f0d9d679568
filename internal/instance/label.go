package instance

// label numbers the 8-connected parts of in, [h, w], from 1 on in the order of
// their first pixels, and returns how many there are.
func label(in []bool, h, w int) ([]uint32, int) {
	out := make([]uint32, len(in))
	n := uint32(0)
	var stack []int
	for first, set := range in {
		if !set || out[first] != 0 {
			continue
		}
		n++
		out[first] = n
		stack = append(stack[:0], first)
		for len(stack) > 0 {
			p := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			y, x := p/w, p%w
			for v := max(y-1, 0); v <= min(y+1, h-1); v++ {
				for u := max(x-1, 0); u <= min(x+1, w-1); u++ {
					if q := v*w + u; in[q] && out[q] == 0 {
						out[q] = n
						stack = append(stack, q)
					}
				}
			}
		}
	}
	return out, int(n)
}

// drop clears the instances of fewer than least pixels, and those whose pixels
// have less than mean foreground on average, and numbers the others anew, in the
// same order and without gaps. n is the largest number.
func drop(labels []uint32, n, least int, foreground []float32, mean float32) {
	size, sum := make([]int, n+1), make([]float64, n+1)
	for i, l := range labels {
		size[l]++
		sum[l] += float64(foreground[i])
	}
	number := make([]uint32, n+1)
	next := uint32(1)
	for l := 1; l <= n; l++ {
		if size[l] >= least && size[l] > 0 && float32(sum[l]/float64(size[l])) >= mean {
			number[l] = next
			next++
		}
	}
	for i, l := range labels {
		labels[i] = number[l]
	}
}
