package kernel

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestBilinear2xGrad: <y, B x> = <Bt y, x> for every pixel's own x.
func TestBilinear2xGrad(t *testing.T) {
	eachImpl(t, func(t *testing.T, _ *impl) {
		for _, s := range []struct{ h, w, c int }{{1, 1, 3}, {1, 4, 1}, {5, 3, 17}, {6, 8, 64}} {
			t.Run(fmt.Sprint(s), func(t *testing.T) {
				n := s.h * s.w * s.c
				dy := random(newRand(s.h, s.w, s.c, 1), 4*n)
				dx := newCanary(n, 3)
				Bilinear2xGrad(dx.out, guarded(dy, 2), s.h, s.w, s.c)
				dx.check(t, 3, nil)
				want, one, up := make([]float64, n), make([]float32, n), make([]float32, 4*n)
				for i := range n {
					one[i] = 1
					Bilinear2x(up, one, s.h, s.w, s.c)
					for j, v := range up {
						want[i] += float64(v) * float64(dy[j])
					}
					one[i] = 0
				}
				closeTo(t, want, dx.out, 2e-6, 0) // a few roundings of sums of sixteen
			})
		}
	})
}

func TestChannelSums(t *testing.T) {
	const rows, c = 3*channelRows + 7, 5
	x, dy := random(newRand(1), rows*c), random(newRand(2), rows*c)
	mean := []float64{0.5, -1, 2, 0, 1e3}
	sum, dot := []float64{9, 9, 9, 9, 9}, []float64{9, 9, 9, 9, 9} // overwritten
	ChannelSums(sum, dot, dy, x, mean, rows, c)
	for k := range c {
		var s, d float64
		for i := range rows {
			v := float64(dy[i*c+k])
			s += v
			d += v * (float64(x[i*c+k]) - mean[k])
		}
		assert.InDelta(t, s, sum[k], 1e-9)
		assert.InDelta(t, d, dot[k], 1e-6*math.Abs(mean[k])+1e-9)
	}
	a, b, m, shift := []float32{1, 2, 3, 4, 5}, []float32{0, 1, 0, -1, 0}, []float32{0, 3, 0, 2, 0}, []float32{0, 0, 7, 0, 0}
	got := make([]float32, len(x))
	ChannelSlope(got, dy, x, a, b, m, shift, rows, c)
	for i, v := range got {
		k := i % c
		assert.Equal(t, float32(dy[i]*a[k])+float32((x[i]-m[k])*b[k])+shift[k], v)
	}
}

func TestSigmoidGrad(t *testing.T) {
	n := chunk + 5
	x := random(newRand(3), n)
	dy, y := random(newRand(4), n), make([]float32, n)
	Sigmoid(y, x)
	dx := newCanary(n, 1)
	SigmoidGrad(dx.out, guarded(dy, 1), guarded(y, 2))
	dx.check(t, 1, nil)
	want := make([]float64, n)
	for i, v := range x {
		p := 1 / (1 + math.Exp(-float64(v)))
		want[i] = float64(dy[i]) * p * (1 - p)
	}
	closeTo(t, want, dx.out, 1e-6, 1e-6)
}
