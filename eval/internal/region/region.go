// Package region measures and reshapes the instances of a label picture:
// bounding boxes and areas, connected components, erosion.
//
// Pictures are [H, W] row-major, zero is background.
//
//	for _, r := range region.Measure(labels, h, w) {
//		fmt.Println(r.ID, r.Area, r.Box)
//	}
package region

import (
	"image"
	"slices"
)

// Region is one instance: its number, its pixels, the smallest rectangle
// around it and the sums of its pixels' coordinates.
type Region struct {
	ID         int32
	Area       int
	Box        image.Rectangle
	SumX, SumY int64
}

// Centroid returns the mean of the pixels' coordinates; the centre of pixel
// (0, 0) is (0, 0).
func (r Region) Centroid() (x, y float64) {
	return float64(r.SumX) / float64(r.Area), float64(r.SumY) / float64(r.Area)
}

// Measure returns the regions of all numbers above zero, ascending.
func Measure(pix []int32, h, w int) []Region {
	index := map[int32]int{}
	var out []Region
	for y := range h {
		row := pix[y*w : (y+1)*w]
		for x := 0; x < w; {
			id := row[x]
			x0 := x
			for x++; x < w && row[x] == id; x++ {
			}
			if id <= 0 {
				continue
			}
			i, ok := index[id]
			if !ok {
				i = len(out)
				index[id] = i
				out = append(out, Region{ID: id, Box: image.Rect(x0, y, x, y+1)})
			}
			r, n := &out[i], x-x0
			r.Area += n
			r.SumX += int64(n) * int64(x0+x-1) / 2
			r.SumY += int64(n) * int64(y)
			r.Box.Min.X, r.Box.Max.X = min(r.Box.Min.X, x0), max(r.Box.Max.X, x)
			r.Box.Max.Y = y + 1
		}
	}
	slices.SortFunc(out, func(a, b Region) int { return int(a.ID) - int(b.ID) })
	return out
}

// Components numbers the connected parts of a picture from 1 in the order of
// their first pixels. Pixels are connected if they are set and neighbours, of
// 4 or 8 as eight says. It returns the picture and the number of parts.
func Components(set []bool, h, w int, eight bool) ([]int32, int) {
	return components(h, w, eight, func(i int) bool { return set[i] }, func(i, j int) bool { return set[j] })
}

// Split numbers the connected parts of every instance apart, so that an
// instance in two pieces becomes two.
func Split(pix []int32, h, w int, eight bool) ([]int32, int) {
	return components(h, w, eight, func(i int) bool { return pix[i] != 0 }, func(i, j int) bool { return pix[i] == pix[j] })
}

func components(h, w int, eight bool, set func(i int) bool, same func(i, j int) bool) ([]int32, int) {
	out := make([]int32, h*w)
	var stack []int
	n := 0
	for start := range out {
		if out[start] != 0 || !set(start) {
			continue
		}
		n++
		out[start] = int32(n)
		stack = append(stack[:0], start)
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			x, y := i%w, i/w
			for dy := -1; dy <= 1; dy++ {
				for dx := -1; dx <= 1; dx++ {
					if dx == 0 && dy == 0 || (!eight && dx != 0 && dy != 0) ||
						x+dx < 0 || x+dx >= w || y+dy < 0 || y+dy >= h {
						continue
					}
					if j := i + dy*w + dx; out[j] == 0 && same(i, j) {
						out[j] = int32(n)
						stack = append(stack, j)
					}
				}
			}
		}
	}
	return out, n
}

// Erode takes away every pixel that has one of its four neighbours outside of
// the mask; beyond the picture is outside. It repeats that n times.
func Erode(set []bool, h, w, n int) []bool {
	out := slices.Clone(set)
	for range n {
		src := slices.Clone(out)
		for i, s := range src {
			out[i] = s && !edge(src, i, h, w)
		}
	}
	return out
}

// Edges returns the pixels that one erosion takes away.
func Edges(set []bool, h, w int) []bool {
	out := make([]bool, len(set))
	for i, s := range set {
		out[i] = s && edge(set, i, h, w)
	}
	return out
}

func edge(set []bool, i, h, w int) bool {
	x := i % w
	return x == 0 || x == w-1 || i < w || i >= (h-1)*w || !set[i-1] || !set[i+1] || !set[i-w] || !set[i+w]
}
