package kernel

import (
	"fmt"
	"math"
	"testing"
)

// lengths covers three unrolled blocks of every implementation.
const maxLength = 200

func TestElementwise(t *testing.T) {
	type op struct {
		name     string
		f        func(im *impl, dst, a, b []float32)
		ref      func(a, b float64) float64
		abs, rel float64
	}
	ops := []op{
		{"add", func(im *impl, dst, a, b []float32) { im.add(dst, a, b) },
			func(a, b float64) float64 { return a + b }, 0, 6e-8},
		{"mul", func(im *impl, dst, a, b []float32) { im.mul(dst, a, b) },
			func(a, b float64) float64 { return a * b }, 0, 6e-8},
		{"scale", func(im *impl, dst, a, _ []float32) { im.scale(dst, a, 0.37) },
			func(a, _ float64) float64 { return a * float64(float32(0.37)) }, 0, 6e-8},
		{"blend", func(im *impl, dst, a, b []float32) { im.blend(dst, a, b, 0.37, -0.63) },
			func(a, b float64) float64 {
				return float64(float32(a)*float32(0.37)) + float64(float32(b)*float32(-0.63))
			}, 0, 6e-8},
		{"relu", func(im *impl, dst, a, _ []float32) { im.relu(dst, a) },
			func(a, _ float64) float64 { return max(a, 0) }, 0, 0},
		{"gelu", func(im *impl, dst, a, _ []float32) { im.gelu(dst, a) },
			func(a, _ float64) float64 { return geluRef(a) }, geluAbs, 6e-8},
		{"exp2", func(im *impl, dst, a, _ []float32) { im.exp2(dst, a) },
			func(a, _ float64) float64 { return math.Exp2(a) }, 0, exp2Rel},
	}
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, op := range ops {
			for n := range maxLength {
				for off := range 8 {
					r := newRand(n, off)
					a, b := guarded(random(r, n), off), guarded(random(r, n), (off+3)%8)
					want := make([]float64, n)
					for i := range want {
						want[i] = op.ref(float64(a[i]), float64(b[i]))
					}
					dst := newCanary(n, (off+5)%8)
					op.f(im, dst.out, a, b)
					dst.check(t, (off+5)%8, nil)
					closeTo(t, want, dst.out, op.abs, op.rel)
					op.f(im, a, a, b) // in place
					sameBits(t, dst.out, a)
				}
			}
		}
	})
}

// The documented bounds.
const (
	geluAbs = 1e-7
	exp2Rel = 1.5e-7
)

// TestGELURange walks over all arguments of interest and the ends.
func TestGELURange(t *testing.T) {
	var x []float32
	for i := -40000; i <= 40000; i++ {
		x = append(x, float32(i)/4000)
	}
	x = append(x, 0, 1e-30, -1e-30, 20, -20, 1000, -1000, 1e18, math.MaxFloat32, -1e18, -math.MaxFloat32,
		float32(math.Inf(1)))
	eachImpl(t, func(t *testing.T, im *impl) {
		got, want := make([]float32, len(x)), make([]float64, len(x))
		im.gelu(got, x)
		for i, v := range x {
			want[i] = geluRef(float64(v))
		}
		last := len(x) - 1
		if !math.IsInf(float64(got[last]), 1) {
			t.Fatalf("GELU(+Inf) = %v", got[last])
		}
		closeTo(t, want[:last], got[:last], geluAbs, 6e-8)
		nan := []float32{float32(math.NaN())}
		if im.gelu(nan, nan); nan[0] == nan[0] {
			t.Fatalf("GELU(NaN) = %v", nan[0])
		}
	})
}

// TestExp2Range walks over the range of normal results.
func TestExp2Range(t *testing.T) {
	var x []float32
	for i := exp2Lo * 1000; i <= exp2Hi*1000; i++ {
		x = append(x, float32(i)/1000)
	}
	eachImpl(t, func(t *testing.T, im *impl) {
		got, want := make([]float32, len(x)), make([]float64, len(x))
		im.exp2(got, x)
		for i, v := range x {
			want[i] = math.Exp2(float64(v))
		}
		closeTo(t, want, got, 0, exp2Rel)
		in := []float32{0, float32(math.Inf(-1)), -1000, float32(math.NaN())}
		im.exp2(in, in)
		if in[0] != 1 || in[1] > 3e-38 || in[2] > 3e-38 || in[3] == in[3] {
			t.Fatalf("2^x of 0, -Inf, -1000, NaN: %v", in)
		}
	})
}

func TestElementwiseParallel(t *testing.T) {
	n := 5*chunk + 77
	r := newRand(9)
	a, b := random(r, n), random(r, n)
	want, got := make([]float32, n), make([]float32, n)
	active.add(want, a, b)
	Add(got, a, b)
	sameBits(t, want, got)
	active.relu(want, a)
	ReLU(got, a)
	sameBits(t, want, got)
	active.gelu(want, a)
	GELU(a, a)
	sameBits(t, want, a)
}

func TestLayerNorm(t *testing.T) {
	type shape struct{ rows, c int }
	var shapes []shape
	for c := 1; c <= maxLength; c++ {
		shapes = append(shapes, shape{3, c})
	}
	shapes = append(shapes, shape{700, 256}, shape{5, 768}, shape{2, 1280}, shape{9000, 4}, shape{4, 2001})
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, s := range shapes {
			for _, mean := range []float32{0, 100} {
				t.Run(fmt.Sprintf("rows=%d/c=%d/mean=%v", s.rows, s.c, mean), func(t *testing.T) {
					off := s.c % 8
					r := newRand(s.rows, s.c)
					x := guarded(random(r, s.rows*s.c), off)
					for i := range x {
						x[i] += mean
					}
					gamma, beta := guarded(random(r, s.c), off), guarded(random(r, s.c), (off+1)%8)
					const eps = 1e-6
					want := make([]float64, s.rows*s.c)
					for i := range s.rows {
						row := x[i*s.c:][:s.c]
						var mu, sq float64
						for _, v := range row {
							mu += float64(v) / float64(s.c)
						}
						for _, v := range row {
							sq += (float64(v) - mu) * (float64(v) - mu) / float64(s.c)
						}
						for j, v := range row {
							want[i*s.c+j] = (float64(v)-mu)/math.Sqrt(sq+eps)*float64(gamma[j]) + float64(beta[j])
						}
					}
					dst := newCanary(s.rows*s.c, off)
					layerNorm(im, dst.out, x, gamma, beta, s.rows, s.c, eps)
					dst.check(t, off, nil)
					// The mean is rounded to float32 before it is subtracted:
					// an error of half a unit in its last place, 4e-6 at 100,
					// divided by a deviation of 1 (few channels: less).
					abs := 2e-6
					if mean != 0 {
						abs = 5e-5
						if s.c < 8 {
							return // the deviation may be anything
						}
					} else if s.c < 8 {
						abs = 1e-3
					}
					closeTo(t, want, dst.out, abs, 1e-6)
					layerNorm(im, x, x, gamma, beta, s.rows, s.c, eps)
					sameBits(t, dst.out, x)
				})
			}
		}
	})
}

// TestSetAbove compares with the comparison of each element, all first bits
// and lengths through three words.
func TestSetAbove(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for n := range maxLength {
			for x0 := 0; x0 < 70; x0 += 1 + n%5 {
				x := guarded(random(newRand(n, x0), n), x0%8)
				for i := range x {
					switch i % 7 {
					case 3:
						x[i] = 0.25 // the limit itself
					case 5:
						x[i] = float32(math.NaN())
					case 6:
						x[i] = float32(math.Inf(1 - i%2*2))
					}
				}
				const words = 6
				got := make([]uint64, words)
				for i := range got {
					got[i] = 0xdeadbeefdeadbeef // bits that are not the call's
				}
				for i := range n {
					got[(x0+i)/64] &^= 1 << ((x0 + i) % 64)
				}
				want := append([]uint64(nil), got...)
				for i, v := range x {
					if v > 0.25 {
						want[(x0+i)/64] |= 1 << ((x0 + i) % 64)
					}
				}
				setAbove(im, got, x0, x, 0.25)
				for i := range want {
					if got[i] != want[i] {
						t.Fatalf("%d elements from bit %d: word %d: %x, want %x", n, x0, i, got[i], want[i])
					}
				}
			}
		}
	})
}

// TestInterpolate compares the bits with those of the definition: enlarged,
// as it is, and reduced, up to the end of the source.
func TestInterpolate(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, step := range []float64{0.1, 0.25, 0.93, 1, 1.7, 40} {
			for n := range 70 {
				for off := range 8 {
					r := newRand(n, off)
					in := max(2, int(step*float64(n))+off)
					src, w0, w1 := guarded(random(r, in), off), guarded(random(r, n), (off+1)%8), guarded(random(r, n), (off+2)%8)
					i0, i1 := make([]int32, n), make([]int32, n)
					want := make([]float32, n)
					for i := range n {
						i0[i] = int32(min(int(step*float64(i))+off/2, in-1))
						i1[i] = min(i0[i]+1, int32(in-1))
						want[i] = float32(src[i0[i]]*w0[i]) + float32(src[i1[i]]*w1[i])
					}
					dst := newCanary(n, (off+3)%8)
					interpolate(im, dst.out, src, i0, i1, w0, w1)
					dst.check(t, (off+3)%8, nil)
					sameBits(t, want, dst.out)
				}
			}
		}
	})
}
