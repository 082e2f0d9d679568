package eval

import (
	"image"
	"math"
	"slices"

	"github.com/slidesam/sam/eval/internal/edt"
	"github.com/slidesam/sam/eval/internal/region"
)

// instances is a label picture taken apart: the pixels of each instance, and
// on demand its outline.
type instances struct {
	l       Labels
	regions []region.Region
	start   []int   // pixels of instance i are pixels[start[i]:start[i+1]]
	pixels  []int32 // indices into l.Pix, ascending
	outline [][]int32
}

func takeApart(l Labels) *instances {
	s := &instances{l: l, regions: region.Measure(l.Pix, l.H, l.W)}
	s.start = make([]int, len(s.regions)+1)
	index := make(map[int32]int, len(s.regions))
	for i, r := range s.regions {
		index[r.ID] = i
		s.start[i+1] = s.start[i] + r.Area
	}
	s.pixels = make([]int32, s.start[len(s.regions)])
	next := slices.Clone(s.start)
	last, at := int32(0), 0
	for i, v := range l.Pix {
		if v == 0 {
			continue
		}
		if v != last {
			last, at = v, index[v]
		}
		s.pixels[next[at]] = int32(i)
		next[at]++
	}
	s.outline = make([][]int32, len(s.regions))
	return s
}

func (s *instances) of(i int) []int32 { return s.pixels[s.start[i]:s.start[i+1]] }

// edges returns the pixels of instance i with a 4-neighbour outside of it.
func (s *instances) edges(i int) []int32 {
	if s.outline[i] != nil {
		return s.outline[i]
	}
	id, w := s.regions[i].ID, s.l.W
	out := make([]int32, 0, 64)
	for _, p := range s.of(i) {
		x, q := int(p)%w, int(p)
		if x == 0 || x == w-1 || q < w || q >= len(s.l.Pix)-w || s.l.Pix[q-1] != id || s.l.Pix[q+1] != id ||
			s.l.Pix[q-w] != id || s.l.Pix[q+w] != id {
			out = append(out, p)
		}
	}
	s.outline[i] = out
	return out
}

// corners returns the outline of instance i between the pixels: corners of the
// grid, indices into [H+1, W+1] ascending, and the length at each.
func (s *instances) corners(i int, length *[16]float64) ([]int32, []float64) {
	id, w := s.regions[i].ID, s.l.W
	var at []int32
	for _, p := range s.edges(i) {
		c := p/int32(w)*int32(w+1) + p%int32(w)
		at = append(at, c, c+1, c+int32(w)+1, c+int32(w)+2)
	}
	slices.Sort(at)
	at = slices.Compact(at)
	is := func(x, y int) bool {
		return x >= 0 && y >= 0 && x < w && y < s.l.H && s.l.Pix[y*w+x] == id
	}
	keep, lens := at[:0], make([]float64, 0, len(at))
	for _, c := range at {
		x, y := int(c)%(w+1), int(c)/(w+1)
		if code := cornerCode(is(x-1, y-1), is(x, y-1), is(x-1, y), is(x, y)); code != 15 {
			keep, lens = append(keep, c), append(lens, length[code])
		}
	}
	return keep, lens
}

// pointMeter measures distances between sets of points on a grid of width w.
type pointMeter struct {
	spacing Spacing
	edt     edt.Transform
	set     []bool
}

// nearest returns, squared, the distance of each point of from to the nearest
// of to. Few points are compared with each other; many go by a distance
// transform of the box around them.
func (m *pointMeter) nearest(from, to []int32, w int, box image.Rectangle) []float64 {
	out := make([]float64, len(from))
	// a pixel of the transform costs about as much as 20 comparisons
	if len(from)*len(to) <= 20*box.Dx()*box.Dy() {
		for i, p := range from {
			px, py := int(p)%w, int(p)/w
			best := math.Inf(1)
			for _, q := range to {
				dx, dy := float64(px-int(q)%w)*m.spacing.X, float64(py-int(q)/w)*m.spacing.Y
				best = min(best, dx*dx+dy*dy)
			}
			out[i] = best
		}
		return out
	}
	d2 := m.transform(to, w, box)
	for i, p := range from {
		out[i] = d2[(int(p)/w-box.Min.Y)*box.Dx()+int(p)%w-box.Min.X]
	}
	return out
}

func (m *pointMeter) transform(to []int32, w int, box image.Rectangle) []float64 {
	n := box.Dx() * box.Dy()
	if cap(m.set) < n {
		m.set = make([]bool, n)
	}
	m.set = m.set[:n]
	clear(m.set)
	for _, q := range to {
		m.set[(int(q)/w-box.Min.Y)*box.Dx()+int(q)%w-box.Min.X] = true
	}
	return m.edt.Squared(m.set, box.Dy(), box.Dx(), m.spacing.X, m.spacing.Y)
}

// farthest returns the largest of nearest, not below atLeast. A point is given
// up as soon as it is seen to be nearer than the farthest so far (Taha and
// Hanbury 2015).
func (m *pointMeter) farthest(from, to []int32, w int, box image.Rectangle, atLeast float64) float64 {
	far := atLeast
	if len(from)*len(to) > 200*box.Dx()*box.Dy() {
		d2 := m.transform(to, w, box)
		for _, p := range from {
			far = max(far, d2[(int(p)/w-box.Min.Y)*box.Dx()+int(p)%w-box.Min.X])
		}
		return far
	}
	first := 0 // the point that was near to the last is likely near to this
	for _, p := range from {
		px, py := int(p)%w, int(p)/w
		best := math.Inf(1)
		for k := range to {
			j := first + k
			if j >= len(to) {
				j -= len(to)
			}
			q := to[j]
			dx, dy := float64(px-int(q)%w)*m.spacing.X, float64(py-int(q)/w)*m.spacing.Y
			if d := dx*dx + dy*dy; d < best {
				best = d
				if best <= far {
					first = j
					break
				}
			}
		}
		far = max(far, best)
	}
	return far
}
