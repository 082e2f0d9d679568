package kernel

import (
	"fmt"
	"math"
	"runtime"
	"testing"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// encoderShapes are the products of ViT-B's encoder: patches and attention's
// output, queries with keys and values, both layers of the MLP, the neck.
var encoderShapes = []struct{ m, k, n int }{
	{4096, 768, 768}, {4096, 768, 2304}, {4096, 768, 3072}, {4096, 3072, 768}, {4096, 768, 256},
}

// sgemm sets y [m, n] to the product of a [m, k] and w by gonum: w is [n, k],
// as torch's Linear stores it, or [k, n].
func sgemm(y, a, w []float32, m, k, n int, kn bool) {
	t, b := blas.Trans, blas32.General{Rows: n, Cols: k, Stride: k, Data: w}
	if kn {
		t, b = blas.NoTrans, blas32.General{Rows: k, Cols: n, Stride: n, Data: w}
	}
	blas32.Gemm(blas.NoTrans, t, 1, blas32.General{Rows: m, Cols: k, Stride: k, Data: a}, b, 0,
		blas32.General{Rows: m, Cols: n, Stride: n, Data: y})
}

// TestGonum compares every implementation with gonum's Sgemm, on some rows of
// the encoder's products.
func TestGonum(t *testing.T) {
	const m = 29
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, s := range encoderShapes {
			t.Run(fmt.Sprintf("k=%d/n=%d", s.k, s.n), func(t *testing.T) {
				r := newRand(s.k, s.n)
				w, a := random(r, s.n*s.k), random(r, m*s.k)
				got, sum := make([]float32, m*s.n), make([]float32, m*s.n)
				GemmSerial(got, s.n, a, s.k, m, pack(im, w, s.n, s.k, s.k, false), Epilogue{})
				sgemm(sum, a, w, m, s.k, s.n, false)
				want := make([]float64, len(sum))
				for i, v := range sum {
					want[i] = float64(v)
				}
				// The elements' standard deviation is sqrt(k).
				closeTo(t, want, got, 1e-5*math.Sqrt(float64(s.k)), 1e-5)
			})
		}
	})
}

// BenchmarkGonum compares the portable product with gonum's Sgemm, in both
// orders of the weights, on one goroutine. On amd64 gonum runs SSE assembly
// of its own.
func BenchmarkGonum(b *testing.B) {
	for _, s := range encoderShapes {
		r := newRand(1)
		w, a, y := random(r, s.n*s.k), random(r, s.m*s.k), make([]float32, s.m*s.n)
		p := pack(&generic, w, s.n, s.k, s.k, false)
		for _, c := range []struct {
			impl string
			f    func()
		}{
			{"generic", func() { GemmSerial(y, s.n, a, s.k, s.m, p, Epilogue{}) }},
			{"gonum/weight=nk", func() { sgemm(y, a, w, s.m, s.k, s.n, false) }},
			{"gonum/weight=kn", func() { sgemm(y, a, w, s.m, s.k, s.n, true) }},
		} {
			b.Run(fmt.Sprintf("impl=%s/m=%d/k=%d/n=%d", c.impl, s.m, s.k, s.n), func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
				b.ReportAllocs()
				for b.Loop() {
					c.f()
				}
				b.ReportMetric(2*float64(s.m)*float64(s.n)*float64(s.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
