package kernel

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestBilinear2x(t *testing.T) {
	eachImpl(t, func(t *testing.T, _ *impl) {
		for _, s := range []struct{ h, w, c int }{{1, 1, 3}, {1, 4, 1}, {5, 3, 17}, {16, 8, 64}} {
			x := random(newRand(s.h, s.w, s.c), s.h*s.w*s.c)
			dst := newCanary(4*len(x), 3)
			Bilinear2x(dst.out, x, s.h, s.w, s.c)
			dst.check(t, 3, nil)
			want := make([]float64, len(dst.out))
			at := func(i, n int) (a, b int, share float64) { // align_corners=False
				p := max(0, (float64(i)+0.5)/2-0.5)
				a = int(p)
				return a, min(a+1, n-1), p - float64(a)
			}
			for y := range 2 * s.h {
				y0, y1, fy := at(y, s.h)
				for xx := range 2 * s.w {
					x0, x1, fx := at(xx, s.w)
					for k := range s.c {
						v := func(y, xx int) float64 { return float64(x[(y*s.w+xx)*s.c+k]) }
						want[(y*2*s.w+xx)*s.c+k] = (1-fy)*((1-fx)*v(y0, x0)+fx*v(y0, x1)) + fy*((1-fx)*v(y1, x0)+fx*v(y1, x1))
					}
				}
			}
			closeTo(t, want, dst.out, 4e-7, 0)
		}
	})
}

func TestChannelStats(t *testing.T) {
	const rows, c = 3*channelRows + 7, 37
	x := random(newRand(rows, c), rows*c)
	mean, variance := make([]float64, c), make([]float64, c)
	ChannelStats(mean, variance, x, rows, c)
	for k := range c {
		var sum, square float64
		for i := range rows {
			sum += float64(x[i*c+k])
		}
		for i := range rows {
			d := float64(x[i*c+k]) - sum/rows
			square += d * d
		}
		assert.InDelta(t, sum/rows, mean[k], 1e-12)
		assert.InDelta(t, square/rows, variance[k], 1e-12)
	}
	y := make([]float32, len(x))
	scale, shift := make([]float32, c), make([]float32, c)
	for i := range scale {
		scale[i], shift[i] = float32(i+1), float32(i%2)
	}
	ScaleShift(y, x, scale, shift, rows, c)
	for i, v := range y {
		assert.Equal(t, float32(x[i]*float32(i%c+1))+float32(i%c%2), v)
	}
}

func TestSigmoid(t *testing.T) {
	x := []float32{0, 1, -1, 200, -200, float32(math.Inf(-1))}
	Sigmoid(x, x)
	for i, want := range []float32{0.5, 0.7310586, 0.26894143, 1, 0, 0} {
		assert.InDelta(t, want, x[i], 1e-7, fmt.Sprint(i))
	}
}

func TestDepthwise3x3(t *testing.T) {
	for _, s := range []struct{ h, w, c, stride int }{{1, 1, 3, 1}, {2, 3, 5, 2}, {7, 5, 33, 1}, {8, 6, 16, 2}, {9, 9, 4, 2}} {
		r := newRand(s.h, s.w, s.c)
		x, weight, bias := guarded(random(r, s.h*s.w*s.c), 3), random(r, 9*s.c), random(r, s.c)
		oh, ow := (s.h+s.stride-1)/s.stride, (s.w+s.stride-1)/s.stride
		dst := newCanary(oh*ow*s.c, 5)
		Depthwise3x3(dst.out, x, weight, bias, s.h, s.w, s.c, s.stride)
		dst.check(t, 5, nil)
		want := make([]float64, len(dst.out))
		for i := range want {
			y, xx, k := i/s.c/ow*s.stride, i/s.c%ow*s.stride, i%s.c
			want[i] = float64(bias[k])
			for tap := range 9 {
				if ty, tx := y+tap/3-1, xx+tap%3-1; ty >= 0 && ty < s.h && tx >= 0 && tx < s.w {
					want[i] += float64(x[(ty*s.w+tx)*s.c+k]) * float64(weight[tap*s.c+k])
				}
			}
		}
		closeTo(t, want, dst.out, sumTolerance(9), 1e-6)
	}
}
