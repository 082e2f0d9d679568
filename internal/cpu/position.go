package cpu

import (
	"fmt"
	"math"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// encode writes the random-Fourier encoding of a point with coordinates in
// [0, 1] into dst: sines, then cosines, of 2π times its projections on the
// columns of g [2, F]. Arguments are rounded to float32 as upstream's are.
func encode(dst []float32, x, y float32, g []float32) {
	f := len(g) / 2
	cx, cy := 2*x-1, 2*y-1
	for i := range f {
		a := float32(float32(cx*g[i])+float32(cy*g[f+i])) * float32(2*math.Pi)
		s, c := math.Sincos(float64(a))
		dst[i], dst[f+i] = float32(s), float32(c)
	}
}

func runPoints(p op.Points, out graph.View, in []graph.View) error {
	c, rows := out.Shape[1], in[2].Shape[0]
	for i := range out.Shape[0] {
		pt, dst := in[0].Data[3*i:3*i+3], out.Data[i*c:(i+1)*c]
		label := int(pt[2])
		if label < -1 || label+1 >= rows {
			return fmt.Errorf("label %v of point %d is none of -1 to %d", pt[2], i, rows-2)
		}
		if label == -1 {
			copy(dst, in[2].Data[:c])
			continue
		}
		encode(dst, (pt[0]+0.5)/float32(p.Size), (pt[1]+0.5)/float32(p.Size), in[1].Data)
		for j, v := range in[2].Data[(label+1)*c : (label+2)*c] {
			dst[j] += v
		}
	}
	return nil
}

func densePositions(d op.DensePositions, out graph.View, in []graph.View) {
	c := out.Shape[1]
	kernel.Parallel(d.H, func(y int) {
		for x := range d.W {
			encode(out.Data[(y*d.W+x)*c:][:c], (float32(x)+0.5)/float32(d.W), (float32(y)+0.5)/float32(d.H), in[0].Data)
		}
	})
}
