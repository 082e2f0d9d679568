package kernel

import (
	"fmt"
	"math"
	"runtime"
	"testing"
)

// maskHead returns a random case, its maps as rows, and its weights [4*Up1,
// Channels] and [4*Up2, Up1], with biases [4*Up1] and [4*Up2].
func maskHead(im *impl, prompts, h, w, c, up1, up2, masks int) (t MaskHead, x, w1, b1, w2, b2 []float32) {
	r := newRand(prompts, h, w, c, up1, up2, masks)
	lanes := func(b []float32) []float32 {
		var out []float32
		for _, v := range b {
			for range im.nr {
				out = append(out, v)
			}
		}
		return out
	}
	tiles := func(w []float32, n, k int) []float32 {
		dst := make([]float32, n*k)
		im.packTiles(dst, w, n, k)
		return guarded(dst, 3)
	}
	x = random(r, prompts*h*w*c)
	var panels []float32
	for i := range prompts {
		one := make([]float32, im.padded(h*w)*c)
		packPanels(im, one, x[i*h*w*c:], h*w, c)
		panels = append(panels, one...)
	}
	w1, b1, w2, b2 = random(r, 4*up1*c), random(r, 4*up1), random(r, 4*up2*up1), random(r, 4*up2)
	t = MaskHead{
		Prompts: prompts, H: h, W: w, Channels: c, Up1: up1, Up2: up2, Masks: masks, Eps: 1e-6,
		X: guarded(panels, 2), W1: tiles(w1, 4*up1, c), W2: tiles(w2, 4*up2, up1), B1: guarded(lanes(b1), 1), B2: guarded(lanes(b2), 5),
		Gamma: guarded(random(r, up1), 1), Beta: guarded(random(r, up1), 2), Hyper: guarded(random(r, prompts*masks*up2), 3),
	}
	return t, x, w1, b1, w2, b2
}

// maskHeadRef is MaskHead in float64.
func maskHeadRef(t MaskHead, maps, w1, b1, w2, b2 []float32) []float64 {
	out := make([]float64, t.Prompts*t.Masks*16*t.H*t.W)
	gelu := func(v float64) float64 { return v * math.Erfc(-v/math.Sqrt2) / 2 }
	// part is output (q, ·) of a transposed convolution at a pixel.
	part := func(x []float64, w, b []float32, q, n int) []float64 {
		y := make([]float64, n)
		for o := range y {
			y[o] = float64(b[q*n+o])
			for k, v := range x {
				y[o] += v * float64(w[(q*n+o)*len(x)+k])
			}
		}
		return y
	}
	for i := range t.Prompts * t.H * t.W {
		p, y, x := i/(t.H*t.W), i/t.W%t.H, i%t.W
		in := make([]float64, t.Channels)
		for k := range in {
			in[k] = float64(maps[i*t.Channels+k])
		}
		for q1 := range 4 {
			z := part(in, w1, b1, q1, t.Up1)
			var mean, variance float64
			for _, v := range z {
				mean += v / float64(t.Up1)
			}
			for _, v := range z {
				variance += (v - mean) * (v - mean) / float64(t.Up1)
			}
			for k, v := range z {
				z[k] = gelu((v-mean)/math.Sqrt(variance+float64(t.Eps))*float64(t.Gamma[k]) + float64(t.Beta[k]))
			}
			for q2 := range 4 {
				u := part(z, w2, b2, q2, t.Up2)
				py, px := 4*y+2*(q1/2)+q2/2, 4*x+2*(q1%2)+q2%2
				for m := range t.Masks {
					sum := 0.0
					for k, v := range u {
						sum += gelu(v) * float64(t.Hyper[(p*t.Masks+m)*t.Up2+k])
					}
					out[((p*t.Masks+m)*4*t.H+py)*4*t.W+px] = sum
				}
			}
		}
	}
	return out
}

func TestMaskHead(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, s := range [][7]int{{1, 1, 1, 1, 1, 1, 1}, {2, 3, 5, 7, 3, 2, 3}, {1, 2, 35, 20, 13, 5, 4}, {3, 4, 64, 16, 8, 4, 13}} {
			t.Run(fmt.Sprint(s), func(t *testing.T) {
				k, x, w1, b1, w2, b2 := maskHead(im, s[0], s[1], s[2], s[3], s[4], s[5], s[6])
				want := maskHeadRef(k, x, w1, b1, w2, b2)
				dst := newCanary(len(want), 3)
				k.run(im, dst.out)
				dst.check(t, 3, nil)
				// Sums of up to 20 products of sums of 20; a norm over one
				// channel is 0 before it is shifted.
				closeTo(t, want, dst.out, 1e-4, 1e-5)

				k.Skip = make([]bool, s[0])
				k.Skip[s[0]-1] = true
				each := len(want) / s[0]
				clear(want[len(want)-each:])
				k.run(im, dst.out)
				closeTo(t, want, dst.out, 1e-4, 1e-5)
				for _, v := range dst.out[len(want)-each:] {
					if v != 0 {
						t.Fatalf("a mask that was left out holds %v", v)
					}
				}
			})
		}
	})
}

func TestMaskHeadBits(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	k, _, _, _, _, _ := maskHead(active, 3, 16, 40, 20, 8, 4, 3)
	want := make([]float32, 3*3*16*16*40)
	k.Run(want)
	for _, procs := range []int{2, 3, 8} {
		runtime.GOMAXPROCS(procs)
		got := make([]float32, len(want))
		k.Run(got)
		sameBits(t, want, got)
	}
}

func BenchmarkMaskHead(b *testing.B) {
	for _, im := range impls() {
		b.Run("impl="+im.name, func(b *testing.B) {
			k, _, _, _, _, _ := maskHead(im, 1, 64, 64, 256, 64, 32, 3)
			dst := make([]float32, 3*65536)
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			rate(b, im, 2*4096*(256*256+4*64*128+16*32*3), func() { k.run(im, dst) })
		})
	}
}
