package instance

import (
	"context"
	"image"
	"math"
)

// Points returns a point in each seed of unsmoothed maps, in the order of the
// seeds' first pixels: seeds are the 4-connected parts of the pixels whose
// probability of foreground reaches its threshold and whose distances are
// below theirs. The point is the seed's first pixel, row by row, that is
// farthest from the outlines around the seeds and from the picture's edge. A
// seed all of whose pixels are at a distance of 0, as at the edge, gives the
// corner of its box, as upstream does.
//
// Upstream measures distances in blocks of 512 pixels that see 16 pixels of
// their neighbours; here they are exact, which can move the points of seeds
// wider than that.
//
// Source: instance_segmentation.py, _derive_point_prompts, _get_centers
// (micro-sam 3acdcd72).
func Points(ctx context.Context, m Maps, o Options) ([]image.Point, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	value := make([]uint32, m.H*m.W)
	for i := range value {
		if m.Foreground[i] >= o.ForegroundThreshold && m.Centre[i] < o.CentreThreshold && m.Boundary[i] < o.BoundaryThreshold {
			value[i] = 1
		}
	}
	labels, n := parts(value, m.H, m.W)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dist := squaredDistances(outlines(labels, m.H, m.W), m.H, m.W)
	type seed struct {
		corner image.Point
		best   int32
		at     image.Point
	}
	seeds := make([]seed, n)
	for i := range seeds {
		seeds[i] = seed{corner: image.Pt(m.W, m.H), best: -1}
	}
	for i, l := range labels {
		if l == 0 {
			continue
		}
		s, p := &seeds[l-1], image.Pt(i%m.W, i/m.W)
		s.corner = image.Pt(min(s.corner.X, p.X), min(s.corner.Y, p.Y))
		if dist[i] > s.best {
			s.best, s.at = dist[i], p
		}
	}
	out := make([]image.Point, n)
	for i, s := range seeds {
		if out[i] = s.at; s.best == 0 {
			out[i] = s.corner
		}
	}
	return out, nil
}

// parts numbers the 4-connected parts of one value each, from 1 on in the order
// of their first pixels; 0 is no part. It returns how many there are.
func parts(value []uint32, h, w int) ([]uint32, int) {
	out := make([]uint32, len(value))
	n := uint32(0)
	var stack []int
	for first, v := range value {
		if v == 0 || out[first] != 0 {
			continue
		}
		n++
		out[first] = n
		stack = append(stack[:0], first)
		reach := func(q int) {
			if value[q] == v && out[q] == 0 {
				out[q] = n
				stack = append(stack, q)
			}
		}
		for len(stack) > 0 {
			p := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			y, x := p/w, p%w
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
	return out, int(n)
}

// outlines marks the pixels around the parts, and those of the picture's edge:
// background beside a part, and pixels of a part that have another part near.
//
// Source: skimage.segmentation.find_boundaries with mode "outer".
func outlines(labels []uint32, h, w int) []bool {
	out := make([]bool, len(labels))
	for y := range h {
		for x := range w {
			i := y*w + x
			if y == 0 || x == 0 || y == h-1 || x == w-1 {
				out[i] = true
				continue
			}
			l := labels[i]
			if labels[i-w] == l && labels[i+w] == l && labels[i-1] == l && labels[i+1] == l {
				continue
			}
			other := l == 0
			for _, d := range [8]int{-w - 1, -w, -w + 1, -1, 1, w - 1, w, w + 1} {
				other = other || labels[i+d] != 0 && labels[i+d] != l
			}
			out[i] = other
		}
	}
	return out
}

// far stands for no distance: a square of more than any picture's diagonal
// that can be added to another.
const far = math.MaxInt32 / 4

// squaredDistances returns the squares of the distances to the nearest marked
// pixel, exactly.
//
// Source: Felzenszwalb and Huttenlocher, Distance transforms of sampled
// functions.
func squaredDistances(marked []bool, h, w int) []int32 {
	out := make([]int32, len(marked))
	for x := range w { // down and up the columns
		d := int32(far)
		for y := range h {
			if d++; marked[y*w+x] {
				d = 0
			}
			out[y*w+x] = min(d, far)
		}
		d = far
		for y := h - 1; y >= 0; y-- {
			if d++; marked[y*w+x] {
				d = 0
			}
			out[y*w+x] = min(out[y*w+x], d)
		}
	}
	f := make([]float64, w)
	v, z := make([]int, w), make([]float64, w+1)
	for y := range h {
		row := out[y*w : (y+1)*w]
		for x, d := range row {
			f[x] = float64(d) * float64(d)
		}
		k := 0
		v[0], z[0], z[1] = 0, math.Inf(-1), math.Inf(1)
		for q := 1; q < w; q++ {
			for {
				p := v[k]
				s := (f[q] + float64(q*q) - f[p] - float64(p*p)) / float64(2*(q-p))
				if s > z[k] {
					k++
					v[k], z[k], z[k+1] = q, s, math.Inf(1)
					break
				}
				k--
			}
		}
		k = 0
		for x := range row {
			for z[k+1] < float64(x) {
				k++
			}
			dx := x - v[k]
			row[x] = int32(min(f[v[k]]+float64(dx*dx), far))
		}
	}
	return out
}
