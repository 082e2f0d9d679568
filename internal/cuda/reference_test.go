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
