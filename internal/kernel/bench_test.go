package kernel

import (
	"fmt"
	"runtime"
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

// BenchmarkRelPosAttention counts the products q·kᵀ and scores·v only.
func BenchmarkRelPosAttention(b *testing.B) {
	for _, im := range impls() {
		for _, g := range []Grid{
			{H: 64, W: 64, Heads: 12, HeadDim: 64}, {H: 64, W: 64, Window: 14, Heads: 12, HeadDim: 64},
			{H: 64, W: 64, Heads: 16, HeadDim: 80}, {H: 64, W: 64, Window: 14, Heads: 16, HeadDim: 80},
		} {
			b.Run(fmt.Sprintf("impl=%s/window=%d/heads=%d/dim=%d", im.name, g.Window, g.Heads, g.HeadDim), func(b *testing.B) {
				r := newRand(1)
				c, side, keys := g.Heads*g.HeadDim, 64, 4096
				if g.Window > 0 {
					side, keys = g.Window, g.Window*g.Window
				}
				rel := (2*side - 1) * g.HeadDim
				qkv, relH, relW, pad, dst := random(r, 4096*3*c), random(r, rel), random(r, rel), random(r, 3*c), make([]float32, 4096*c)
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
				rate(b, im, 4*4096*float64(keys)*float64(c), func() { relPosAttention(im, dst, qkv, g, relH, relW, nil, pad) })
			})
		}
	}
}

// BenchmarkAttention has the decoder's shapes: tokens to image and back.
func BenchmarkAttention(b *testing.B) {
	for _, im := range impls() {
		for _, s := range []struct{ nq, nk int }{{7, 4096}, {4096, 7}} {
			b.Run(fmt.Sprintf("impl=%s/nq=%d/nk=%d", im.name, s.nq, s.nk), func(b *testing.B) {
				r := newRand(1)
				q, k, v, dst := random(r, s.nq*128), random(r, s.nk*128), random(r, s.nk*128), make([]float32, s.nq*128)
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
				rate(b, im, 4*128*float64(s.nq)*float64(s.nk), func() { plainAttention(im, dst, q, k, v, 8, 16, s.nq, s.nk) })
			})
		}
	}
}

func BenchmarkLayerNorm(b *testing.B) {
	for _, im := range impls() {
		b.Run(fmt.Sprintf("impl=%s/m=4096/k=768", im.name), func(b *testing.B) {
			x, y, g := random(newRand(1), 4096*768), make([]float32, 4096*768), random(newRand(2), 768)
			b.SetBytes(4 * 4096 * 768)
			b.ReportAllocs()
			for b.Loop() {
				im.layerNorm(y, x, g, g, 4096, 768, 1e-6)
			}
		})
	}
}

func BenchmarkGELU(b *testing.B) {
	for _, im := range impls() {
		b.Run(fmt.Sprintf("impl=%s/n=65536", im.name), func(b *testing.B) {
			x, y := random(newRand(1), 65536), make([]float32, 65536)
			b.SetBytes(4 * 65536)
			b.ReportAllocs()
			for b.Loop() {
				im.gelu(y, x)
			}
		})
	}
}
