package cellpose

import (
	"testing"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/vit"
)

// Ends returns where the pixels of cells end, [2, N]: down, right.
func Ends(t testing.TB, m Maps, o Options) []float32 {
	var at []int32
	for i, v := range m.Logit {
		if v > o.CellThreshold {
			at = append(at, int32(i))
		}
	}
	f := newField(m, at)
	out := make([]float32, 2*len(at))
	for k, i := range at {
		x, y := f.end(int(i)%m.W, int(i)/m.W, o.Iterations)
		out[k], out[len(at)+k] = y, x
	}
	return out
}

// Normalised is the network's input of a picture, [H, W, 3].
func Normalised(p resample.RGB) []float32 {
	table := LevelsOf(p).table()
	out := make([]float32, len(p.Pix))
	for i, v := range p.Pix {
		out[i] = table[i%3][v]
	}
	return out
}

// Window runs the network on one window [3, side, side] and returns its maps,
// [3, side, side].
func (n *Network) Window(t testing.TB, x []float32) []float32 {
	side := n.Config().Side()
	out := make([]float32, len(x))
	err := n.pool.With(t.Context(), struct{}{}, func(r graph.Program) error {
		in := r.Input(vit.Picture)
		for i := range side * side {
			for c := range 3 {
				in[3*i+c] = x[c*side*side+i]
			}
		}
		if err := r.Run(t.Context()); err != nil {
			return err
		}
		at := n.pixels(r.Output(0))
		for i := range out {
			out[i] = at(i/(side*side), i/side%side, i%side)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Axis is how a side is padded and cut into windows.
func Axis(size, window int) (before, padded int, starts []int) {
	a := newAxis(size, window)
	return a.before, a.padded, a.starts
}
