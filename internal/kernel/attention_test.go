package kernel

import (
	"fmt"
	"math"
	"runtime"
	"testing"
)

// relPosRef is the encoder's attention as the original does it, in float64:
// partition into padded windows, full score matrices, softmax.
func relPosRef(qkv []float32, g Grid, relH, relW, pad []float32) []float64 {
	return relPosBiasRef(qkv, g, relH, relW, nil, pad)
}

func relPosBiasRef(qkv []float32, g Grid, relH, relW, bias, pad []float32) []float64 {
	c := g.Heads * g.HeadDim
	sh, sw := g.H, g.W
	if g.Window > 0 {
		sh, sw = g.Window, g.Window
	}
	out := make([]float64, g.H*g.W*c)
	at := func(y, x, i int) float64 {
		switch {
		case y < g.H && x < g.W:
			return float64(qkv[(y*g.W+x)*3*c+i])
		case pad != nil:
			return float64(pad[i])
		}
		return 0
	}
	scale := 1 / math.Sqrt(float64(g.HeadDim))
	for y := range g.H {
		for x := range g.W {
			y0, x0 := y/sh*sh, x/sw*sw
			for h := range g.Heads {
				h *= g.HeadDim
				scores := make([]float64, sh*sw)
				top := math.Inf(-1)
				for ky := range sh {
					for kx := range sw {
						var s float64
						for d := range g.HeadDim {
							q := at(y, x, h+d)
							s += q * scale * at(y0+ky, x0+kx, c+h+d)
							if relH != nil {
								s += q * float64(relH[(y-y0-ky+sh-1)*g.HeadDim+d])
								s += q * float64(relW[(x-x0-kx+sw-1)*g.HeadDim+d])
							}
						}
						if bias != nil {
							dy, dx := y-y0-ky, x-x0-kx
							s += float64(bias[(h/g.HeadDim*sh+max(dy, -dy))*sw+max(dx, -dx)])
						}
						scores[ky*sw+kx] = s
						top = max(top, s)
					}
				}
				var sum float64
				for i := range scores {
					scores[i] = math.Exp(scores[i] - top)
					sum += scores[i]
				}
				o := out[(y*g.W+x)*c+h:][:g.HeadDim]
				for i, s := range scores {
					for d := range o {
						o[d] += s / sum * at(y0+i/sw, x0+i%sw, 2*c+h+d)
					}
				}
			}
		}
	}
	return out
}

// attnTolerance: scores of size up to about 20 carry a rounding error of a few
// units of 2^-20 into the exponential; values are of size 1.
const attnTolerance = 1e-5

func TestRelPosAttention(t *testing.T) {
	grids := []Grid{
		{H: 1, W: 1, Heads: 1, HeadDim: 4},
		{H: 3, W: 5, Heads: 2, HeadDim: 8},
		{H: 8, W: 8, Heads: 2, HeadDim: 16},
		{H: 9, W: 20, Heads: 1, HeadDim: 80},
		{H: 24, W: 24, Heads: 1, HeadDim: 64},
		{H: 2, W: 150, Heads: 1, HeadDim: 8},
		{H: 14, W: 14, Window: 14, Heads: 1, HeadDim: 64},
		{H: 16, W: 16, Window: 14, Heads: 2, HeadDim: 32},
		{H: 20, W: 9, Window: 7, Heads: 1, HeadDim: 80},
		{H: 5, W: 6, Window: 4, Heads: 3, HeadDim: 6},
		{H: 3, W: 3, Window: 14, Heads: 1, HeadDim: 10},
	}
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, g := range grids {
			for _, rel := range []bool{true, false} {
				t.Run(fmt.Sprintf("%dx%d/window=%d/heads=%d/dim=%d/rel=%v", g.H, g.W, g.Window, g.Heads, g.HeadDim, rel), func(t *testing.T) {
					r := newRand(g.H, g.W, g.Window, g.HeadDim)
					c := g.Heads * g.HeadDim
					sh, sw := g.H, g.W
					if g.Window > 0 {
						sh, sw = g.Window, g.Window
					}
					off := (g.H + g.W) % 8
					qkv := guarded(random(r, g.H*g.W*3*c), off)
					var relH, relW, pad []float32
					if rel {
						relH, relW = guarded(random(r, (2*sh-1)*g.HeadDim), off), guarded(random(r, (2*sw-1)*g.HeadDim), off)
						for i := range relH {
							relH[i] *= 0.25
						}
						pad = guarded(random(r, 3*c), off)
					}
					dst := newCanary(g.H*g.W*c, off)
					relPosAttention(im, dst.out, qkv, g, relH, relW, nil, pad)
					dst.check(t, off, nil)
					closeTo(t, relPosRef(qkv, g, relH, relW, pad), dst.out, attnTolerance, 0)
				})
			}
		}
	})
}

func TestOffsetAttention(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, g := range []Grid{
			{H: 14, W: 14, Window: 7, Heads: 2, HeadDim: 32},
			{H: 20, W: 9, Window: 7, Heads: 3, HeadDim: 8},
			{H: 16, W: 30, Window: 14, Heads: 2, HeadDim: 16},
			{H: 3, W: 3, Window: 5, Heads: 1, HeadDim: 4},
		} {
			r := newRand(g.H, g.W, g.Window)
			c := g.Heads * g.HeadDim
			qkv, bias, pad := random(r, g.H*g.W*3*c), random(r, g.Heads*g.Window*g.Window), random(r, 3*c)
			dst := newCanary(g.H*g.W*c, 3)
			offsetAttention(im, dst.out, qkv, g, bias, pad)
			dst.check(t, 3, nil)
			closeTo(t, relPosBiasRef(qkv, g, nil, nil, bias, pad), dst.out, attnTolerance, 0)
		}
	})
}

// attnRef is plain attention in float64.
func attnRef(q, k, v []float32, heads, hd, nq, nk int) []float64 {
	c := heads * hd
	out := make([]float64, nq*c)
	scores := make([]float64, nk)
	for i := range nq {
		for h := 0; h < c; h += hd {
			top := math.Inf(-1)
			for j := range nk {
				var s float64
				for d := range hd {
					s += float64(q[i*c+h+d]) * float64(k[j*c+h+d])
				}
				scores[j] = s / math.Sqrt(float64(hd))
				top = max(top, scores[j])
			}
			var sum float64
			for j := range scores {
				scores[j] = math.Exp(scores[j] - top)
				sum += scores[j]
			}
			for j, s := range scores {
				for d := range hd {
					out[i*c+h+d] += s / sum * float64(v[j*c+h+d])
				}
			}
		}
	}
	return out
}

func TestAttention(t *testing.T) {
	type shape struct{ heads, hd, nq, nk int }
	shapes := []shape{{8, 16, 7, 1000}, {8, 16, 600, 9}, {8, 32, 9, 9}, {1, 5, 3, 1}, {2, 80, 33, 40}}
	for n := 1; n <= 100; n++ {
		shapes = append(shapes, shape{1, 16, n, 13}, shape{1, 8, 3, n})
	}
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, s := range shapes {
			t.Run(fmt.Sprintf("heads=%d/dim=%d/nq=%d/nk=%d", s.heads, s.hd, s.nq, s.nk), func(t *testing.T) {
				r := newRand(s.heads, s.hd, s.nq, s.nk)
				c, off := s.heads*s.hd, (s.nq+s.nk)%8
				q, k, v := guarded(random(r, s.nq*c), off), guarded(random(r, s.nk*c), off), guarded(random(r, s.nk*c), off)
				dst := newCanary(s.nq*c, off)
				plainAttention(im, dst.out, q, k, v, s.heads, s.hd, s.nq, s.nk)
				dst.check(t, off, nil)
				closeTo(t, attnRef(q, k, v, s.heads, s.hd, s.nq, s.nk), dst.out, attnTolerance, 0)
				panels := make([]float32, im.padded(s.nk)*c)
				packPanels(im, panels, k, s.nk, c)
				same := newCanary(s.nq*c, off)
				panelAttention(im, same.out, q, guarded(panels, off), v, s.heads, s.hd, s.nq, s.nk)
				same.check(t, off, nil)
				sameBits(t, dst.out, same.out)
			})
		}
	})
}

// TestAttentionBits checks that the number of goroutines, and the number of
// queries beside one, leave a result's bits alone.
func TestAttentionBits(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	eachImpl(t, func(t *testing.T, im *impl) {
		g := Grid{H: 20, W: 30, Window: 0, Heads: 2, HeadDim: 16}
		c := g.Heads * g.HeadDim
		r := newRand(5)
		qkv := random(r, g.H*g.W*3*c)
		relH, relW := random(r, (2*g.H-1)*16), random(r, (2*g.W-1)*16)
		var want, want2 []float32
		for _, procs := range []int{1, 2, 8} {
			runtime.GOMAXPROCS(procs)
			got := make([]float32, g.H*g.W*c)
			relPosAttention(im, got, qkv, g, relH, relW, nil, nil)
			got2 := make([]float32, 40*c)
			plainAttention(im, got2, qkv, qkv[40*c:], qkv[500*c:], g.Heads, 16, 40, 400)
			if want == nil {
				want, want2 = got, got2
			}
			sameBits(t, want, got)
			sameBits(t, want2, got2)
			one := make([]float32, c)
			plainAttention(im, one, qkv[39*c:], qkv[40*c:], qkv[500*c:], g.Heads, 16, 1, 400)
			sameBits(t, want2[39*c:], one)
		}
	})
}
