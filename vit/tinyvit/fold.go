package tinyvit

import (
	"math"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/weights"
)

// read calls use with the values of all params, which use must not keep.
func read(use func(values [][]float32), params ...*weights.Param) error {
	if len(params) == 0 {
		use(nil)
		return nil
	}
	last := len(params) - 1
	var inner error
	err := params[last].Use(func(v []float32) {
		inner = read(func(values [][]float32) { use(append(values, v)) }, params[:last]...)
	})
	if err != nil {
		return err
	}
	return inner
}

// folded is a convolution with its batch norm folded into weight and bias, in
// float64.
//
// Source: tiny_vit_sam.py, Conv2d_BN.fuse.
func folded(s *layer.Set, p *ConvNormParams) layer.Linear {
	n := p.Conv.Shape[0]
	scale := func(gamma, variance []float32) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = float64(gamma[i]) / math.Sqrt(float64(variance[i])+eps)
		}
		return out
	}
	w := graph.NewWeight(p.Conv.Name(), p.Conv.Shape, func(use func([]float32)) error {
		return read(func(v [][]float32) {
			by := scale(v[1], v[2])
			out := make([]float32, len(v[0]))
			for i, x := range v[0] {
				out[i] = float32(float64(x) * by[i/(len(out)/n)])
			}
			use(out)
		}, &p.Conv, &p.W, &p.Variance)
	})
	b := graph.NewWeight(p.B.Name(), p.B.Shape, func(use func([]float32)) error {
		return read(func(v [][]float32) {
			by := scale(v[1], v[2])
			out := make([]float32, n)
			for i := range out {
				out[i] = float32(float64(v[0][i]) - float64(float64(v[3][i])*by[i]))
			}
			use(out)
		}, &p.B, &p.W, &p.Variance, &p.Mean)
	})
	s.Add(w, b)
	return layer.Linear{W: w, B: b}
}

// headsApart is the projection to queries, keys and values with its rows in
// the order (q, k or v, head, channel), and what a padding token has of them.
// Upstream pads the map with zeros before the norm, which makes the norm's
// shift of them: their projection is the bias plus that of the shift.
func headsApart(s *layer.Set, p *BlockParams, heads int) (layer.Linear, *graph.Weight) {
	rows, width := p.QKV.W.Shape[0], p.QKV.W.Shape[1]
	dim := rows / 3 / heads
	from := func(row int) int { // row of the checkpoint
		part, head, c := row/(heads*dim), row/dim%heads, row%dim
		return (head*3+part)*dim + c
	}
	w := graph.NewWeight(p.QKV.W.Name(), p.QKV.W.Shape, func(use func([]float32)) error {
		return read(func(v [][]float32) {
			out := make([]float32, len(v[0]))
			for r := range rows {
				copy(out[r*width:(r+1)*width], v[0][from(r)*width:])
			}
			use(out)
		}, &p.QKV.W)
	})
	b := graph.NewWeight(p.QKV.B.Name(), p.QKV.B.Shape, func(use func([]float32)) error {
		return read(func(v [][]float32) {
			out := make([]float32, rows)
			for r := range out {
				out[r] = v[0][from(r)]
			}
			use(out)
		}, &p.QKV.B)
	})
	pad := graph.NewWeight(p.QKV.B.Name()+" of padding", p.QKV.B.Shape, func(use func([]float32)) error {
		return read(func(v [][]float32) {
			out := make([]float32, rows)
			for r := range out {
				sum := float64(v[1][from(r)])
				for i, x := range v[0][from(r)*width:][:width] {
					sum += float64(float64(x) * float64(v[2][i]))
				}
				out[r] = float32(sum)
			}
			use(out)
		}, &p.QKV.W, &p.QKV.B, &p.Norm.B)
	})
	s.Add(w, b, pad)
	return layer.Linear{W: w, B: b}, pad
}
