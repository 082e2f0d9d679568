package instance

import "context"

// levels is how many heights the watershed tells apart.
const levels = 1 << 16

// watershed grows the seeds in labels, [h, w], over the mask, lowest heights
// first. 4-connected; a pixel takes its label when it is first reached, and is
// grown from when the flood has come to its height. Among pixels of one level
// the one that was reached last goes first.
//
// Source: segmentation/watershed.hxx, watershed_2d (bioimage-cpp 0.10.0).
func watershed(ctx context.Context, labels []uint32, height []float32, mask []bool, h, w int) error {
	level := quantise(height, mask)
	// One stack for each level, as lists through the pixels: a pixel is on one
	// stack once.
	top := make([]int32, levels) // pixel + 1, 0: empty
	below := make([]int32, len(labels))
	push := func(l, p int) {
		below[p] = top[l]
		top[l] = int32(p + 1)
	}
	for p, l := range labels {
		if l != 0 {
			push(int(level[p]), p)
		}
	}
	for l := range levels {
		if l%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		for top[l] != 0 {
			p := int(top[l] - 1)
			top[l] = below[p]
			y, x := p/w, p%w
			reach := func(q int) {
				if mask[q] && labels[q] == 0 {
					labels[q] = labels[p]
					push(max(int(level[q]), l), q)
				}
			}
			if y > 0 {
				reach(p - w)
			}
			if y+1 < h {
				reach(p + w)
			}
			if x > 0 {
				reach(p - 1)
			}
			if x+1 < w {
				reach(p + 1)
			}
		}
	}
	return nil
}

// quantise brings the heights under the mask to levels between their least and
// their largest, in float64 and rounded down.
func quantise(height []float32, mask []bool) []uint16 {
	out := make([]uint16, len(height))
	var least, most float32
	first := true
	for i, v := range height {
		if !mask[i] {
			continue
		}
		if first || v < least {
			least = v
		}
		if first || v > most {
			most = v
		}
		first = false
	}
	span := float64(most) - float64(least)
	if !(span > 0) {
		return out
	}
	scale := (levels - 1) / span
	for i, v := range height {
		if mask[i] {
			out[i] = uint16(min((float64(v)-float64(least))*scale, levels-1))
		}
	}
	return out
}
