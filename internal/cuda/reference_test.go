//go:build gpu && cgo && linux

package cuda

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// mustHaveDevice reports whether a missing device is a failure.
func mustHaveDevice() bool { return os.Getenv("SAM_CUDA") != "" }

// random returns n normal values, the same for each seed.
func random(seed uint64, n int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// nan returns n values that no kernel may leave.
func nan(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return x
}

func activated(v float64, act int) float64 {
	switch act {
	case actReLU:
		return max(v, 0)
	case actGELU:
		return 0.5 * v * (1 + math.Erf(v/math.Sqrt2))
	}
	return v
}

// productLoop is act(a·wᵀ + bias) + add with repeated rows.
func productLoop(a, w, bias, add []float32, m, n, k, act int) []float64 {
	out := make([]float64, m*n)
	for i := range m {
		for j := range n {
			var v float64
			for q := range k {
				v += float64(a[i*k+q]) * float64(w[j*k+q])
			}
			if bias != nil {
				v += float64(bias[j])
			}
			v = activated(v, act)
			if add != nil {
				v += float64(add[(i*n+j)%len(add)])
			}
			out[i*n+j] = v
		}
	}
	return out
}

// convLoop is GELU(a convolution + bias) + add with repeated rows; without a
// bias there is no GELU either.
func convLoop(c conv, x, weight, bias, add []float32) []float64 {
	oh, ow := c.result()
	k := c.size * c.size * c.in
	want := make([]float64, c.maps*oh*ow*c.out)
	for i := range want {
		o, px, py, b := i%c.out, i/c.out%ow, i/c.out/ow%oh, i/c.out/ow/oh
		for j := range k {
			y, x0 := py*c.stride-c.pad+j/c.in/c.size, px*c.stride-c.pad+j/c.in%c.size
			if y >= 0 && y < c.h && x0 >= 0 && x0 < c.w {
				want[i] += float64(x[((b*c.h+y)*c.w+x0)*c.in+j%c.in]) * float64(weight[o*k+j])
			}
		}
		if bias != nil {
			want[i] = activated(want[i]+float64(bias[o]), actGELU) + float64(add[i%len(add)])
		}
	}
	return want
}

// relPosCase is a shape of the encoder's attention.
type relPosCase struct{ h, w, window, heads, hd int }

var relPosCases = []relPosCase{
	{3, 5, 0, 2, 8}, {9, 7, 4, 3, 16}, {8, 8, 3, 1, 80}, {1, 1, 0, 1, 2}, {14, 9, 14, 2, 64}, {10, 11, 0, 1, 128},
}

// size is the window's, or the whole map's.
func (s relPosCase) size() (sh, sw int) {
	if s.window == 0 {
		return s.h, s.w
	}
	return s.window, s.window
}

func (s relPosCase) inputs() (qkv, relh, relw, pad []float32) {
	sh, sw := s.size()
	width := s.heads * s.hd
	return random(1, s.h*s.w*3*width), random(2, (2*sh-1)*s.hd), random(3, (2*sw-1)*s.hd), random(4, 3*width)
}

func (s relPosCase) loop(qkv, relh, relw, pad []float32) []float64 {
	sh, sw := s.size()
	width := s.heads * s.hd
	at := func(y, x, part, head, dim int) float64 {
		i := (part*s.heads+head)*s.hd + dim
		if y < s.h && x < s.w {
			return float64(qkv[(y*s.w+x)*3*width+i])
		}
		return float64(pad[i])
	}
	want := make([]float64, s.h*s.w*width)
	for i := range s.h * s.w * s.heads {
		head, x, y := i%s.heads, i/s.heads%s.w, i/s.heads/s.w
		y0, x0 := y/sh*sh, x/sw*sw
		score := func(j int) (v float64) {
			ky, kx := y0+j/sw, x0+j%sw
			for c := range s.hd {
				q := at(y, x, 0, head, c)
				v += q*at(ky, kx, 1, head, c)/math.Sqrt(float64(s.hd)) +
					q*float64(relh[(y-ky+sh-1)*s.hd+c]) + q*float64(relw[(x-kx+sw-1)*s.hd+c])
			}
			return v
		}
		copy(want[i*s.hd:], softmaxLoop(sh*sw, s.hd, score, func(j, c int) float64 { return at(y0+j/sw, x0+j%sw, 2, head, c) }))
	}
	return want
}

// softmaxLoop is the mean of the values of n keys by the softmax of their
// scores.
func softmaxLoop(n, dims int, score func(j int) float64, value func(j, d int) float64) []float64 {
	top := math.Inf(-1)
	for j := range n {
		top = max(top, score(j))
	}
	sum, out := 0.0, make([]float64, dims)
	for j := range n {
		e := math.Exp(score(j) - top)
		sum += e
		for d := range dims {
			out[d] += e * value(j, d)
		}
	}
	for d := range out {
		out[d] /= sum
	}
	return out
}

// compare fails if a value is further from want than tol times the largest
// magnitude in want, or is NaN.
func compare(t *testing.T, want []float64, got []float32, tol float64) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d values, want %d", len(got), len(want))
	}
	scale, worst, at := 0.0, 0.0, -1
	for i, v := range want {
		scale = max(scale, math.Abs(v))
		if e := math.Abs(float64(got[i]) - v); !(e <= worst) {
			worst, at = e, i
			if math.IsNaN(e) {
				break
			}
		}
	}
	if at >= 0 && !(worst <= tol*scale) {
		t.Fatalf("value %d is %v, want %v: off by %.2e of the largest value, want at most %.2e", at, got[at], want[at], worst/scale, tol)
	}
}
