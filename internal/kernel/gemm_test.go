package kernel

import (
	"fmt"
	"math"
	"runtime"
	"testing"
)

// gemmWith is Gemm or GemmSerial with a given implementation.
func gemmWith(im *impl, serial bool, dst []float32, ldd int, a []float32, lda, m int, w []float32, n, k int, e Epilogue) {
	b := pack(im, w, n, k, k, false)
	if serial {
		GemmSerial(dst, ldd, a, lda, m, b, e)
	} else {
		Gemm(dst, ldd, a, lda, m, b, e)
	}
}

// gemmRef is act(x·wᵀ + bias) + add in float64.
func gemmRef(a []float32, lda, m int, w []float32, n, k int, e Epilogue) []float64 {
	y := make([]float64, m*n)
	for i := range m {
		for j := range n {
			var s float64
			for p := range k {
				s += float64(a[i*lda+p]) * float64(w[j*k+p])
			}
			if e.Bias != nil {
				s += float64(e.Bias[j])
			}
			switch e.Act {
			case ActReLU:
				s = max(s, 0)
			case ActGELU:
				s = geluRef(s)
			}
			if e.Add != nil {
				s += float64(e.Add[i*e.LdAdd+j])
			}
			y[i*n+j] = s
		}
	}
	return y
}

func geluRef(x float64) float64 { return 0.5 * x * math.Erfc(-x/math.Sqrt2) }

// sumTolerance bounds the rounding of a sum of k products of standard normal
// values: the errors of k roundings of partial sums of size up to sqrt(k)
// add up like a random walk to about k/2 units in the last place of 1; the
// worst of many elements is a few times that.
func sumTolerance(k int) float64 { return 1e-6 + 4*6e-8*float64(k)/2 }

func TestGemm(t *testing.T) {
	type shape struct{ m, n, k int }
	var shapes []shape
	for m := 1; m <= 40; m++ { // all rows through three tiles
		shapes = append(shapes, shape{m, 37, 19})
	}
	for n := 1; n <= 100; n++ { // all columns through three panels
		shapes = append(shapes, shape{5, n, 11})
	}
	for k := 1; k <= 26; k++ { // all inner lengths through three unrolled blocks
		shapes = append(shapes, shape{7, 33, k})
	}
	shapes = append(shapes,
		shape{13, 48, 384}, shape{13, 48, 385}, shape{25, 16, 1537}, shape{97, 300, 70},
		shape{200, 65, 400}, shape{7, 256, 2048}, shape{300, 4, 256}, shape{2, 600, 1600})
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, s := range shapes {
			t.Run(fmt.Sprintf("m=%d/n=%d/k=%d", s.m, s.n, s.k), func(t *testing.T) {
				r := newRand(s.m, s.n, s.k)
				off := (s.m + s.n + s.k) % 8
				lda, ldd := s.k+s.m%3, s.n+s.n%5
				a := guarded(random(r, (s.m-1)*lda+s.k), off)
				for i := range a { // the gaps between rows are not read
					if i%lda >= s.k {
						a[i] = float32(math.NaN())
					}
				}
				w := guarded(random(r, s.n*s.k), off)
				dst := newCanary((s.m-1)*ldd+s.n, off)
				e := Epilogue{}
				if s.n%2 == 1 {
					e.Bias = guarded(random(r, s.n), off)
				}
				if s.m%2 == 0 {
					e.Add, e.LdAdd = guarded(random(r, s.m*s.n), off), s.n
				}
				e.Act = Act((s.m + s.n + s.k) % 3)
				gemmWith(im, s.m%4 == 1, dst.out, ldd, a, lda, s.m, w, s.n, s.k, e)
				dst.check(t, off, func(i int) bool { return i%ldd >= s.n })
				got := make([]float32, 0, s.m*s.n)
				for i := range s.m {
					got = append(got, dst.out[i*ldd:][:s.n]...)
				}
				closeTo(t, gemmRef(a, lda, s.m, w, s.n, s.k, e), got, sumTolerance(s.k), 1e-6)
			})
		}
	})
}

// TestGemmRows checks that a row's bits do not depend on how many rows there
// are, on which row it is, or on the number of goroutines.
func TestGemmRows(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	eachImpl(t, func(t *testing.T, im *impl) {
		const n, k, m = 90, 500, 230
		r := newRand(1)
		a, w, bias := random(r, m*k), random(r, n*k), random(r, n)
		b := pack(im, w, n, k, k, false)
		e := Epilogue{Bias: bias, Act: ActGELU}
		want := make([]float32, m*n)
		GemmSerial(want, n, a, k, m, b, e)
		for _, procs := range []int{1, 2, 8} {
			runtime.GOMAXPROCS(procs)
			for _, rows := range []int{m, 1, 2, 3, 5, 12, 13, 30, 97} {
				for r0 := 0; r0+rows <= m; r0 += 41 {
					got := make([]float32, rows*n)
					Gemm(got, n, a[r0*k:], k, rows, b, e)
					sameBits(t, want[r0*n:][:rows*n], got)
				}
			}
		}
	})
}

// TestGemmAddInPlace checks the residual connection: Add is the destination.
func TestGemmAddInPlace(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, k := range []int{64, 3072} {
			const m, n = 110, 70
			r := newRand(k)
			a, w, x := random(r, m*k), random(r, n*k), random(r, m*n)
			want := make([]float32, m*n)
			gemmWith(im, false, want, n, a, k, m, w, n, k, Epilogue{Add: x, LdAdd: n})
			gemmWith(im, false, x, n, a, k, m, w, n, k, Epilogue{Add: x, LdAdd: n})
			sameBits(t, want, x)
		}
	})
}

func TestPackKN(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		const n, k = 75, 401
		w := random(newRand(2), n*k)
		wt := make([]float32, n*k)
		for i := range k {
			for j := range n {
				wt[j*k+i] = w[i*n+j]
			}
		}
		want, got := pack(im, wt, n, k, k, false), pack(im, w, n, k, n, true)
		sameBits(t, want.data, got.data)
	})
}

func TestGemmPanics(t *testing.T) {
	b := Pack(make([]float32, 12), 3, 4)
	x, y := make([]float32, 8), make([]float32, 6)
	for name, f := range map[string]func(){
		"a":           func() { Gemm(y, 3, x[:7], 4, 2, b, Epilogue{}) },
		"dst":         func() { Gemm(y[:5], 3, x, 4, 2, b, Epilogue{}) },
		"lda":         func() { Gemm(y, 3, x, 3, 2, b, Epilogue{}) },
		"bias":        func() { Gemm(y, 3, x, 4, 2, b, Epilogue{Bias: x[:2]}) },
		"add":         func() { Gemm(y, 3, x, 4, 2, b, Epilogue{Add: y[:5], LdAdd: 3}) },
		"pack":        func() { Pack(x, 3, 4) },
		"layer norm":  func() { LayerNorm(y, x, x, x, 2, 4, 0) },
		"gelu":        func() { GELU(x, y) },
		"attention":   func() { Attention(x, x, x, y, 1, 4, 2, 2) },
		"mask":        func() { MaskProduct(y, x, x, 4, 2, 2) },
		"conv":        func() { Conv3x3(y, x, 2, 2, b, Epilogue{}) },
		"rel pos":     func() { RelPosAttention(x, x, Grid{H: 2, W: 2, Heads: 1, HeadDim: 2}, nil, nil, nil) },
		"one rel pos": func() { RelPosAttention(x, make([]float32, 24), Grid{H: 2, W: 2, Heads: 1, HeadDim: 2}, x, nil, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if s, ok := recover().(string); !ok || len(s) < 8 || s[:8] != "kernel: " {
					t.Fatalf("panic %q, want one of this package", s)
				}
			}()
			f()
			t.Fatal("no panic")
		})
	}
}
