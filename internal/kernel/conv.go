package kernel

// Conv3x3 sets dst [H*W, cout] to the 3 x 3 convolution, with zero padding 1,
// of the picture x [H*W, cin]; rows are pixels in picture order. b is packed
// from [cout, 9*cin] with the inner dimension in the order (ky, kx, cin).
// The epilogue follows. dst must not overlap x.
func Conv3x3(dst, x []float32, h, w int, b *Packed, e Epilogue) {
	if b.K%9 != 0 {
		panic("kernel: conv: inner dimension is not a multiple of 9")
	}
	need("conv: x", len(x), h*w*(b.K/9))
	t := newGemm(dst, b.N, h*w, b, e)
	t.a = x
	t.shape = convShape{h: h, w: w, c: b.K / 9}
	t.conv = &t.shape
	t.start()
}

// convShape is the size of a picture with c channels.
type convShape struct{ h, w, c int }

// gather copies inner elements [k0, k0+kc) of the neighbourhoods of pixels
// [p0, p0+n) to dst [n, kc].
func (s *convShape) gather(dst, x []float32, p0, n, k0, kc int) {
	for p := p0; p < p0+n; p++ {
		py, px := p/s.w, p%s.w
		d := dst[(p-p0)*kc:][:kc]
		for k := k0; len(d) > 0; {
			tap, ch := k/s.c, k%s.c
			run := min(s.c-ch, len(d))
			y, xx := py+tap/3-1, px+tap%3-1
			if y < 0 || y >= s.h || xx < 0 || xx >= s.w {
				clear(d[:run])
			} else {
				copy(d[:run], x[(y*s.w+xx)*s.c+ch:])
			}
			d, k = d[run:], k+run
		}
	}
}
