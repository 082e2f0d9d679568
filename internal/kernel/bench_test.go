package kernel

import (
	"fmt"
	"testing"
	"time"
)

// rate reports GFLOP/s and the share of the FMA rate of the same
// implementation and number of goroutines, measured just before.
func rate(b *testing.B, im *impl, flops float64, f func()) {
	f() // scratch buffers exist
	peak := fmaRate(im, 1, 100*time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		f()
	}
	got := flops * float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(got/1e9, "GFLOP/s")
	b.ReportMetric(100*got/peak, "%FMA")
}

// BenchmarkGemm runs on one goroutine.
func BenchmarkGemm(b *testing.B) {
	for _, im := range impls() {
		for _, s := range []struct{ m, k, n int }{
			{4096, 768, 768}, {4096, 768, 2304}, {4096, 768, 3072}, {4096, 3072, 768}, {4096, 1280, 5120}, {4096, 256, 128}, {7, 256, 2048}, {1, 256, 256},
		} {
			for _, act := range []Act{ActNone, ActGELU} {
				if act == ActGELU && s.n != 3072 {
					continue
				}
				b.Run(fmt.Sprintf("impl=%s/m=%d/k=%d/n=%d/act=%d", im.name, s.m, s.k, s.n, act), func(b *testing.B) {
					r := newRand(1)
					w := pack(im, random(r, s.n*s.k), s.n, s.k, s.k, false)
					a, y, bias := random(r, s.m*s.k), make([]float32, s.m*s.n), random(r, s.n)
					rate(b, im, 2*float64(s.m)*float64(s.n)*float64(s.k), func() {
						GemmSerial(y, s.n, a, s.k, s.m, w, Epilogue{Bias: bias, Act: act})
					})
				})
			}
		}
	}
}
