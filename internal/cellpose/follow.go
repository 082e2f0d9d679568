package cellpose

import (
	"context"
	"image"
	"math"

	"github.com/slidesam/sam/internal/kernel"
)

// piece is how many pixels are followed at a time.
const piece = 1 << 12

// follow lets the pixels at follow the flows, and returns where they end.
// Beyond the picture and outside of cells there is no flow. Positions run from
// -1 to 1 over the centres of the first and the last pixel, but flows are looked
// up as if over their outer edges, as upstream does: a pixel far from the
// picture's middle follows the flow of a place up to half a pixel away.
//
// Sums and products are in float32, in upstream's order, where fused those that
// its kernels fuse.
//
// Source: dynamics.py, follow_flows, steps_interp (cellpose 4.2.1.1);
// GridSamplerKernel.cpp, bilinear with zeros beyond the edge (PyTorch 2.15).
func follow(ctx context.Context, m Maps, at []int32, steps int) ([]image.Point, error) {
	f := newField(m, at)
	ends := make([]image.Point, len(at))
	kernel.Parallel((len(at)+piece-1)/piece, func(i int) {
		if ctx.Err() != nil {
			return
		}
		for k := i * piece; k < min(len(at), (i+1)*piece); k++ {
			x, y := f.end(int(at[k])%m.W, int(at[k])/m.W, steps)
			ends[k] = image.Pt(int(x), int(y))
		}
	})
	return ends, ctx.Err()
}

// field is the flows as steps of positions between -1 and 1.
type field struct {
	h, w   int
	flow   [][2]float32 // [h*w], right and down
	sx, sy float32      // half the picture's size
	lx, ly float32      // pixels from the first centre to the last
}

func newField(m Maps, at []int32) *field {
	f := &field{
		h: m.H, w: m.W, flow: make([][2]float32, m.H*m.W),
		sx: float32(m.W) / 2, sy: float32(m.H) / 2, lx: float32(m.W - 1), ly: float32(m.H - 1),
	}
	// A picture of one column or row has no way along it.
	kx, ky := float32(2/float64(max(m.W-1, 1))), float32(2/float64(max(m.H-1, 1)))
	for _, i := range at {
		f.flow[i] = [2]float32{m.Right[i] / 5 * kx, m.Down[i] / 5 * ky}
	}
	return f
}

// fma is a*b + c, rounded once to float64 and then to float32.
func fma(a, b, c float32) float32 { return float32(math.FMA(float64(a), float64(b), float64(c))) }

// end follows the flows from a pixel, and returns its last place in pixels.
func (f *field) end(x, y, steps int) (float32, float32) {
	px, py := float32(float32(x)/max(f.lx, 1)*2)-1, float32(float32(y)/max(f.ly, 1)*2)-1
	for range steps {
		ix, iy := fma(px+1, f.sx, -0.5), fma(py+1, f.sy, -0.5)
		fx, fy := float32(math.Floor(float64(ix))), float32(math.Floor(float64(iy)))
		w, n := ix-fx, iy-fy
		e, s := 1-w, 1-n
		x0, y0 := int(fx), int(fy)
		nw, ne, sw, se := f.at(x0, y0), f.at(x0+1, y0), f.at(x0, y0+1), f.at(x0+1, y0+1)
		a, b, c, d := float32(s*e), float32(s*w), float32(n*e), float32(n*w)
		dx := fma(se[0], d, fma(sw[0], c, fma(ne[0], b, float32(nw[0]*a))))
		dy := fma(se[1], d, fma(sw[1], c, fma(ne[1], b, float32(nw[1]*a))))
		qx, qy := min(max(px+dx, -1), 1), min(max(py+dy, -1), 1)
		if qx == px && qy == py {
			break // here it stays
		}
		px, py = qx, qy
	}
	return float32((px+1)*0.5) * f.lx, float32((py+1)*0.5) * f.ly
}

func (f *field) at(x, y int) [2]float32 {
	if x < 0 || y < 0 || x >= f.w || y >= f.h {
		return [2]float32{}
	}
	return f.flow[y*f.w+x]
}
