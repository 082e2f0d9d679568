package kernel

import (
	"math"
	"runtime"
	"testing"
)

// TestStrip: a strip has the bits of its tiles.
func TestStrip(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		r, w := im.mr, im.nr
		for n := 1; n <= 3; n++ {
			for k := 1; k <= 7; k++ {
				for off := range 8 {
					rnd := newRand(n, k, off)
					lda, ldc := r+off%3, n*w+off%2
					a := guarded(random(rnd, (k-1)*lda+r), off)
					b := guarded(random(rnd, n*k*w), (off+3)%8)
					got, want := newCanary((r-1)*ldc+n*w, off), newCanary((r-1)*ldc+n*w, off)
					d, ldd := [][]float32{nil, guarded(random(rnd, n*w), off), nil}[off%3], 0
					before := d
					if off%3 == 2 { // in place
						for i := range got.out {
							if i%ldc < n*w {
								got.out[i] = float32(i)
								want.out[i] = float32(i)
							}
						}
						d, before, ldd = got.out, want.out, ldc
					}
					im.strip(n, k, a, lda, b, got.out, ldc, d, ldd)
					for q := range n {
						var from []float32
						if before != nil {
							from = before[q*w:]
						}
						im.tile[1][r-1](k, a, lda, b[q*k*w:], want.out[q*w:], ldc, from, ldd)
					}
					got.check(t, off, func(i int) bool { return i%ldc >= n*w })
					sameBits(t, want.buf, got.buf)
				}
			}
		}
	})
}

// TestTile runs every tile of every implementation by itself: all heights and
// widths, all inner lengths through three unrolled blocks, eight offsets,
// rows of a further apart than the tile is high.
func TestTile(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for r := 1; r <= im.mr; r++ {
			for v, w := range []int{im.half, im.nr} {
				for k := 1; k <= 9; k++ {
					for off := range 8 {
						rnd := newRand(r, w, k, off)
						lda, ldc := r+off%3, w+off%2
						a := guarded(random(rnd, (k-1)*lda+r), off)
						b := guarded(random(rnd, k*w), (off+3)%8)
						c := newCanary((r-1)*ldc+w, off)
						var d []float32 // none, one row for all, or c itself
						ldd := 0
						switch off % 3 {
						case 1:
							d = guarded(random(rnd, w), off)
						case 2:
							for i := range c.out {
								if i%ldc < w {
									c.out[i] = float32(rnd.NormFloat64())
								}
							}
							d, ldd = c.out, ldc
						}
						want := make([]float64, r*w)
						for i := range r {
							for j := range w {
								if d != nil {
									want[i*w+j] = float64(d[i*ldd+j])
								}
								for p := range k {
									want[i*w+j] += float64(a[p*lda+i]) * float64(b[p*w+j])
								}
							}
						}
						im.tile[v][r-1](k, a, lda, b, c.out, ldc, d, ldd)
						c.check(t, off, func(i int) bool { return i%ldc >= w })
						got := make([]float32, 0, r*w)
						for i := range r {
							got = append(got, c.out[i*ldc:][:w]...)
						}
						closeTo(t, want, got, sumTolerance(k), 1e-6)
					}
				}
			}
		}
	})
}

func TestTranspose(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for rows := 1; rows <= 13; rows++ {
			for cols := 1; cols <= 14; cols++ {
				for off := range 8 {
					lds, ldd := cols+off%3, rows+off%2
					src := guarded(random(newRand(rows, cols), (rows-1)*lds+cols), off)
					dst := newCanary((cols-1)*ldd+rows, (off+5)%8)
					im.transpose(dst.out, ldd, src, lds, rows, cols)
					dst.check(t, (off+5)%8, func(i int) bool { return i%ldd >= rows })
					for i := range rows {
						for j := range cols {
							if dst.out[j*ldd+i] != src[i*lds+j] {
								t.Fatalf("%d x %d: element %d, %d: %v, want %v", rows, cols, i, j, dst.out[j*ldd+i], src[i*lds+j])
							}
						}
					}
					im.prefetch(src, lds, rows, cols) // past the end is allowed
				}
			}
		}
	})
}

// TestSoftmaxRows checks the steps of the softmax on panels.
func TestSoftmaxRows(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, w := range []int{im.half, im.nr} {
			for rows := 1; rows <= 4; rows++ {
				for cols := 1; cols <= 5; cols++ {
					for off := range 8 {
						n := rows * cols
						r := newRand(rows, cols, off)
						x := random(r, n*w)
						s := newCanary(n*w, off)
						copy(s.out, x)
						rw, rh := guarded(random(r, cols*w), off), guarded(random(r, rows*w), (off+1)%8)
						m := newCanary(w, (off+2)%8)
						top := make([]float64, w)
						for j := range w {
							m.out[j] = float32(r.NormFloat64())
							top[j] = float64(m.out[j])
						}
						m2 := append([]float32(nil), m.out...)
						im.biasMax(s.out, rw, rh, m.out, rows, cols, w)
						want := make([]float64, n*w)
						for i := range want {
							want[i] = float64(x[i]) + float64(rw[i%(cols*w)]) + float64(rh[i/(cols*w)*w+i%w])
							top[i%w] = math.Max(top[i%w], want[i])
						}
						s.check(t, off, nil)
						m.check(t, (off+2)%8, nil)
						closeTo(t, want, s.out, 1e-6, 0)
						closeTo(t, top, m.out, 1e-6, 0)

						im.maxRows(s.out, m2, n, w)
						sameBits(t, m.out, m2)

						l := newCanary(w, (off+3)%8)
						for j := range w {
							l.out[j] = float32(j)
						}
						sums := make([]float64, w)
						for j := range sums {
							sums[j] = float64(j)
						}
						for i, v := range s.out {
							want[i] = math.Exp2(float64(v - m.out[i%w]))
							sums[i%w] += want[i]
						}
						im.expSum(s.out, m.out, l.out, n, w)
						s.check(t, off, nil)
						l.check(t, (off+3)%8, nil)
						closeTo(t, want, s.out, 0, exp2Rel)
						closeTo(t, sums, l.out, 0, 1e-6)

						for i := range want {
							want[i] = float64(s.out[i] * m.out[i%w])
						}
						im.mulRows(s.out, m.out, n, w)
						s.check(t, off, nil)
						closeTo(t, want, s.out, 0, 0)
					}
				}
			}
		}
	})
}

// TestNormCols compares with float64, for values far from 0 too.
func TestNormCols(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, w := range []int{im.half, im.nr} {
			for n := 1; n <= 9; n++ {
				for off := range 8 {
					r := newRand(w, n, off)
					o := newCanary(n*w, off)
					copy(o.out, random(r, n*w))
					for i := range o.out {
						o.out[i] += float32(10 * (i % w))
					}
					gamma, beta := guarded(random(r, n), off), guarded(random(r, n), (off+1)%8)
					want := make([]float64, n*w)
					for j := range w {
						var mean, variance float64
						for i := j; i < n*w; i += w {
							mean += float64(o.out[i]) / float64(n)
						}
						for i := j; i < n*w; i += w {
							variance += (float64(o.out[i]) - mean) * (float64(o.out[i]) - mean) / float64(n)
						}
						for i := j; i < n*w; i += w {
							want[i] = (float64(o.out[i])-mean)/math.Sqrt(variance+1e-2)*float64(gamma[i/w]) + float64(beta[i/w])
						}
					}
					im.normCols(o.out, gamma, beta, n, w, 1e-2)
					o.check(t, off, nil)
					// The first mean is off by its rounding, up to 2e-5; the
					// deviations from it correct that.
					closeTo(t, want, o.out, 1e-5, 1e-6)
				}
			}
		}
	})
}

// TestNoAllocations checks that calls allocate nothing once the scratch
// buffers exist.
func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates memory of its own, which this test would count")
	}
	r := newRand(3)
	x, y, z := random(r, 200*96), make([]float32, 200*96), random(r, 3000)
	lin := Pack(random(r, 96*96), 96, 96)
	lin8 := Pack8(random(r, 96*96), 96, 96)
	layer, layer8 := Layer{W: lin, E: Epilogue{Bias: z}}, Layer{W8: lin8}
	conv := Pack(random(r, 5*27), 5, 27)
	add := func(int) {}
	two, _, _, _ := twoWay(active, 2, 300, 8, 2, 7, 7, false, false, false)
	maps, found := make([]float32, mapsLen(active, two)), make([]float32, 2*56*20)
	head, _, _, _, _, _ := maskHead(active, 2, 4, 40, 20, 8, 4, 3)
	masks := make([]float32, 2*3*16*4*40)
	for _, procs := range []int{1, 2} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		for name, f := range map[string]func(){
			"gemm":         func() { Gemm(y, 96, x, 96, 200, lin, Epilogue{Bias: z, Act: ActGELU, Add: x, LdAdd: 96}) },
			"gemm serial":  func() { GemmSerial(y, 96, x, 96, 7, lin, Epilogue{Bias: z}) },
			"gemm in 8":    func() { Gemm8(y, 96, x, 96, 200, lin8, Epilogue{Bias: z, Act: ActGELU, Add: x, LdAdd: 96}) },
			"mlp":          func() { MLP(y, 96, x, 96, 200, layer, layer8) },
			"layer norm":   func() { LayerNorm(y, x, z, z, 200, 96, 1e-6) },
			"gelu":         func() { GELU(y, x) },
			"relu":         func() { ReLU(y, x) },
			"add":          func() { Add(y, x, x) },
			"attention":    func() { Attention(y, x, x, x, 6, 16, 200, 200) },
			"windows":      func() { RelPosAttention(y, x, Grid{H: 10, W: 10, Window: 7, Heads: 2, HeadDim: 16}, z, z, z) },
			"global":       func() { RelPosAttention(y, x, Grid{H: 30, W: 20, Heads: 1, HeadDim: 8}, z, z, z) },
			"conv":         func() { Conv3x3(y, x, 20, 30, conv, Epilogue{}) },
			"mask product": func() { MaskProduct(y, x, z, 4000, 4, 4) },
			"two-way":      func() { two.Run(maps, found) },
			"mask head":    func() { head.Run(masks) },
			"parallel":     func() { Parallel(50, add) },
		} {
			f()
			// Workers may not have taken part so far: give each the time to
			// get its scratch.
			if n := testing.AllocsPerRun(200, f); n >= 0.5 {
				t.Errorf("%s with GOMAXPROCS %d: %v allocations", name, procs, n)
			}
		}
	}
}

func FuzzGemm(f *testing.F) {
	f.Add(uint8(1), uint8(1), uint16(1), uint8(0), uint8(0), uint8(0))
	f.Add(uint8(13), uint8(33), uint16(385), uint8(1), uint8(2), uint8(7))
	f.Add(uint8(97), uint8(64), uint16(1600), uint8(3), uint8(0), uint8(10))
	f.Fuzz(func(t *testing.T, m8, n8 uint8, k16 uint16, padA, padD, flags uint8) {
		m, n, k := int(m8)+1, int(n8)+1, int(k16)%2000+1
		if m*n*k > 1<<21 {
			k = max(1, (1<<21)/(m*n))
		}
		lda, ldd := k+int(padA)%9, n+int(padD)%9
		r := newRand(m, n, k)
		a, w := guarded(random(r, (m-1)*lda+k), int(padA)%8), random(r, n*k)
		e := Epilogue{Act: Act(flags % 3)}
		if flags&4 != 0 {
			e.Bias = random(r, n)
		}
		if flags&8 != 0 {
			e.Add, e.LdAdd = random(r, m*n), n
		}
		want := gemmRef(a, lda, m, w, n, k, e)
		for _, im := range impls() {
			off := int(padD) % 8
			dst := newCanary((m-1)*ldd+n, off)
			gemmWith(im, flags&16 != 0, dst.out, ldd, a, lda, m, w, n, k, e)
			dst.check(t, off, func(i int) bool { return i%ldd >= n })
			got := make([]float32, 0, m*n)
			for i := range m {
				got = append(got, dst.out[i*ldd:][:n]...)
			}
			// sumTolerance is six times the standard error of such a sum. A
			// fuzzer meets 10^8 of them, and those that are large have large
			// partial sums, whose roundings are larger: twice as much.
			closeTo(t, want, got, 2*sumTolerance(k), 1e-6)
		}
	})
}

func FuzzRelPosAttention(f *testing.F) {
	f.Add(uint8(5), uint8(7), uint8(3), uint8(2), uint8(8), true)
	f.Add(uint8(27), uint8(27), uint8(0), uint8(1), uint8(16), true)
	f.Add(uint8(2), uint8(140), uint8(0), uint8(1), uint8(3), false)
	f.Fuzz(func(t *testing.T, h, w, window, heads, dim uint8, rel bool) {
		g := Grid{H: int(h)%30 + 1, W: int(w)%150 + 1, Window: int(window) % 16, Heads: int(heads)%3 + 1, HeadDim: int(dim)%90 + 1}
		keys := g.H * g.W
		sh, sw := g.H, g.W
		if g.Window > 0 {
			sh, sw, keys = g.Window, g.Window, g.Window*g.Window
		}
		if g.H*g.W*keys*g.Heads*g.HeadDim > 1<<22 {
			t.Skip("a fuzzed shape that the plain reference needs too long for")
		}
		c := g.Heads * g.HeadDim
		r := newRand(g.H, g.W, g.Window, c)
		qkv := guarded(random(r, g.H*g.W*3*c), 3)
		var relH, relW, pad []float32
		if rel {
			relH, relW, pad = random(r, (2*sh-1)*g.HeadDim), random(r, (2*sw-1)*g.HeadDim), random(r, 3*c)
			for i := range relH {
				relH[i] *= 0.25
			}
			for i := range relW {
				relW[i] *= 0.25
			}
		}
		want := relPosRef(qkv, g, relH, relW, pad)
		for _, im := range impls() {
			dst := newCanary(g.H*g.W*c, 1)
			relPosAttention(im, dst.out, qkv, g, relH, relW, nil, pad)
			dst.check(t, 1, nil)
			closeTo(t, want, dst.out, attnTolerance, 0)
		}
	})
}

func FuzzAttention(f *testing.F) {
	f.Add(uint16(7), uint16(300), uint8(8), uint8(16))
	f.Add(uint16(600), uint16(7), uint8(1), uint8(32))
	f.Fuzz(func(t *testing.T, q16, k16 uint16, heads8, dim8 uint8) {
		nq, nk, heads, hd := int(q16)%700+1, int(k16)%700+1, int(heads8)%4+1, int(dim8)%90+1
		if nq*nk*heads*hd > 1<<22 {
			t.Skip("a fuzzed shape that the plain reference needs too long for")
		}
		c := heads * hd
		r := newRand(nq, nk, heads, hd)
		q, k, v := guarded(random(r, nq*c), 1), guarded(random(r, nk*c), 2), guarded(random(r, nk*c), 3)
		want := attnRef(q, k, v, heads, hd, nq, nk)
		for _, im := range impls() {
			dst := newCanary(nq*c, 5)
			plainAttention(im, dst.out, q, k, v, heads, hd, nq, nk)
			dst.check(t, 5, nil)
			closeTo(t, want, dst.out, attnTolerance, 0)
		}
	})
}
