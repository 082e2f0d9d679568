package instance

import (
	"fmt"
	"image"
	"math"

	"github.com/slidesam/sam/internal/kernel"
)

// Targets returns what an instance decoder should say of labels [h, w], whose
// 0 is background, and the number of objects: the maps from which [Segment]
// finds them again.
//
// The 8-connected parts of a label are objects of their own; those of fewer
// than least pixels are background. Both distances are divided by the object's
// largest, so that Centre is 0 at the object's centroid, or at its deepest
// pixel if the centroid lies outside, and Boundary is 0 at the deepest pixel
// and 1 at the outline. The picture's edge is no outline. In the background
// both are 1.
//
// Source: torch_em/transform/label.py, PerObjectDistanceTransform with
// foreground, distances and boundary_distances (torch-em 6f71247c), as
// micro-sam's default_sam_dataset asks for them.
func Targets(labels []uint32, h, w, least int) (Maps, int, error) {
	if h <= 0 || w <= 0 || w > math.MaxInt32/h || len(labels) != h*w {
		return Maps{}, 0, fmt.Errorf("instance: targets: %w: %d labels for %d x %d pixels", ErrMaps, len(labels), w, h)
	}
	parts, n := Parts(labels, h, w, least)
	m := Maps{H: h, W: w, Foreground: make([]float32, h*w), Centre: make([]float32, h*w), Boundary: make([]float32, h*w)}
	boxes, sums, sizes := make([]image.Rectangle, n), make([]image.Point, n), make([]int, n)
	outline := make([]bool, h*w)
	for i, l := range parts {
		if l == 0 {
			m.Centre[i], m.Boundary[i] = 1, 1
			continue
		}
		m.Foreground[i] = 1
		x, y := i%w, i/w
		k := l - 1
		boxes[k] = boxes[k].Union(image.Rect(x, y, x+1, y+1))
		sums[k] = sums[k].Add(image.Pt(x, y))
		sizes[k]++
		outline[i] = x > 0 && parts[i-1] != l || x+1 < w && parts[i+1] != l || y > 0 && parts[i-w] != l || y+1 < h && parts[i+w] != l
	}
	kernel.Parallel(n, func(k int) {
		of := object{parts: parts, w: w, id: uint32(k + 1), box: boxes[k]}
		of.centre = image.Pt(rounded(sums[k].X, sizes[k]), rounded(sums[k].Y, sizes[k]))
		of.distances(&m, outline)
	})
	return m, n, nil
}

// rounded is sum/n to the nearest whole number, halves to the even one as
// numpy's round does.
func rounded(sum, n int) int { return int(math.RoundToEven(float64(sum) / float64(n))) }

// object is one object of a picture.
type object struct {
	parts  []uint32
	w      int
	id     uint32
	box    image.Rectangle
	centre image.Point
}

// each calls f for the object's pixels, by their places in the box and in the
// picture.
func (o *object) each(f func(x, y, at int)) {
	for y := o.box.Min.Y; y < o.box.Max.Y; y++ {
		for x := o.box.Min.X; x < o.box.Max.X; x++ {
			if at := y*o.w + x; o.parts[at] == o.id {
				f(x-o.box.Min.X, y-o.box.Min.Y, at)
			}
		}
	}
}

// distances writes the object's distances into m.
func (o *object) distances(m *Maps, outline []bool) {
	depth := o.depths(outline)
	bw := o.box.Dx()
	var deepest float32
	o.each(func(x, y, _ int) { deepest = max(deepest, depth[y*bw+x]) })
	c := o.centre.Sub(o.box.Min)
	if o.parts[o.centre.Y*o.w+o.centre.X] != o.id {
		found := false
		o.each(func(x, y, _ int) {
			if !found && depth[y*bw+x] == deepest {
				found, c = true, image.Pt(x, y)
			}
		})
	}
	var far, edge float32
	distance := func(x, y int) float32 {
		dx, dy := float32(x-c.X), float32(y-c.Y)
		return float32(math.Sqrt(float64(dx*dx + dy*dy)))
	}
	o.each(func(x, y, _ int) {
		far = max(far, distance(x, y))
		edge = max(edge, deepest-depth[y*bw+x])
	})
	const eps = 1e-7
	o.each(func(x, y, at int) {
		m.Centre[at] = distance(x, y) / (far + eps)
		m.Boundary[at] = (deepest - depth[y*bw+x]) / (edge + eps)
	})
}

// depths are the distances of the box's pixels to the nearest outline in the
// box, its own or another object's. Without one they are those to the pixel
// left of the row above the box, as scipy and upstream have it.
func (o *object) depths(outline []bool) []float32 {
	bw, bh := o.box.Dx(), o.box.Dy()
	marked := make([]bool, bw*bh)
	some := false
	for y := range bh {
		row := outline[(o.box.Min.Y+y)*o.w+o.box.Min.X:][:bw]
		copy(marked[y*bw:], row)
		for _, v := range row {
			some = some || v
		}
	}
	out := make([]float32, bw*bh)
	if !some {
		for i := range out {
			out[i] = float32(math.Hypot(float64(i%bw), float64(i/bw+1)))
		}
		return out
	}
	for i, v := range squaredDistances(marked, bh, bw) {
		out[i] = float32(math.Sqrt(float64(v)))
	}
	return out
}

// Parts numbers the 8-connected parts of one value each, [h, w], from 1 on in
// the order of their first pixels, without those of fewer than least pixels; 0
// is no part. It returns how many there are.
func Parts(value []uint32, h, w, least int) ([]uint32, int) {
	out := make([]uint32, len(value))
	n := uint32(0)
	var part []int
	seen := make([]bool, len(value))
	for first, v := range value {
		if v == 0 || seen[first] {
			continue
		}
		seen[first] = true
		part = append(part[:0], first)
		for i := 0; i < len(part); i++ {
			y, x := part[i]/w, part[i]%w
			for b := max(y-1, 0); b <= min(y+1, h-1); b++ {
				for a := max(x-1, 0); a <= min(x+1, w-1); a++ {
					if q := b*w + a; value[q] == v && !seen[q] {
						seen[q] = true
						part = append(part, q)
					}
				}
			}
		}
		if len(part) < least {
			continue
		}
		n++
		for _, p := range part {
			out[p] = n
		}
	}
	return out, int(n)
}
