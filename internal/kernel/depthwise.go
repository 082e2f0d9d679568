package kernel

// Depthwise3x3 sets dst [OH*OW, c] to the 3 x 3 convolution of each channel of
// the map x [h*w, c] by itself, with zero padding 1: OH and OW are h and w
// over the stride, rounded up. weight is [9, c] in the order (y, x), bias [c].
// dst must not overlap x.
//
// Products are rounded before they are added, so that it gives the same bits
// on every machine.
func Depthwise3x3(dst, x, weight, bias []float32, h, w, c, stride int) {
	oh, ow := (h+stride-1)/stride, (w+stride-1)/stride
	need("depthwise: dst", len(dst), oh*ow*c)
	need("depthwise: x", len(x), h*w*c)
	need("depthwise: weight", len(weight), 9*c)
	need("depthwise: bias", len(bias), c)
	im := active
	whole := c / im.lanes * im.lanes
	Parallel(oh, func(oy int) {
		for ox := range ow {
			d := dst[(oy*ow+ox)*c:][:c]
			y, xx := oy*stride, ox*stride
			if y > 0 && y+1 < h && xx > 0 && xx+1 < w {
				at := ((y-1)*w + xx - 1) * c
				if whole > 0 {
					im.depthwise(d, bias, x[at:], x[at+w*c:], x[at+2*w*c:], weight, c, whole)
				}
				if whole < c {
					at += whole
					depthwiseGeneric(d[whole:], bias[whole:], x[at:], x[at+w*c:], x[at+2*w*c:], weight[whole:], c, c-whole)
				}
				continue
			}
			copy(d, bias)
			for tap := range 9 {
				ty, tx := y+tap/3-1, xx+tap%3-1
				if ty < 0 || ty >= h || tx < 0 || tx >= w {
					continue
				}
				s, k := x[(ty*w+tx)*c:][:c], weight[tap*c:][:c]
				for i := range d {
					d[i] += float32(s[i] * k[i])
				}
			}
		}
	})
}

// depthwiseGeneric adds up the nine taps of n channels of a pixel whose
// neighbours all exist: a, b and e are the three pixels of each row, c apart, as
// the taps of w are.
func depthwiseGeneric(d, bias, a, b, e, w []float32, c, n int) {
	d, bias = d[:n], bias[:n]
	a0, a1, a2 := a[:n], a[c:][:n], a[2*c:][:n]
	b0, b1, b2 := b[:n], b[c:][:n], b[2*c:][:n]
	e0, e1, e2 := e[:n], e[c:][:n], e[2*c:][:n]
	w0, w1, w2 := w[:n], w[c:][:n], w[2*c:][:n]
	w3, w4, w5 := w[3*c:][:n], w[4*c:][:n], w[5*c:][:n]
	w6, w7, w8 := w[6*c:][:n], w[7*c:][:n], w[8*c:][:n]
	for i := range d {
		v := bias[i] + float32(a0[i]*w0[i])
		v += float32(a1[i] * w1[i])
		v += float32(a2[i] * w2[i])
		v += float32(b0[i] * w3[i])
		v += float32(b1[i] * w4[i])
		v += float32(b2[i] * w5[i])
		v += float32(e0[i] * w6[i])
		v += float32(e1[i] * w7[i])
		d[i] = v + float32(e2[i]*w8[i])
	}
}
