//go:build gpu && cgo && linux

package cuda

import (
	"fmt"
	"math"
	"testing"
)

// exact is the tolerance of fp32 kernels beside loops in float64: sums of up
// to some hundred products, in another order.
const exact = 2e-6

func TestLinear(t *testing.T) {
	d := openOrSkip(t)
	for _, tt := range []struct{ m, n, k, act, rows int }{
		{1, 1, 1, actNone, 0}, {130, 77, 48, actGELU, 130}, {65, 129, 17, actReLU, 13}, {7, 64, 33, actNone, 7}, {128, 128, 16, actNone, 1},
		{257, 3, 5, actGELU, 0},
	} {
		a, w, bias := random(1, tt.m*tt.k), random(2, tt.n*tt.k), random(3, tt.n)
		var add []float32
		if tt.rows > 0 {
			add = random(4, tt.rows*tt.n)
		}
		want := productLoop(a, w, bias, add, tt.m, tt.n, tt.k, tt.act)
		for _, p := range []product{smallTiles, largeTiles} {
			t.Run(fmt.Sprintf("%s/%+v", p.kernel, tt), func(t *testing.T) {
				l := p.launch(tt.m, tt.n)
				l.args = []any{a, w, bias, nil, tt.m, tt.n, tt.k, tt.act, max(tt.rows, 1)}
				out := nan(tt.m * tt.n)
				if add != nil {
					l.args[3] = add
				}
				if tt.rows == tt.m {
					out, l.args[3] = add, inPlace{}
				}
				compare(t, want, runKernel(t, d, l, out), exact)
			})
		}
	}
}

// convCases are 3 x 3 kernels with a border, patches, and what is neither.
var convCases = []conv{
	{1, 1, 1, 3, 5, 3, 1, 1}, {2, 7, 9, 8, 70, 3, 1, 1}, {1, 12, 8, 3, 33, 4, 4, 0}, {3, 9, 11, 5, 2, 3, 2, 2}, {2, 4, 4, 1, 4, 2, 2, 0}, {2, 11, 7, 16, 9, 3, 1, 1},
}

func TestConv(t *testing.T) {
	d := openOrSkip(t)
	for i, c := range convCases {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			x, w := random(1, c.maps*c.h*c.w*c.in), random(2, c.out*c.size*c.size*c.in)
			var bias, add []float32
			l := c.launch(FP32, x, w, nil, nil, actNone, 1)
			if i%2 == 1 {
				oh, ow := c.result()
				bias, add = random(3, c.out), random(4, oh*ow*c.out)
				l = c.launch(FP32, x, w, bias, add, actGELU, oh*ow)
			}
			want := convLoop(c, x, w, bias, add)
			compare(t, want, runKernel(t, d, l, nan(len(want))), exact)
		})
	}
}

func TestUpscale(t *testing.T) {
	d := openOrSkip(t)
	for _, s := range []struct{ batch, h, w, in, out, act int }{{1, 1, 1, 1, 1, actNone}, {2, 5, 7, 12, 17, actGELU}, {3, 4, 3, 32, 8, actNone}} {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			rows := s.batch * s.h
			x, w, bias := random(1, rows*s.w*s.in), random(2, 4*s.out*s.in), random(3, 4*s.out)
			flat := productLoop(x, w, bias, nil, rows*s.w, 4*s.out, s.in, s.act)
			want := make([]float64, len(flat))
			for i, v := range flat {
				o, q, px, py := i%s.out, i/s.out%4, i/s.out/4%s.w, i/s.out/4/s.w
				want[((2*py+q/2)*2*s.w+2*px+q%2)*s.out+o] = v
			}
			compare(t, want, runKernel(t, d, upscaleLaunch(x, w, bias, rows, s.w, s.in, s.out, s.act), nan(len(want))), exact)
		})
	}
}

func TestRelPosAttention(t *testing.T) {
	d := openOrSkip(t)
	for _, s := range relPosCases {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			qkv, relh, relw, pad := s.inputs()
			want := s.loop(qkv, relh, relw, pad)
			l := relPosLaunch(FP32, qkv, relh, relw, pad, s.h, s.w, s.window, s.heads, s.hd)
			// Scores of normal values reach some tens, so that the softmax
			// magnifies their rounding.
			compare(t, want, runKernel(t, d, l, nan(len(want))), 1e-5)
		})
	}
}

func TestAttention(t *testing.T) {
	d := openOrSkip(t)
	for _, s := range []struct {
		batch, heads, hd, nq, nk int
		shared                   string // of q, k and v
	}{
		{1, 2, 16, 7, 300, ""}, {3, 4, 8, 5, 130, "kv"}, {2, 1, 32, 200, 9, "q"}, {1, 3, 20, 6, 6, ""}, {2, 2, 128, 3, 260, ""}, {2, 1, 64, 131, 5, "qkv"},
		{1, 1, 1, 1, 1, ""}, {2, 1, 5, 4, 9, "v"},
	} {
		width := s.heads * s.hd
		side := func(seed uint64, name string, n int) ([]float32, int) {
			for _, c := range s.shared {
				if string(c) == name {
					return random(seed, n*width), 0
				}
			}
			return random(seed, s.batch*n*width), n
		}
		q, qs := side(1, "q", s.nq)
		k, ks := side(2, "k", s.nk)
		v, vs := side(3, "v", s.nk)
		want := make([]float64, s.batch*s.nq*width)
		for i := range s.batch * s.nq * s.heads {
			head, row, p := i%s.heads, i/s.heads%s.nq, i/s.heads/s.nq
			score := func(j int) (sum float64) {
				for c := range s.hd {
					sum += float64(q[(p*qs+row)*width+head*s.hd+c]) * float64(k[(p*ks+j)*width+head*s.hd+c])
				}
				return sum / math.Sqrt(float64(s.hd))
			}
			copy(want[i*s.hd:], softmaxLoop(s.nk, s.hd, score, func(j, c int) float64 { return float64(v[(p*vs+j)*width+head*s.hd+c]) }))
		}
		for _, kind := range []string{"queries", "keys"} {
			t.Run(fmt.Sprintf("%s/%+v", kind, s), func(t *testing.T) {
				l := attentionLaunch(kind, q, k, v, s.batch, s.heads, s.hd, s.nq, s.nk, qs, ks, vs)
				compare(t, want, runKernel(t, d, l, nan(len(want))), 5e-6)
			})
		}
	}
}

func TestLayerNorm(t *testing.T) {
	d := openOrSkip(t)
	for _, s := range []struct{ rows, c, act int }{{1, 1, actNone}, {5, 33, actGELU}, {9, 256, actNone}, {2, 7, actNone}} {
		t.Run(fmt.Sprintf("%+v", s), func(t *testing.T) {
			x, gamma, beta, eps := random(1, s.rows*s.c), random(2, s.c), random(3, s.c), 1e-5
			want := make([]float64, len(x))
			for r := range s.rows {
				var mean, variance float64
				for i := range s.c {
					mean += float64(x[r*s.c+i]) / float64(s.c)
				}
				for i := range s.c {
					variance += math.Pow(float64(x[r*s.c+i])-mean, 2) / float64(s.c)
				}
				for i := range s.c {
					v := (float64(x[r*s.c+i])-mean)/math.Sqrt(variance+eps)*float64(gamma[i]) + float64(beta[i])
					want[r*s.c+i] = activated(v, s.act)
				}
			}
			l := layerNormLaunch(inPlace{}, gamma, beta, s.rows, s.c, eps, s.act)
			compare(t, want, runKernel(t, d, l, x), exact)
		})
	}
}

// TestRows compares the kernels that move or add values with their
// definitions, element by element.
func TestRows(t *testing.T) {
	d := openOrSkip(t)
	x := random(1, 2*6*4*3)
	h0, h1, h2, h3, h4 := random(2, 2*3), random(3, 2*3), random(4, 2*3), random(5, 2*3), random(6, 2*3)
	pickOf := []int32{5, 0, 5}
	for _, tt := range []struct {
		name string
		l    launch
		n    int
		want func(i int) float64
	}{
		{"activation", elementLaunch("activation", len(x), x, actReLU), len(x), func(i int) float64 { return max(float64(x[i]), 0) }},
		{"add_rows", elementLaunch("add_rows", len(x), x, x[:36], 36), len(x), func(i int) float64 { return float64(x[i] + x[i%36]) }},
		{"tokens", elementLaunch("tokens", 2*(9+72), x[:9], x, 9, 72), 2 * (9 + 72), func(i int) float64 {
			if j := i % 81; j >= 9 {
				return float64(x[i/81*72+j-9])
			}
			return float64(x[i%81])
		}},
		{"tokens of nobody", elementLaunch("tokens", 27, x[:9], nil, 9, 0), 27, func(i int) float64 { return float64(x[i%9]) }},
		{"pick", elementLaunch("pick", 4*3*6, x, pickOf, 6, 3, 6), 4 * 3 * 6, func(i int) float64 {
			r := i / 6
			return float64(x[(r/3*6+int(pickOf[r%3]))*6+i%6])
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			want := make([]float64, tt.n)
			for i := range want {
				want[i] = tt.want(i)
			}
			compare(t, want, runKernel(t, d, tt.l, nan(tt.n)), 0)
		})
	}
	t.Run("quality_floor", func(t *testing.T) {
		quality := []float32{0.9, 0.2, 0.6, 0.95, 0.65, 0.1, 0.9, 0.6, 0.7} // of three prompts
		for _, floor := range []float32{0, 0.6} {
			want := make([]float64, len(x))
			for i := range want {
				if p := i / 48; floor == 0 || quality[3*p+1] > floor || quality[3*p+2] > floor {
					want[i] = float64(x[i])
				}
			}
			l := elementLaunch("quality_floor", len(x), inPlace{}, quality, []float32{floor}, []int32{1, 2}, 2, 3, 24)
			compare(t, want, runKernel(t, d, l, x), 0)
		}
	})
	t.Run("mask_products", func(t *testing.T) {
		h := [][]float32{h0, h1, h2, h3, h4}
		want := make([]float64, 2*5*24)
		for i := range want {
			row, m, p := i%24, i/24%5, i/24/5
			for c := range 3 {
				want[i] += float64(x[(p*24+row)*3+c]) * float64(h[m][p*3+c])
			}
		}
		var got []float32
		out := nan(len(want))
		for _, l := range maskLaunches(x, []any{h0, h1, h2, h3, h4}, 2, 24, 3) {
			got = runKernel(t, d, l, out)
			out = got
		}
		compare(t, want, got, exact)
	})
}

func TestPositions(t *testing.T) {
	d := openOrSkip(t)
	c, size := 6, 100
	g, table := random(1, c), random(2, 5*c)
	fourier := func(x, y float32, j int) float64 {
		cx, cy := 2*x-1, 2*y-1
		f := c / 2
		a := float64(float32(float32(cx*g[j%f])+float32(cy*g[f+j%f])) * float32(2*math.Pi))
		if j < f {
			return math.Sin(a)
		}
		return math.Cos(a)
	}
	pts := []float32{3, 4, 0, 99.5, -7, 1, 10, 20, -1, 0, 0, 3}
	want := make([]float64, 4*c)
	for i := range want {
		p, j := i/c, i%c
		label := int(pts[3*p+2])
		want[i] = float64(table[(label+1)*c+j])
		if label >= 0 {
			want[i] += fourier((pts[3*p]+0.5)/float32(size), (pts[3*p+1]+0.5)/float32(size), j)
		}
	}
	t.Run("points", func(t *testing.T) {
		compare(t, want, runKernel(t, d, elementLaunch("points", len(want), pts, g, table, 4, c, size), nan(len(want))), 1e-6)
	})
	t.Run("a label outside is not a number", func(t *testing.T) {
		for _, label := range []float32{-2, 3, float32(math.NaN())} {
			got := runKernel(t, d, elementLaunch("points", c, []float32{1, 2, label}, g, table, 3, c, size), make([]float32, c))
			for _, v := range got {
				if v == v {
					t.Fatalf("label %v gives %v", label, got)
				}
			}
		}
	})
	t.Run("dense_positions", func(t *testing.T) {
		h, w := 3, 5
		want := make([]float64, h*w*c)
		for i := range want {
			p := i / c
			want[i] = fourier((float32(p%w)+0.5)/float32(w), (float32(p/w)+0.5)/float32(h), i%c)
		}
		compare(t, want, runKernel(t, d, elementLaunch("dense_positions", len(want), g, h, w, c), nan(len(want))), 1e-6)
	})
}
