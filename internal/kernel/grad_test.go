package kernel

import (
	"fmt"
	"math"
	"runtime"
	"testing"
)

// slope returns the gradient of sum(g * f(x)) with respect to x[at], by
// central differences of the float64 function f.
func slope(f func(x [][]float64) []float64, x [][]float32, at int, g []float32) []float64 {
	in := make([][]float64, len(x))
	for i := range x {
		for _, v := range x[i] {
			in[i] = append(in[i], float64(v))
		}
	}
	loss := func() (s float64) {
		for i, v := range f(in) {
			s += v * float64(g[i])
		}
		return s
	}
	out := make([]float64, len(x[at]))
	const h = 1e-5
	for i, v := range in[at] {
		in[at][i] = v + h
		up := loss()
		in[at][i] = v - h
		out[i] = (up - loss()) / (2 * h)
		in[at][i] = v
	}
	return out
}

// closeToSlope compares a float32 gradient with central differences: a few
// roundings of float32 on sums of some ten terms of size one.
func closeToSlope(t *testing.T, want []float64, got []float32) {
	t.Helper()
	closeTo(t, want, got, 2e-5, 2e-5)
}

func linear64(x, w, b []float64, m, n, k int) []float64 {
	y := make([]float64, m*n)
	for i := range m {
		for j := range n {
			if b != nil {
				y[i*n+j] = b[j]
			}
			for p := range k {
				y[i*n+j] += x[i*k+p] * w[j*k+p]
			}
		}
	}
	return y
}

func TestLinearGrad(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, s := range [][3]int{{1, 1, 1}, {5, 3, 7}, {17, 33, 9}, {3, 40, 70}} {
			t.Run(fmt.Sprint(s), func(t *testing.T) {
				m, n, k := s[0], s[1], s[2]
				r := newRand(m, n, k)
				in := [][]float32{random(r, m*k), random(r, n*k), random(r, n)}
				dy := random(r, m*n)
				f := func(x [][]float64) []float64 { return linear64(x[0], x[1], x[2], m, n, k) }
				dx, dw, db := newCanary(m*k, 1), newCanary(n*k, 2), newCanary(n, 3)
				linearGradX(im, dx.out, guarded(dy, 1), guarded(in[1], 3), nil, m, n, k)
				linearGradW(im, dw.out, guarded(dy, 2), guarded(in[0], 1), m, n, k)
				sumBlocks(im, db.out, guarded(dy, 1))
				closeToSlope(t, slope(f, in, 0, dy), dx.out)
				closeToSlope(t, slope(f, in, 1, dy), dw.out)
				closeToSlope(t, slope(f, in, 2, dy), db.out)
				dx.check(t, 1, nil)
				dw.check(t, 2, nil)
				db.check(t, 3, nil)
				y := make([]float32, m*n)
				linear(im, y, in[0], in[1], in[2], nil, m, n, k)
				closeTo(t, linear64(wide(in[0]), wide(in[1]), wide(in[2]), m, n, k), y, 1e-5, 1e-5)
				// With something to add, in place.
				more, sum := random(r, m*n), make([]float32, m*n)
				Add(sum, y, more)
				linear(im, more, in[0], in[1], in[2], more, m, n, k)
				closeTo(t, wide(sum), more, 1e-5, 1e-5)
				more, sum = random(r, m*k), make([]float32, m*k)
				Add(sum, dx.out, more)
				linearGradX(im, more, dy, in[1], more, m, n, k)
				closeTo(t, wide(sum), more, 1e-5, 1e-5)
			})
		}
	})
}

func wide(x []float32) (y []float64) {
	for _, v := range x {
		y = append(y, float64(v))
	}
	return y
}

// TestLinearGradManyRows: partial sums of several groups, against float64.
func TestLinearGradManyRows(t *testing.T) {
	const m, n, k = 1500, 5, 18
	r := newRand(3)
	x, dy := random(r, m*k), random(r, m*n)
	want := make([]float64, n*k)
	for i := range m {
		for j := range n {
			for p := range k {
				want[j*k+p] += float64(dy[i*n+j]) * float64(x[i*k+p])
			}
		}
	}
	eachImpl(t, func(t *testing.T, im *impl) {
		dw := make([]float32, n*k)
		linearGradW(im, dw, dy, x, m, n, k)
		closeTo(t, want, dw, 1e-4, 1e-5)
	})
	wantSum := make([]float64, n)
	for i, v := range dy {
		wantSum[i%n] += float64(v)
	}
	db := make([]float32, n)
	SumBlocks(db, dy)
	closeTo(t, wantSum, db, 1e-4, 1e-5)
	long := random(r, 3*chunk*2)
	sum := make([]float32, chunk*2)
	SumBlocks(sum, long)
	for i := range sum {
		if want := long[i] + long[2*chunk+i] + long[4*chunk+i]; sum[i] != want {
			t.Fatalf("element %d: %v, want %v", i, sum[i], want)
		}
	}
}

func norm64(x, g, b []float64, rows, c int, eps float64) []float64 {
	y := make([]float64, rows*c)
	for r := range rows {
		var mean, sq float64
		for _, v := range x[r*c:][:c] {
			mean += v / float64(c)
		}
		for _, v := range x[r*c:][:c] {
			sq += (v - mean) * (v - mean) / float64(c)
		}
		for j, v := range x[r*c:][:c] {
			y[r*c+j] = (v-mean)/math.Sqrt(sq+eps)*g[j] + b[j]
		}
	}
	return y
}

func TestLayerNormGrad(t *testing.T) {
	shapes := [][2]int{{3, 64}, {normRows + 3, 5}, {2*gradRows + 1, 3}}
	for c := 2; c < 100; c++ {
		shapes = append(shapes, [2]int{1 + c%3, c})
	}
	for _, s := range shapes {
		rows, c := s[0], s[1]
		r := newRand(rows, c)
		in := [][]float32{random(r, rows*c), random(r, c), random(r, c)}
		dy := random(r, rows*c)
		f := func(x [][]float64) []float64 { return norm64(x[0], x[1], x[2], rows, c, 1e-2) }
		var want [3][]float64
		for i := range want {
			want[i] = slope(f, in, i, dy)
		}
		eachImpl(t, func(t *testing.T, im *impl) {
			off := c % 8
			x, gamma, dy := guarded(in[0], off), guarded(in[1], (off+3)%8), guarded(dy, (off+6)%8)
			dx, dg, db := newCanary(rows*c, (off+1)%8), newCanary(c, (off+2)%8), newCanary(c, off)
			layerNormGradX(im, dx.out, dy, x, gamma, rows, c, 1e-2)
			layerNormGradParams(im, dg.out, db.out, dy, x, rows, c, 1e-2)
			for i, got := range []canary{dx, dg, db} {
				got.check(t, []int{(off + 1) % 8, (off + 2) % 8, off}[i], nil)
				closeToSlope(t, want[i], got.out)
			}
			layerNormGradX(im, dy, dy, x, gamma, rows, c, 1e-2)
			sameBits(t, dx.out, dy)
		})
	}
}

func TestActivationGrad(t *testing.T) {
	r := newRand(5)
	x, dy := random(r, 1300), random(r, 1300)
	for i := range x {
		x[i] *= 4
	}
	copy(x, []float32{0, 14, -14, 1e-9, 6, -6, 40, -40})
	want := make([]float64, len(x))
	for i, v := range x {
		v := float64(v)
		want[i] = float64(dy[i]) * (0.5*math.Erfc(-v/math.Sqrt2) + v*math.Exp(-v*v/2)/math.Sqrt(2*math.Pi))
	}
	eachImpl(t, func(t *testing.T, im *impl) {
		for off := range 8 {
			n := len(x) - 3*off
			got := newCanary(n, off)
			geluGrad(im, got.out, guarded(dy[:n], (off+3)%8), guarded(x[:n], (off+5)%8))
			got.check(t, off, nil)
			closeTo(t, want[:n], got.out, 1e-6, 1e-6)
		}
		nan := []float32{float32(math.NaN())}
		if geluGrad(im, nan, []float32{1}, nan); nan[0] == nan[0] {
			t.Fatalf("slope of GELU at NaN: %v", nan[0])
		}
	})
	y := make([]float32, len(x))
	ReLU(y, x)
	got := make([]float32, len(x))
	ReLUGrad(got, dy, y)
	for i := range got {
		if x[i] > 0 && got[i] != dy[i] || x[i] <= 0 && got[i] != 0 {
			t.Fatalf("element %d: %v for %v at %v", i, got[i], dy[i], x[i])
		}
	}
}

// attention64 is softmax(q·kᵀ/√hd)·v of batch prompts, with shared rows.
func attention64(q, k, v []float64, batch, heads, hd, nq, nk int) []float64 {
	c := heads * hd
	part := func(x []float64, p, n int) []float64 {
		if len(x) == n*c {
			return x
		}
		return x[p*n*c:]
	}
	out := make([]float64, batch*nq*c)
	for p := range batch {
		q, k, v := part(q, p, nq), part(k, p, nk), part(v, p, nk)
		for h := range heads {
			for i := range nq {
				w, sum := make([]float64, nk), 0.0
				for j := range nk {
					var s float64
					for d := range hd {
						s += q[i*c+h*hd+d] * k[j*c+h*hd+d]
					}
					w[j] = math.Exp(s / math.Sqrt(float64(hd)))
					sum += w[j]
				}
				for j := range nk {
					for d := range hd {
						out[(p*nq+i)*c+h*hd+d] += w[j] / sum * v[j*c+h*hd+d]
					}
				}
			}
		}
	}
	return out
}

func TestAttentionGrad(t *testing.T) {
	for _, tt := range []struct{ batch, heads, hd, nq, nk, sharedQ, sharedK int }{
		{1, 1, 4, 1, 1, 0, 0}, {2, 2, 8, 3, 5, 0, 0}, {2, 2, 4, 3, 5, 0, 1}, {3, 1, 4, 9, 2, 1, 0},
		{1, 1, 4, 3, gradKeys + 9, 0, 0}, {1, 2, 4, gradQueries + 5, 3, 0, 0},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			c := tt.heads * tt.hd
			rows := func(n, shared int) int {
				if shared == 1 {
					return n * c
				}
				return tt.batch * n * c
			}
			r := newRand(tt.nq, tt.nk)
			in := [][]float32{random(r, rows(tt.nq, tt.sharedQ)), random(r, rows(tt.nk, tt.sharedK)), random(r, rows(tt.nk, tt.sharedK))}
			dy := random(r, tt.batch*tt.nq*c)
			f := func(x [][]float64) []float64 {
				return attention64(x[0], x[1], x[2], tt.batch, tt.heads, tt.hd, tt.nq, tt.nk)
			}
			var out []float32
			for _, v := range f([][]float64{wide(in[0]), wide(in[1]), wide(in[2])}) {
				out = append(out, float32(v))
			}
			eachImpl(t, func(t *testing.T, im *impl) {
				g := AttentionGrad{
					Batch: tt.batch, Heads: tt.heads, HeadDim: tt.hd, NQ: tt.nq, NK: tt.nk,
					Q: in[0], K: in[1], V: in[2], Out: out, DOut: dy,
					DQ: make([]float32, len(in[0])), DK: make([]float32, len(in[1])), DV: make([]float32, len(in[2])),
				}
				g.run(im)
				closeToSlope(t, slope(f, in, 0, dy), g.DQ)
				closeToSlope(t, slope(f, in, 1, dy), g.DK)
				closeToSlope(t, slope(f, in, 2, dy), g.DV)
			})
		})
	}
}

// TestAttentionGradFar: scores far apart, the largest in a later block, must
// not overflow.
func TestAttentionGradFar(t *testing.T) {
	const nk, hd = gradKeys + 40, 4
	r := newRand(8)
	k, v, q, dy := random(r, nk*hd), random(r, nk*hd), []float32{60, 60, 60, 60}, random(r, hd)
	for d := range hd {
		k[(nk-3)*hd+d] = 30
	}
	out := v[(nk-3)*hd:][:hd]
	g := AttentionGrad{
		Batch: 1, Heads: 1, HeadDim: hd, NQ: 1, NK: nk, Q: q, K: k, V: v, Out: out, DOut: dy,
		DQ: make([]float32, hd), DK: make([]float32, nk*hd), DV: make([]float32, nk*hd),
	}
	g.Run()
	for j := range nk {
		for d := range hd {
			want := float32(0)
			if j == nk-3 {
				want = dy[d]
			}
			if math.Abs(float64(g.DV[j*hd+d]-want)) > 1e-6 {
				t.Fatalf("dv of key %d: %v, want %v", j, g.DV[j*hd+d], want)
			}
		}
	}
}

func conv64(x, w []float64, h, width, cin, cout int) []float64 {
	y := make([]float64, h*width*cout)
	for py := range h {
		for px := range width {
			for o := range cout {
				for tap := range 9 {
					yy, xx := py+tap/3-1, px+tap%3-1
					if yy < 0 || yy >= h || xx < 0 || xx >= width {
						continue
					}
					for i := range cin {
						y[(py*width+px)*cout+o] += x[(yy*width+xx)*cin+i] * w[(o*9+tap)*cin+i]
					}
				}
			}
		}
	}
	return y
}

func TestConv3x3Grad(t *testing.T) {
	const h, w, cin, cout = 4, 5, 3, 2
	r := newRand(1)
	in := [][]float32{random(r, h*w*cin), random(r, 9*cin*cout)}
	dy := random(r, h*w*cout)
	f := func(x [][]float64) []float64 { return conv64(x[0], x[1], h, w, cin, cout) }
	dx, dw := make([]float32, len(in[0])), make([]float32, len(in[1]))
	Conv3x3GradX(dx, dy, in[1], h, w, cin, cout)
	Conv3x3GradW(dw, dy, in[0], h, w, cin, cout)
	closeToSlope(t, slope(f, in, 0, dy), dx)
	closeToSlope(t, slope(f, in, 1, dy), dw)
}

func TestQuarters(t *testing.T) {
	const h, w, c = 2, 3, 2
	z, y, back := make([]float32, 4*h*w*c), make([]float32, 4*h*w*c), make([]float32, 4*h*w*c)
	for i := range z {
		z[i] = float32(i)
	}
	FromQuarters(y, z, h, w, c)
	for i := range h {
		for j := range w {
			for q := range 4 {
				for d := range c {
					if got, want := y[((2*i+q/2)*2*w+2*j+q%2)*c+d], z[((i*w+j)*4+q)*c+d]; got != want {
						t.Fatalf("cell (%d, %d) quarter %d: %v, want %v", j, i, q, got, want)
					}
				}
			}
		}
	}
	ToQuarters(back, y, h, w, c)
	sameBits(t, z, back)
}

func TestMaskProductGrad(t *testing.T) {
	const n, c, m = 300, 5, 3
	r := newRand(2)
	in := [][]float32{random(r, n*c), random(r, m*c)}
	dy := random(r, m*n)
	f := func(x [][]float64) []float64 {
		y := make([]float64, m*n)
		for k := range m {
			for i := range n {
				for j := range c {
					y[k*n+i] += x[0][i*c+j] * x[1][k*c+j]
				}
			}
		}
		return y
	}
	dup, dhyper := make([]float32, n*c), make([]float32, m*c)
	rest := make([]float32, m*c)
	for _, cut := range []int{0, 257, n} { // the parts before and after it
		if cut > 0 {
			MaskProductGradUp(dup, dy, in[1], n, c, m, 0, cut)
			MaskProductGradHyper(dhyper, dy, in[0], n, c, m, 0, cut)
		}
		if cut < n {
			MaskProductGradUp(dup, dy, in[1], n, c, m, cut, n)
			MaskProductGradHyper(rest, dy, in[0], n, c, m, cut, n)
		}
		switch cut {
		case 0:
			copy(dhyper, rest)
		case 257:
			Add(dhyper, dhyper, rest)
		}
		closeToSlope(t, slope(f, in, 0, dy), dup)
		// Sums of 300 terms.
		closeTo(t, slope(f, in, 1, dy), dhyper, 1e-4, 2e-5)
		clear(dup)
	}
}

// TestGradSameBits: the number of goroutines changes no bit.
func TestGradSameBits(t *testing.T) {
	const m, n, k, heads, hd = 3000, 24, 40, 3, 8
	all := func() (out []float32) {
		r := newRand(9)
		x, w, dy := random(r, m*k), random(r, n*k), random(r, m*n)
		take := func(n int, f func(dst []float32)) {
			d := make([]float32, n)
			f(d)
			out = append(out, d...)
		}
		take(m*k, func(d []float32) { LinearGradX(d, dy, w, nil, m, n, k) })
		take(n*k, func(d []float32) { LinearGradW(d, dy, x, m, n, k) })
		take(n, func(d []float32) { SumBlocks(d, dy) })
		take(m*n, func(d []float32) { LayerNormGradX(d, dy, dy, w, m, n, 1e-5) })
		take(2*n, func(d []float32) { LayerNormGradParams(d[:n], d[n:], dy, dy, m, n, 1e-5) })
		take(m*n, func(d []float32) { GELUGrad(d, dy, dy) })
		take(n*k, func(d []float32) { MaskProductGradHyper(d, dy, x, m, k, n, 0, m) })
		take(9*n*k, func(d []float32) { Conv3x3GradW(d, dy, x, 50, 60, k, n) })
		c := heads * hd
		q, kv := random(r, 2*200*c), random(r, 300*c)
		take(len(q)+2*len(kv), func(d []float32) {
			g := AttentionGrad{
				Batch: 2, Heads: heads, HeadDim: hd, NQ: 200, NK: 300, Q: q, K: kv, V: kv, Out: q, DOut: q,
				DQ: d[:len(q)], DK: d[len(q):][:len(kv)], DV: d[len(q)+len(kv):],
			}
			g.Run()
		})
		return out
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	want := all()
	for _, n := range []int{2, 3, 7} {
		runtime.GOMAXPROCS(n)
		sameBits(t, want, all())
	}
}
