package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// wordTileRef is a tile of mr rows and nr columns as the plain loop.
func wordTileRef(mr, nr, k int, a, b []uint32, c []int32, ldc int) {
	for i := range mr {
		for j := range nr {
			for p := range 4 * k {
				x, y := a[p/4*mr+i]>>(p%4*8), b[p/4*nr+j]>>(p%4*8)
				c[i*ldc+j] += int32(int8(x)) * int32(byte(y))
			}
		}
	}
}

func each8(t *testing.T, f func(t *testing.T, im *eightBit)) {
	t.Helper()
	for _, im := range eightBits() {
		t.Run("impl="+im.name, func(t *testing.T) { f(t, im) })
	}
}

// factors are words of integers from -top to top with zero added, often of the
// most extreme ones.
func factors(r *rand.Rand, n, top, zero int) []uint32 {
	w := make([]uint32, n)
	for i := range w {
		for b := range 4 {
			q := r.IntN(2*top+1) - top
			if r.IntN(3) == 0 {
				q = top - 2*top*r.IntN(2)
			}
			w[i] |= uint32(q+zero) & 255 << (8 * b)
		}
	}
	return w
}

// TestWordTile runs the tiles by themselves: all inner lengths through three
// unrolled blocks and a long one, eight offsets, extreme factors.
func TestWordTile(t *testing.T) {
	each8(t, func(t *testing.T, im *eightBit) {
		for _, k := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 257, 4096} {
			for off := range 8 {
				r := newRand(k, off)
				guard := func(w []uint32) []uint32 { return asWords(guarded(asFloats(w), off)) }
				a, b := guard(factors(r, k*im.mr, 127, 0)), guard(factors(r, k*im.nr, 64, 64))
				if off == 7 { // the largest sums
					for i := range a {
						a[i] = [2]uint32{0x7f7f7f7f, 0x81818181}[i%im.mr%2]
					}
					for i := range b {
						b[i] = 0x80808080
					}
				}
				ldc := im.nr + off%3
				c := newCanary((im.mr-1)*ldc+im.nr, off)
				want := make([]int32, len(c.out))
				for i := range want {
					if i%ldc < im.nr {
						want[i] = int32(r.Uint32()) >> 8
						asInts(c.out)[i] = want[i]
					}
				}
				wordTileRef(im.mr, im.nr, k, a, b, want, ldc)
				im.tile(k, a, b, asInts(c.out), ldc)
				c.check(t, off, func(i int) bool { return i%ldc >= im.nr })
				for i, v := range asInts(c.out) {
					if i%ldc < im.nr && v != want[i] {
						t.Fatalf("k %d, offset %d: element %d: %d, want %d", k, off, i, v, want[i])
					}
				}
			}
		}
	})
}

// sparse are words of a panel of mr rows, mostly of small factors: every quarter
// of them, drawn at a rate of one in rare groups, is as large as it may be for
// quick, or larger by one.
func sparse(r *rand.Rand, mr, k, rare int) []uint32 {
	w := factors(r, k*mr, 63, 0)
	set := func(p, i, f, q int) {
		at, shift := p*mr+i, 8*(f%4)
		w[at] = w[at]&^(255<<shift) | uint32(q)&255<<shift
	}
	for p := 0; p < k; p += 2 {
		for i := range mr {
			if r.IntN(rare*mr) > 0 {
				continue
			}
			sign, half, last := 1-2*r.IntN(2), r.IntN(2), r.IntN(3)
			for f, q := range []int{127, 127, 0, last} { // up to 255, and 256
				set(p+f/2, i, 2*half+f%2, sign*q)
			}
		}
	}
	return w
}

// TestCrowded wants what the definition of crowded says.
func TestCrowded(t *testing.T) {
	crowdedOf := func(mr int, a []uint32) bool {
		for p := 0; p < len(a)/mr; p += 2 {
			for i := range mr {
				for half := range 2 {
					up, down := 0, 0
					for f := range 4 {
						q := int(int8(a[(p+f/2)*mr+i] >> (8 * (2*half + f%2))))
						up, down = up+max(q, 0), down-min(q, 0)
					}
					if up > 255 || down > 255 {
						return true
					}
				}
			}
		}
		return false
	}
	each8(t, func(t *testing.T, im *eightBit) {
		if im.quick == nil {
			return
		}
		var seen [2]int
		for groups := range 40 {
			for off := range 8 {
				r := newRand(groups, off)
				a := asWords(guarded(asFloats(sparse(r, im.mr, groups*groupWords, 8)), off))
				dst := newCanary(groups, off)
				im.crowded(asWords(dst.out), a)
				dst.check(t, off, nil)
				for g, v := range asWords(dst.out) {
					n := groupWords * im.mr
					want := crowdedOf(im.mr, a[g*n:][:n])
					if (v != 0) != want {
						t.Fatalf("%d groups, offset %d: group %d: %#x, want %v", groups, off, g, v, want)
					}
					if want {
						seen[1]++
					} else {
						seen[0]++
					}
				}
			}
		}
		if min(seen[0], seen[1]) < 100 {
			t.Fatalf("%d groups with room, %d crowded", seen[0], seen[1])
		}
	})
}

// TestMultiply wants the plain loop's integers, with no, some and many crowded
// groups, at the edge of what 16 bits hold.
func TestMultiply(t *testing.T) {
	each8(t, func(t *testing.T, im *eightBit) {
		var seen [mostCrowded + 2]int
		for _, k := range []int{4, 8, 12, 16, 64, 256} {
			for try := range 100 {
				r := newRand(k, try)
				a, b := sparse(r, im.mr, k, 1+try%50), factors(r, k*im.nr, 64, 64)
				if try%2 == 0 {
					for i := range b {
						b[i] = 0x80808080
					}
				}
				crowded := make([]uint32, crowdedWords)
				im.findCrowded(crowded, a, make([]uint32, maxWords/groupWords))
				seen[crowded[0]]++
				got, want := make([]int32, im.mr*im.nr), make([]int32, im.mr*im.nr)
				im.multiply(k, a, b, got, im.nr, crowded)
				wordTileRef(im.mr, im.nr, k, a, b, want, im.nr)
				for i, v := range want {
					if got[i] != v {
						t.Fatalf("k %d, crowded %v: element %d: %d, want %d", k, crowded, i, got[i], v)
					}
				}
			}
		}
		for n, times := range seen {
			if im.quick != nil && times < 10 {
				t.Errorf("%d crowded groups %d times", n, times)
			}
		}
	})
}

// TestRounding8 checks rows of all lengths through three blocks.
func TestRounding8(t *testing.T) {
	each8(t, func(t *testing.T, im *eightBit) {
		for n := range 100 {
			for off := range 8 {
				r := newRand(n, off)
				x := guarded(random(r, n), off)
				for i := range x {
					if r.IntN(4) == 0 { // half-way between integers
						x[i] = float32(r.IntN(255)-127) / 2
					}
				}
				var top float32
				for _, v := range x {
					top = max(top, v, -v)
				}
				if got := math.Float32frombits(im.absMax(x)); got != top {
					t.Fatalf("%d elements, offset %d: largest %v, want %v", n, off, got, top)
				}
				factor := float32(1)
				if n%2 == 1 {
					factor, _ = scaleOf(im.absMax(x), 127)
				}
				dst := newCanary(wordsOf(n), off)
				sum := im.quantise(asWords(dst.out), x, factor)
				dst.check(t, off, nil)
				for i := range 4 * wordsOf(n) {
					want := 0
					if i < n {
						want = int(math.RoundToEven(float64(x[i] * factor)))
					}
					if got := int(int8(asWords(dst.out)[i/4] >> (8 * (i % 4)))); got != want {
						t.Fatalf("%d elements, offset %d: element %d: %d, want %d", n, off, i, got, want)
					}
					sum -= int32(want)
				}
				if sum != 0 {
					t.Fatalf("%d elements, offset %d: the sum is %d too much", n, off, sum)
				}

				scales, bias := guarded(random(r, n), off), guarded(random(r, n), (off+1)%8)
				sums := make([]int32, n)
				for i := range sums {
					sums[i] = int32(r.Uint32()) >> (i % 24)
				}
				y := newCanary(n, (off+3)%8)
				const start = -12345
				im.dequantise(y.out, sums, start, scales, bias, 0.37)
				y.check(t, (off+3)%8, nil)
				for i, v := range y.out {
					p := float32(float32(sums[i]+start) * scales[i])
					p = float32(p * 0.37)
					if want := p + bias[i]; math.Float32bits(v) != math.Float32bits(want) {
						t.Fatalf("%d elements: brought back %v, want %v", n, v, want)
					}
				}
			}
		}
	})
}

// TestAbsMaxOrder: what is not a number is above all others.
func TestAbsMaxOrder(t *testing.T) {
	inf, nan := float32(math.Inf(-1)), float32(math.NaN())
	each8(t, func(t *testing.T, im *eightBit) {
		for n := 2; n < 70; n++ {
			for at := range n {
				x := random(newRand(n), n)
				x[at] = inf
				if got := im.absMax(x); got != 0x7f800000 {
					t.Fatalf("%d elements, infinity at %d: %#x", n, at, got)
				}
				x[(at+1)%n] = nan
				if got := im.absMax(x); got <= 0x7f800000 {
					t.Fatalf("%d elements, NaN at %d: %#x", n, (at+1)%n, got)
				}
			}
		}
	})
}

// gemm8Ref is the product in 8 bits as it is defined, with whole integers.
func gemm8Ref(a []float32, lda, m int, w []float32, n, k int, e Epilogue) []float32 {
	round := func(row []float32, limit float32) (q []int, scale float32) {
		var top float32
		for _, v := range row {
			top = max(top, v, -v)
		}
		q = make([]int, k)
		if top == 0 {
			return q, 0
		}
		factor := limit / top
		for i, v := range row {
			q[i] = int(math.RoundToEven(float64(v * factor)))
		}
		return q, top / limit
	}
	y := make([]float32, m*n)
	for j := range n {
		wq, ws := round(w[j*k:][:k], 64)
		for i := range m {
			aq, as := round(a[i*lda:][:k], 127)
			s := 0
			for p := range k {
				s += aq[p] * wq[p]
			}
			v := float32(float32(s) * ws)
			v = float32(v * as)
			if e.Bias != nil {
				v += e.Bias[j]
			}
			y[i*n+j] = v
		}
	}
	for i := range m {
		row := y[i*n:][:n]
		switch e.Act {
		case ActReLU:
			active.relu(row, row)
		case ActGELU:
			active.gelu(row, row)
		}
		if e.Add != nil {
			active.add(row, row, e.Add[i*e.LdAdd:][:n])
		}
	}
	return y
}

func check8(t *testing.T, im *eightBit, m, n, k, off int, e Epilogue) {
	t.Helper()
	r := newRand(m, n, k)
	lda, ldd := k+off%3, n+off%2
	a, w := guarded(random(r, (m-1)*lda+k), off), guarded(random(r, n*k), (off+3)%8)
	dst := newCanary((m-1)*ldd+n, off)
	Gemm8(dst.out, ldd, a, lda, m, pack8(im, w, n, k), e)
	dst.check(t, off, func(i int) bool { return i%ldd >= n })
	want := gemm8Ref(a, lda, m, w, n, k, e)
	for i := range m {
		sameBits(t, want[i*n:][:n], dst.out[i*ldd:][:n])
	}
}

// TestGemm8 wants the same bits of every implementation.
func TestGemm8(t *testing.T) {
	type shape struct{ m, n, k int }
	var shapes []shape
	for m := 1; m <= 40; m++ {
		shapes = append(shapes, shape{m, 37, 19})
	}
	for n := 1; n <= 130; n++ { // all columns through two pieces of columns
		shapes = append(shapes, shape{5, n, 11})
	}
	for k := 1; k <= 70; k++ {
		shapes = append(shapes, shape{7, 33, k})
	}
	shapes = append(shapes, shape{97, 70, 512}, shape{13, 48, 513}, shape{250, 65, 1030}, shape{3, 130, 2049}, shape{600, 4, 64})
	each8(t, func(t *testing.T, im *eightBit) {
		for i, s := range shapes {
			r := newRand(i)
			e := Epilogue{Act: Act(i % 3)}
			if i%2 == 0 {
				e.Bias = random(r, s.n)
			}
			if i%5 < 2 {
				e.LdAdd = s.n + i%3
				e.Add = random(r, s.m*e.LdAdd)
			}
			check8(t, im, s.m, s.n, s.k, i%8, e)
		}
	})
}

func TestGemm8AddInPlace(t *testing.T) {
	r := newRand(8)
	const m, n, k = 30, 70, 40
	a, w, y := random(r, m*k), random(r, n*k), random(r, m*n)
	want := gemm8Ref(a, k, m, w, n, k, Epilogue{Act: ActGELU, Add: append([]float32(nil), y...), LdAdd: n})
	Gemm8(y, n, a, k, m, Pack8(w, n, k), Epilogue{Act: ActGELU, Add: y, LdAdd: n})
	sameBits(t, want, y)
}

// TestGemm8Extremes: a row of zeros or of the smallest numbers is the bias; one
// with something that is not a number is NaN, and no other row is.
func TestGemm8Extremes(t *testing.T) {
	each8(t, func(t *testing.T, im *eightBit) {
		const n, k = 20, 35
		r := newRand(9)
		rows := []float32{0, 1e-40, 0x1p-101, float32(math.NaN()), float32(math.Inf(1)), 1e37, 0x1p-100, 1}
		a, w, bias, y := make([]float32, len(rows)*k), random(r, n*k), random(r, n), make([]float32, len(rows)*n)
		for i, v := range rows {
			a[i*k+17] = v
		}
		Gemm8(y, n, a, k, len(rows), pack8(im, w, n, k), Epilogue{Bias: bias})
		for i, v := range rows {
			for j, got := range y[i*n:][:n] {
				var ok bool
				switch {
				case i < 3:
					ok = got == bias[j]
				case i < 5:
					ok = got != got
				default:
					exact := float64(v)*float64(w[j*k+17]) + float64(bias[j])
					ok = math.Abs(float64(got)-exact) <= 0.05*float64(v)+1e-6
				}
				if !ok {
					t.Errorf("row of %v: column %d: %v, bias %v", v, j, got, bias[j])
				}
			}
		}
	})
}

// TestUnpack8 checks the rounded weight: within half a step, and the same of
// every implementation.
func TestUnpack8(t *testing.T) {
	each8(t, func(t *testing.T, im *eightBit) {
		for _, s := range [][2]int{{1, 1}, {5, 3}, {37, 19}, {33, 700}, {70, 1100}} {
			n, k := s[0], s[1]
			w, got, same := random(newRand(n, k), n*k), make([]float32, n*k), make([]float32, n*k)
			pack8(im, w, n, k).Unpack(got)
			for j := range n {
				_, scale := scaleOf(absMaxGeneric(w[j*k:][:k]), 64)
				for i := j * k; i < (j+1)*k; i++ {
					if d := math.Abs(float64(got[i] - w[i])); d > 0.50001*float64(scale) {
						t.Fatalf("%d x %d: weight %v became %v, steps of %v", n, k, w[i], got[i], scale)
					}
				}
			}
			pack8(&generic8, w, n, k).Unpack(same)
			sameBits(t, same, got)
		}
	})
}

func TestGemm8Panics(t *testing.T) {
	w := Pack8(make([]float32, 12), 3, 4)
	for name, f := range map[string]func(){
		"too long":  func() { Pack8(make([]float32, 2*maxK8), 1, 2*maxK8) },
		"weight":    func() { Pack8(make([]float32, 5), 2, 3) },
		"a":         func() { Gemm8(make([]float32, 6), 3, make([]float32, 7), 4, 2, w, Epilogue{}) },
		"dst":       func() { Gemm8(make([]float32, 5), 3, make([]float32, 8), 4, 2, w, Epilogue{}) },
		"bias":      func() { Gemm8(make([]float32, 6), 3, make([]float32, 8), 4, 2, w, Epilogue{Bias: make([]float32, 2)}) },
		"data":      func() { Packed8Of(make([]float32, 3), 3, 4) },
		"unpack":    func() { w.Unpack(make([]float32, 11)) },
		"no matrix": func() { Pack8(nil, 0, 4) },
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

func FuzzGemm8(f *testing.F) {
	f.Add(uint8(1), uint8(1), uint16(1), uint8(0), uint8(0))
	f.Add(uint8(97), uint8(64), uint16(1030), uint8(3), uint8(7))
	f.Fuzz(func(t *testing.T, m8, n8 uint8, k16 uint16, off, flags uint8) {
		m, n, k := int(m8)+1, int(n8)+1, int(k16)%2500+1
		if m*n*k > 1<<21 {
			k = max(1, (1<<21)/(m*n))
		}
		e := Epilogue{Act: Act(flags % 3)}
		if flags&4 != 0 {
			e.Bias = random(newRand(n), n)
		}
		if flags&8 != 0 {
			e.Add, e.LdAdd = random(newRand(m), m*n), n
		}
		for _, im := range eightBits() {
			check8(t, im, m, n, k, int(off)%8, e)
		}
	})
}

func BenchmarkGemm8(b *testing.B) {
	for _, s := range [][3]int{{4096, 2304, 768}, {4096, 768, 768}, {4096, 3072, 768}, {4096, 768, 3072}} {
		m, n, k := s[0], s[1], s[2]
		r := newRand(1)
		a, w, y := random(r, m*k), random(r, n*k), make([]float32, m*n)
		for i := range a { // as after a layer norm
			a[i] = float32(r.NormFloat64())
		}
		for _, im := range eightBits()[:max(1, len(eightBits())-1)] {
			p := pack8(im, w, n, k)
			b.Run(fmt.Sprintf("impl=%s/m=%d/n=%d/k=%d", im.name, m, n, k), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					Gemm8(y, n, a, k, m, p, Epilogue{})
				}
				b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "Gop/s")
			})
		}
	}
}
