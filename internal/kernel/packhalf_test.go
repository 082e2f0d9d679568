package kernel

import (
	"math"
	"testing"

	"github.com/slidesam/sam/internal/half"
)

// TestWiden knows all finite halves, and all lengths through three blocks.
func TestWiden(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		var all []uint16
		for h := range 1 << 16 {
			if h&0x7c00 != 0x7c00 {
				all = append(all, uint16(h))
			}
		}
		got := make([]float32, len(all))
		im.widen(got, all)
		for i, h := range all {
			if want := half.Value(h); math.Float32bits(got[i]) != math.Float32bits(want) {
				t.Fatalf("%#x: %v, want %v", h, got[i], want)
			}
		}
		for n := range 60 {
			for off := range 8 {
				dst := newCanary(n, off)
				src := all[1000*off+off : 1000*off+off+n : 1000*off+off+n]
				im.widen(dst.out, src)
				dst.check(t, off, nil)
				for i, h := range src {
					if dst.out[i] != half.Value(h) {
						t.Fatalf("%d elements, offset %d: element %d: %v", n, off, i, dst.out[i])
					}
				}
			}
		}
	})
}

// TestNarrow rounds all finite halves, what lies half-way between two of them and
// what lies right beside that, at all lengths through three blocks.
func TestNarrow(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		var all []float32
		for h := range uint16(0x7bff) {
			v, next := half.Value(h), half.Value(h+1)
			mid := (v + next) / 2 // exact
			for _, x := range []float32{v, math.Nextafter32(mid, v), mid, math.Nextafter32(mid, next)} {
				all = append(all, x, -x)
			}
		}
		all = append(all, MaxHalf, -MaxHalf, 1e-40, -1e-40)
		got := make([]uint16, len(all))
		im.narrow(got, all)
		for i, v := range all {
			if want := half.Bits(v); got[i] != want {
				t.Fatalf("%v: %#x, want %#x", v, got[i], want)
			}
		}
		for n := range 60 {
			for off := range 8 {
				dst := make([]uint16, n+off+20)
				src := guarded(all[1000*off+off:][:n], off)
				im.narrow(dst[off:off+n], src)
				for i, h := range dst {
					var want uint16 // nothing is written around
					if i >= off && i < off+n {
						want = half.Bits(src[i-off])
					}
					if h != want {
						t.Fatalf("%d elements, offset %d: element %d: %#x, want %#x", n, off, i-off, h, want)
					}
				}
			}
		}
	})
}

// TestGemmHalf wants the bits of the product with the rounded weights.
func TestGemmHalf(t *testing.T) {
	shapes := [][3]int{{13, 48, 385}, {25, 16, 1537}, {97, 300, 70}, {200, 65, 400}, {7, 256, 2048}, {300, 4, 256}, {2, 600, 1600}}
	for n := 1; n <= 70; n++ {
		shapes = append(shapes, [3]int{7, n, 11 + n%3})
	}
	eachImpl(t, func(t *testing.T, im *impl) {
		for i, s := range shapes {
			m, n, k := s[0], s[1], s[2]
			r := newRand(i)
			a, w := random(r, m*k), random(r, n*k)
			rounded := make([]float32, len(w))
			for j, v := range w {
				rounded[j] = half.Value(half.Bits(v))
			}
			e := Epilogue{Act: Act(i % 3)}
			if i%2 == 0 {
				e.Bias = random(r, n)
			}
			if i%5 < 2 {
				e.Add, e.LdAdd = random(r, m*n), n
			}
			want, got, back := make([]float32, m*n), make([]float32, m*n), make([]float32, n*k)
			GemmSerial(want, n, a, k, m, pack(im, rounded, n, k, k, false), e)
			p := packHalf(im, w, n, k)
			Gemm(got, n, a, k, m, p, e)
			sameBits(t, want, got)
			p.UnpackHalf(back)
			sameBits(t, rounded, back)
		}
	})
}

func TestPackHalfRange(t *testing.T) {
	w := PackHalf([]float32{MaxHalf, -MaxHalf, 1e-9, 0.1}, 2, 2)
	back := make([]float32, 4)
	w.UnpackHalf(back)
	sameBits(t, []float32{MaxHalf, -MaxHalf, 0, 0.099975586}, back)
	for _, v := range []float32{65505, -1e9, float32(math.Inf(1)), float32(math.NaN())} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v: no panic", v)
				}
			}()
			w := make([]float32, 40)
			w[37] = v
			if got := AboveHalf(w); got != 37 {
				t.Errorf("%v: at %d, want 37", v, got)
			}
			PackHalf(w, 4, 10)
		}()
	}
}
