package kernel

import (
	"fmt"
	"testing"
)

func TestConv3x3(t *testing.T) {
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, s := range []struct{ h, w, cin, cout int }{
			{1, 1, 3, 2}, {2, 3, 5, 7}, {7, 5, 50, 33}, {16, 16, 64, 64}, {3, 40, 256, 20},
		} {
			t.Run(fmt.Sprintf("%dx%d/cin=%d/cout=%d", s.h, s.w, s.cin, s.cout), func(t *testing.T) {
				r := newRand(s.h, s.w, s.cin)
				x, w := guarded(random(r, s.h*s.w*s.cin), 3), random(r, s.cout*9*s.cin)
				dst := newCanary(s.h*s.w*s.cout, 5)
				Conv3x3(dst.out, x, s.h, s.w, pack(im, w, s.cout, 9*s.cin, 9*s.cin, false), Epilogue{})
				dst.check(t, 5, nil)
				want := make([]float64, len(dst.out))
				for y := range s.h {
					for xx := range s.w {
						for o := range s.cout {
							var sum float64
							for tap := range 9 {
								sy, sx := y+tap/3-1, xx+tap%3-1
								if sy < 0 || sy >= s.h || sx < 0 || sx >= s.w {
									continue
								}
								for c := range s.cin {
									sum += float64(x[(sy*s.w+sx)*s.cin+c]) * float64(w[(o*9+tap)*s.cin+c])
								}
							}
							want[(y*s.w+xx)*s.cout+o] = sum
						}
					}
				}
				closeTo(t, want, dst.out, sumTolerance(9*s.cin), 1e-6)
			})
		}
	})
}

func TestMaskProduct(t *testing.T) {
	type shape struct{ n, c, m int }
	var shapes []shape
	for n := 1; n <= 100; n++ {
		shapes = append(shapes, shape{n, 32, 4})
	}
	for m := 1; m <= 40; m++ {
		shapes = append(shapes, shape{50, 7, m})
	}
	shapes = append(shapes, shape{3000, 32, 1}, shape{5000, 32, 3})
	eachImpl(t, func(t *testing.T, im *impl) {
		for _, s := range shapes {
			r := newRand(s.n, s.c, s.m)
			off := (s.n + s.m) % 8
			up, hyper := guarded(random(r, s.n*s.c), off), guarded(random(r, s.m*s.c), off)
			dst := newCanary(s.m*s.n, off)
			maskProduct(im, dst.out, up, hyper, s.n, s.c, s.m)
			dst.check(t, off, nil)
			want := gemmRef(hyper, s.c, s.m, up, s.n, s.c, Epilogue{})
			closeTo(t, want, dst.out, sumTolerance(s.c), 1e-6)
		}
	})
}
