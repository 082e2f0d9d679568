//go:build gpu && cgo && linux

package cuda_test

import (
	"context"
	"fmt"
	"image"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cuda"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/op"
	"github.com/slidesam/sam/internal/resample"
)

// planes is a program whose output is its input: count planes of h x w.
func planes(t *testing.T, d *cuda.Device, count, h, w int) (*cuda.Program, []float32) {
	t.Helper()
	b := graph.NewBuilder()
	x := b.Input("x", count, h*w)
	p, err := cuda.Backend{Device: d}.Compile(b, graph.CompileOptions{}, b.Apply(op.Add{}, x, b.Constant("none", make([]float32, h*w), 1, h*w)))
	require.NoError(t, err)
	in, rng := p.Input("x"), rand.New(rand.NewPCG(uint64(count), 3))
	for i := range in {
		in[i] = float32(rng.NormFloat64())
	}
	require.NoError(t, p.Run(context.Background()))
	return p.(*cuda.Program), p.Output(0)
}

// TestCut compares masks and counts with the logits that the CPU upscales,
// but for pixels within a rounding of a threshold, of which there are hardly
// any.
func TestCut(t *testing.T) {
	d := device(t)
	const count, side, frame = 5, 12, 48
	p, low := planes(t, d, count, side, side)
	limits := [3]float32{-0.5, 0.25, 0.75}
	for _, s := range []struct{ input, picture resample.Size }{
		{resample.Size{H: 48, W: 48}, resample.Size{H: 48, W: 48}}, {resample.Size{H: 31, W: 48}, resample.Size{H: 62, W: 96}},
		{resample.Size{H: 48, W: 30}, resample.Size{H: 37, W: 23}}, {resample.Size{H: 48, W: 48}, resample.Size{H: 3, W: 300}},
		{resample.Size{H: 48, W: 20}, resample.Size{H: 129, W: 65}},
	} {
		t.Run(fmt.Sprintf("%v to %v", s.input, s.picture), func(t *testing.T) {
			u, err := resample.NewUpscaler(resample.Size{H: side, W: side}, frame, s.input, s.picture)
			require.NoError(t, err)
			for _, which := range [][]int{{4, 0, 2}, {1}, {3, 3}} {
				cuts, err := p.Cut(context.Background(), which, u, limits)
				require.NoError(t, err)
				full := make([]float32, s.picture.H*s.picture.W)
				at, whole := image.Pt(7, 5), mask.Size{H: s.picture.H + 9, W: s.picture.W + 70}
				for i, k := range which {
					require.NoError(t, u.Logits(full, low[k*side*side:][:side*side]))
					m, err := cuts.Mask(i, image.Point{}, mask.Size(s.picture))
					require.NoError(t, err)
					moved, err := cuts.Mask(i, at, whole)
					require.NoError(t, err)
					assert.Equal(t, m.Area(), moved.Area())
					var above [2]int
					unsure := 0
					for j, v := range full {
						for n, l := range []float32{limits[0], limits[2]} {
							if v > l {
								above[n]++
							}
						}
						for _, l := range limits {
							if v > l-1e-5 && v < l+1e-5 {
								unsure++
							}
						}
						x, y := j%s.picture.W, j/s.picture.W
						if v < limits[1]-1e-5 || v > limits[1]+1e-5 {
							require.Equal(t, v > limits[1], m.At(x, y), "plane %d at %d,%d", k, x, y)
							require.Equal(t, v > limits[1], moved.At(x+at.X, y+at.Y))
						}
					}
					assert.LessOrEqual(t, unsure, 2)
					assert.InDelta(t, above[0], cuts.Above[i][0], float64(unsure))
					assert.InDelta(t, above[1], cuts.Above[i][1], float64(unsure))
				}
			}
		})
	}
	u, err := resample.NewUpscaler(resample.Size{H: side, W: side}, frame, resample.Size{H: 48, W: 1}, resample.Size{H: 70000, W: 1})
	require.NoError(t, err)
	cuts, err := p.Cut(context.Background(), []int{0}, u, limits)
	require.NoError(t, err)
	assert.Nil(t, cuts, "more rows than a grid has: for the CPU")
	_, err = p.Cut(context.Background(), []int{count}, u, limits)
	assert.ErrorContains(t, err, "cuda: cut: planes [5]")

	if strings.HasPrefix(d.Info().Name, "stand-in") {
		u, err := resample.NewUpscaler(resample.Size{H: side, W: side}, frame, resample.Size{H: 48, W: 48}, resample.Size{H: 1000, W: 1000})
		require.NoError(t, err)
		before := cuda.Allocations(d)
		t.Setenv("STANDIN_MEMORY", "1000")
		cuts, err := p.Cut(context.Background(), []int{0}, u, limits)
		require.NoError(t, err)
		assert.Nil(t, cuts, "no room: for the CPU")
		assert.Equal(t, before, cuda.Allocations(d))
	}
}
