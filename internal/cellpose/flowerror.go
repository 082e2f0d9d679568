package cellpose

import (
	"context"
	"image"
	"math"

	"github.com/slidesam/sam/internal/kernel"
)

// boxesOf returns the boxes of the cells 1 to n.
func boxesOf(labels []uint32, n, w int) []image.Rectangle {
	out := make([]image.Rectangle, n)
	for i, l := range labels {
		if l != 0 {
			b := &out[l-1]
			x, y := i%w, i/w
			if b.Empty() {
				*b = image.Rect(x, y, x+1, y+1)
				continue
			}
			b.Min.X, b.Max.X, b.Max.Y = min(b.Min.X, x), max(b.Max.X, x+1), y+1
		}
	}
	return out
}

// flowErrors returns for each of the cells 1 to n how far the flows in it are
// from those that such a cell has: the mean of the squared differences of unit
// vectors. A cell's own flows run up the heat that spreads from its middle.
//
// Heat is float64; upstream takes float32 for pictures of more than 40 million
// pixels.
//
// Source: dynamics.py, flow_error, masks_to_flows_gpu, _extend_centers_gpu
// (cellpose 4.2.1.1).
func flowErrors(ctx context.Context, labels []uint32, n int, m Maps) ([]float64, error) {
	boxes := boxesOf(labels, n, m.W)
	most := 0
	for _, b := range boxes {
		most = max(most, b.Dx()+b.Dy()+2)
	}
	heat := make([]float64, m.H*m.W)
	kernel.Parallel(n, func(i int) {
		if ctx.Err() == nil {
			spread(heat, labels, uint32(i+1), boxes[i], m.W, 2*most)
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	at := func(x, y int) float64 {
		if x < 0 || y < 0 || x >= m.W || y >= m.H {
			return 0
		}
		return heat[y*m.W+x]
	}
	sum, count := make([]float64, n), make([]float64, n)
	for i, l := range labels {
		if l == 0 {
			continue
		}
		x, y := i%m.W, i/m.W
		dy, dx := at(x, y+1)-at(x, y-1), at(x+1, y)-at(x-1, y)
		length := 1e-60 + math.Sqrt(float64(dy*dy)+float64(dx*dx))
		ey, ex := dy/length-float64(m.Down[i]/5), dx/length-float64(m.Right[i]/5)
		sum[l-1] += float64(ey*ey) + float64(ex*ex)
		count[l-1]++
	}
	for i := range sum {
		sum[i] /= count[i]
	}
	return sum, nil
}

// middle returns the pixel of a cell where its heat comes from: its centre of
// mass, or the first pixel nearest to it if that lies outside.
func middle(labels []uint32, l uint32, b image.Rectangle, w int) image.Point {
	var n, sx, sy int
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if labels[y*w+x] == l {
				n, sx, sy = n+1, sx+x-b.Min.X, sy+y-b.Min.Y
			}
		}
	}
	c := image.Pt(b.Min.X+int(math.RoundToEven(float64(sx)/float64(n))), b.Min.Y+int(math.RoundToEven(float64(sy)/float64(n))))
	if labels[c.Y*w+c.X] == l {
		return c
	}
	best, nearest := image.Point{}, math.MaxInt
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if d := (x-c.X)*(x-c.X) + (y-c.Y)*(y-c.Y); labels[y*w+x] == l && d < nearest {
				best, nearest = image.Pt(x, y), d
			}
		}
	}
	return best
}

// sides are the order in which neighbours' heat is added up.
var sides = [9]image.Point{{0, 0}, {0, -1}, {0, 1}, {-1, 0}, {1, 0}, {-1, -1}, {1, -1}, {-1, 1}, {1, 1}}

// spread lets heat spread over one cell: in each step its middle gets 1 more,
// and each pixel the mean of itself and its eight neighbours, which are 0
// outside of the cell.
func spread(heat []float64, labels []uint32, l uint32, b image.Rectangle, w, steps int) {
	bw := b.Dx() + 2
	now, next := make([]float64, bw*(b.Dy()+2)), make([]float64, bw*(b.Dy()+2))
	var in []int // pixels of the cell in the box with an edge
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if labels[y*w+x] == l {
				in = append(in, (y-b.Min.Y+1)*bw+x-b.Min.X+1)
			}
		}
	}
	var off [9]int
	for k, d := range sides {
		off[k] = d.Y*bw + d.X
	}
	c := middle(labels, l, b, w)
	source := (c.Y-b.Min.Y+1)*bw + c.X - b.Min.X + 1
	for range steps {
		now[source]++
		for _, i := range in {
			s := 0.0
			for _, d := range off {
				s += now[i+d]
			}
			next[i] = s / 9
		}
		now, next = next, now
	}
	for _, i := range in {
		heat[(i/bw-1+b.Min.Y)*w+i%bw-1+b.Min.X] = now[i]
	}
}
