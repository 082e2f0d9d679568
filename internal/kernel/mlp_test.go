package kernel

import (
	"fmt"
	"math"
	"runtime"
	"testing"
)

// mlpWant is what MLP stands for: one product after the other.
func mlpWant(dst []float32, ldd int, a []float32, lda, m int, first, second Layer) {
	wide, _ := first.size()
	between := make([]float32, m*wide)
	first.product(between, wide, a, lda, m)
	second.product(dst, ldd, between, wide, m)
}

// TestMLP wants the bits of the two products, for all rows through the pieces
// and any number of goroutines.
func TestMLP(t *testing.T) {
	const k, wide, n = 37, 90, 21
	r := newRand(31)
	w1, w2, b1, b2 := random(r, wide*k), random(r, n*wide), random(r, wide), random(r, n)
	check := func(t *testing.T, first, second *Layer) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
		for i, m := range []int{0, 1, 23, 24, 25, 96, 97, 191, 193, 383, 480, 500} {
			lda, ldd := k+i%3, n+i%4
			a := guarded(random(r, max(0, (m-1)*lda+k)), i%8)
			for j := range a {
				if j%lda >= k {
					a[j] = float32(math.NaN())
				}
			}
			start := random(r, max(0, (m-1)*ldd+n)) // added, and overwritten
			one, two := *first, *second
			one.E = Epilogue{Act: ActGELU}
			two.E = Epilogue{Bias: guarded(b2, i%8), Add: start, LdAdd: ldd}
			if i%2 == 0 {
				one.E.Bias = guarded(b1, i%8)
			}
			want := append([]float32(nil), start...)
			mlpWant(want, ldd, a, lda, m, one, two)
			for _, procs := range []int{1, 2, 8} {
				runtime.GOMAXPROCS(procs)
				dst := newCanary(len(start), i%8)
				copy(dst.out, start)
				for j := range dst.out {
					if j%ldd >= n {
						dst.out[j] = canaryValue
					}
				}
				two.E.Add = dst.out
				MLP(dst.out, ldd, a, lda, m, one, two)
				dst.check(t, i%8, func(j int) bool { return j%ldd >= n })
				for j := range want {
					if j%ldd >= n {
						want[j] = canaryValue
					}
				}
				t.Run(fmt.Sprintf("m=%d/procs=%d", m, procs), func(t *testing.T) { sameBits(t, want, dst.out) })
			}
		}
	}
	eachImpl(t, func(t *testing.T, im *impl) {
		half := packHalf(im, w1, wide, k)
		check(t, &Layer{W: half}, &Layer{W: pack(im, w2, n, wide, wide, false)})
	})
	each8(t, func(t *testing.T, im *eightBit) {
		check(t, &Layer{W8: pack8(im, w1, wide, k)}, &Layer{W8: pack8(im, w2, n, wide)})
	})
}

func TestMLPPanics(t *testing.T) {
	x := make([]float32, 12)
	w := func(n, k int) Layer { return Layer{W: Pack(x, n, k)} }
	adds := w(3, 2)
	adds.E.Add = x
	for name, f := range map[string]func(){
		"other width":    func() { MLP(x, 2, x, 2, 2, w(3, 2), w(2, 4)) },
		"the first adds": func() { MLP(x, 2, x, 2, 2, adds, w(2, 3)) },
		"short a":        func() { MLP(x, 2, x[:3], 2, 2, w(3, 2), w(2, 3)) },
		"short dst":      func() { MLP(x[:3], 2, x, 2, 2, w(3, 2), w(2, 3)) },
		"short bias":     func() { l := w(2, 3); l.E.Bias = x[:1]; MLP(x, 2, x, 2, 2, w(3, 2), l) },
		"short add":      func() { l := w(2, 3); l.E.Add, l.E.LdAdd = x[:3], 2; MLP(x, 2, x, 2, 2, w(3, 2), l) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// TestArenas: a large buffer is there as often as it is needed at a time, in
// whatever order arenas come and go.
func TestArenas(t *testing.T) {
	var l arenaList
	use := func(sizes ...int) {
		var held []*arena
		for _, n := range sizes {
			a := l.get()
			a.resetFrom(&l, n)
			if len(a.take(n)) != n {
				t.Fatalf("less than %d floats", n)
			}
			held = append(held, a)
		}
		for _, a := range held {
			l.put(a)
		}
	}
	for range 10 {
		use(100, 100)
		use(100000, 100, 100)
		use(3000, 3000)
		use(100, 100000, 5000)
		use(100, 100000)
		use(100, 100000)
		use(100, 100, 100)
	}
	large := 0
	for _, b := range l.bufs {
		if len(b) >= 100000 {
			large++
		}
	}
	if large != 1 || len(l.bufs) != 3 {
		t.Errorf("%d large buffers of %d, want 1 of 3", large, len(l.bufs))
	}
	a := l.get()
	a.resetFrom(&l, 100)
	first := &a.buf[0]
	a.resetFrom(&l, 50)
	if &a.buf[0] != first {
		t.Error("a smaller need takes another buffer")
	}
}
