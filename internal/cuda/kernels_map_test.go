//go:build gpu && cgo && linux

package cuda

import (
	"fmt"
	"math"
	"testing"
)

// TestMapRows compares the kernels of maps that take one launch with their
// definitions, element by element.
func TestMapRows(t *testing.T) {
	d := openOrSkip(t)
	x, y := random(1, 5*7*3), random(2, 5*7*8)
	taps, bias := random(3, 9*3), random(4, 3)
	at := func(r, c, k int) float64 {
		return float64(x[(min(max(r, 0), 4)*7+min(max(c, 0), 6))*3+k])
	}
	// near is the coordinate of pixel i of twice as many, between pixels' middles.
	near := func(i int) (int, float64) {
		f := (float64(i)+0.5)/2 - 0.5
		return int(math.Floor(f)), f - math.Floor(f)
	}
	bilinear := func(i int) float64 {
		r, fr := near(i / 3 / 14)
		c, fc := near(i / 3 % 14)
		return (1-fr)*((1-fc)*at(r, c, i%3)+fc*at(r, c+1, i%3)) + fr*((1-fc)*at(r+1, c, i%3)+fc*at(r+1, c+1, i%3))
	}
	depthwise := func(stride, wide int) func(i int) float64 {
		return func(i int) float64 {
			k, c, r := i%3, i/3%wide*stride, i/3/wide*stride
			sum := float64(bias[k])
			for tap := range 9 {
				if yy, xx := r+tap/3-1, c+tap%3-1; yy >= 0 && yy < 5 && xx >= 0 && xx < 7 {
					sum += at(yy, xx, k) * float64(taps[3*tap+k])
				}
			}
			return sum
		}
	}
	for _, tt := range []struct {
		name string
		l    launch
		n    int
		want func(i int) float64
	}{
		{"bilinear2x", elementLaunch("bilinear2x", 4*len(x), x, 5, 7, 3), 4 * len(x), bilinear},
		{"depthwise", elementLaunch("depthwise", len(x), x, taps, bias, 5, 7, 3, 1, 7), len(x), depthwise(1, 7)},
		{"depthwise by twos", elementLaunch("depthwise", 3*4*3, x, taps, bias, 5, 7, 3, 2, 4), 3 * 4 * 3, depthwise(2, 4)},
		{"skip", elementLaunch("skip", 35*7, x, y, 3, 8, 2, 4), 35 * 7, func(i int) float64 {
			if i%7 < 3 {
				return float64(x[i/7*3+i%7])
			}
			return float64(y[i/7*8+2+i%7-3])
		}},
		{"sigmoid", elementLaunch("sigmoid", len(x), x), len(x), func(i int) float64 { return 1 / (1 + math.Exp(-float64(x[i]))) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := make([]float64, tt.n)
			for i := range want {
				want[i] = tt.want(i)
			}
			compare(t, want, runKernel(t, d, tt.l, nan(tt.n)), exact)
		})
	}
}

// TestChannelNorm runs the three launches of a norm over the channels of a
// map.
func TestChannelNorm(t *testing.T) {
	d := openOrSkip(t)
	for _, s := range []struct {
		rows, c int
		scaled  bool
	}{{1, 1, false}, {1030, 33, true}, {7, 64, true}, {600, 3, false}} {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			x, gamma, beta := random(1, s.rows*s.c), random(2, s.c), random(3, s.c)
			for i := range x {
				x[i] += 3 // a mean that rounding would show
			}
			const eps = 1e-5
			want := make([]float64, len(x))
			for k := range s.c {
				var mean, variance float64
				for r := range s.rows {
					mean += float64(x[r*s.c+k]) / float64(s.rows)
				}
				for r := range s.rows {
					variance += math.Pow(float64(x[r*s.c+k])-mean, 2) / float64(s.rows)
				}
				for r := range s.rows {
					v := (float64(x[r*s.c+k]) - mean) / math.Sqrt(variance+float64(float32(eps)))
					if s.scaled {
						v = v*float64(gamma[k]) + float64(beta[k])
					}
					want[r*s.c+k] = v
				}
			}
			var g, b any
			if s.scaled {
				g, b = gamma, beta
			}
			parts := channelParts(s.rows)
			sums := runKernel(t, d, channelSums(nil, x, s.rows, s.c)[0].withoutResult(), nan(4*parts*s.c))
			scale := runKernel(t, d, elementLaunch("channel_scale", s.c, sums, nil, nil, g, b, eps, parts, s.rows), nan(2*s.c))
			// Where all rows are alike, what is left of the mean is magnified by 1/sqrt(eps).
			tol := 4 * exact
			if s.rows == 1 {
				tol = 1e-4
				for i := range want {
					want[i]++ // not relative to 0
				}
			}
			got := runKernel(t, d, elementLaunch("scale_shift", len(x), inPlace{}, scale, s.c), x)
			if s.rows == 1 {
				for i := range got {
					got[i]++
				}
			}
			compare(t, want, got, tol)

			mean, variance := random(4, s.c), random(5, s.c)
			for k := range s.c {
				variance[k] *= variance[k]
				want[k] = 1 / math.Sqrt(float64(variance[k])+float64(float32(eps)))
			}
			kept := runKernel(t, d, elementLaunch("channel_scale", s.c, nil, mean, variance, nil, nil, eps, 0, 0), nan(2*s.c))
			for k := range s.c {
				compare(t, []float64{want[k], -float64(mean[k]) * want[k]}, []float32{kept[k], kept[s.c+k]}, exact)
			}
		})
	}
}

// withoutResult is the launch without its first argument, for runKernel.
func (l launch) withoutResult() launch {
	l.args = l.args[1:]
	return l
}

func TestOffsetAttention(t *testing.T) {
	d := openOrSkip(t)
	for _, s := range []relPosCase{{3, 5, 2, 2, 8}, {9, 7, 7, 1, 32}, {4, 13, 12, 2, 40}, {1, 1, 1, 1, 2}} {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			qkv, _, _, pad := s.inputs()
			bias := random(9, s.heads*s.window*s.window)
			width := s.heads * s.hd
			value := func(y, x, part, head, dim int) float64 {
				i := (part*s.heads+head)*s.hd + dim
				if y < s.h && x < s.w {
					return float64(qkv[(y*s.w+x)*3*width+i])
				}
				return float64(pad[i])
			}
			want := make([]float64, s.h*s.w*width)
			for i := range s.h * s.w * s.heads {
				head, x, y := i%s.heads, i/s.heads%s.w, i/s.heads/s.w
				top, left := y/s.window*s.window, x/s.window*s.window
				score := func(j int) (sum float64) {
					ky, kx := top+j/s.window, left+j%s.window
					for c := range s.hd {
						sum += value(y, x, 0, head, c) * value(ky, kx, 1, head, c)
					}
					dy, dx := max(ky-y, y-ky), max(kx-x, x-kx)
					return sum/math.Sqrt(float64(s.hd)) + float64(bias[head*s.window*s.window+dy*s.window+dx])
				}
				copy(want[i*s.hd:], softmaxLoop(s.window*s.window, s.hd, score, func(j, c int) float64 {
					return value(top+j/s.window, left+j%s.window, 2, head, c)
				}))
			}
			l := offsetLaunch(qkv, bias, pad, s.h, s.w, s.window, s.heads, s.hd)
			compare(t, want, runKernel(t, d, l, nan(len(want))), 5e-6)
		})
	}
}
