package cpu

import (
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// quartersFirst moves a weight [in, out, 2, 2] to [4, out, in] or, with back,
// the other way.
func quartersFirst(dst, src []float32, in, out int, back bool) {
	for i := range in {
		for o := range out {
			for q := range 4 {
				file, rows := (i*out+o)*4+q, (q*out+o)*in+i
				if back {
					dst[file] = src[rows]
				} else {
					dst[rows] = src[file]
				}
			}
		}
	}
}

// tapsFirst moves a weight [out, in, 3, 3] to [out, 9, in] or, with back, the
// other way.
func tapsFirst(dst, src []float32, out, in int, back bool) {
	for o := range out {
		for i := range in {
			for k := range 9 {
				file, rows := (o*in+i)*9+k, (o*9+k)*in+i
				if back {
					dst[file] = src[rows]
				} else {
					dst[rows] = src[file]
				}
			}
		}
	}
}

// eachPatch calls move for each value, in a patch and in the picture.
func eachPatch(p op.Patches, rows, x []float32, c int, move func(patch, pixel *float32)) {
	gw, row := p.W/p.Size, c*p.Size*p.Size
	kernel.Parallel(p.Batch*p.H/p.Size, func(gy int) {
		for gx := range gw {
			patch := rows[(gy*gw+gx)*row:][:row]
			for y := range p.Size {
				pixels := x[((gy*p.Size+y)*p.W+gx*p.Size)*c:][:p.Size*c]
				for k := range c {
					d := patch[(k*p.Size+y)*p.Size:][:p.Size]
					for i := range d {
						move(&d[i], &pixels[i*c+k])
					}
				}
			}
		}
	})
}

func runQuarters(q op.Quarters, out graph.View, in []graph.View) error {
	kernel.ToQuarters(out.Data, in[0].Data, q.Batch*q.H, q.W, in[0].Shape[1])
	return nil
}

func runUpscaleGradX(out graph.View, in []graph.View) error {
	w := make([]float32, len(in[1].Data))
	quartersFirst(w, in[1].Data, in[1].Shape[0], in[1].Shape[1], false)
	kernel.LinearGradX(out.Data, in[0].Data, w, nil, out.Shape[0], in[0].Shape[1], out.Shape[1])
	return nil
}

func runUpscaleGradW(out graph.View, in []graph.View) error {
	w := make([]float32, len(out.Data))
	kernel.LinearGradW(w, in[0].Data, in[1].Data, in[0].Shape[0], in[0].Shape[1], in[1].Shape[1])
	quartersFirst(out.Data, w, out.Shape[0], out.Shape[1], true)
	return nil
}

func runPatches(p op.Patches, out graph.View, in []graph.View) error {
	eachPatch(p, out.Data, in[0].Data, in[0].Shape[1], func(patch, pixel *float32) { *patch = *pixel })
	return nil
}

func runPatchesGrad(p op.PatchesGrad, out graph.View, in []graph.View) error {
	eachPatch(p.Patches, in[0].Data, out.Data, out.Shape[1], func(patch, pixel *float32) { *pixel = *patch })
	return nil
}

func runConv3x3GradX(c op.Conv3x3GradX, out graph.View, in []graph.View) error {
	o, i := in[1].Shape[0], in[1].Shape[1]
	w := make([]float32, len(in[1].Data))
	tapsFirst(w, in[1].Data, o, i, false)
	kernel.Conv3x3GradX(out.Data, in[0].Data, w, c.H, c.W, i, o)
	return nil
}

func runConv3x3GradW(c op.Conv3x3GradW, out graph.View, in []graph.View) error {
	o, i := out.Shape[0], out.Shape[1]
	w := make([]float32, len(out.Data))
	kernel.Conv3x3GradW(w, in[0].Data, in[1].Data, c.H, c.W, i, o)
	tapsFirst(out.Data, w, o, i, true)
	return nil
}
