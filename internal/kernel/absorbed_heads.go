package kernel

// What brings tokens to the width of a map and back, for each head by itself.
// Weights are as torch stores them, not packed.

// head calls f for each head, with room for n values.
func (a *Absorbed) head(n int, f func(h int, room []float32)) {
	Parallel(a.Heads, func(h int) {
		s := arenas.get()
		s.reset(n)
		f(h, s.take(n))
		arenas.put(s)
	})
}

// Absorb sets dst [Heads*Tokens, c] to the tokens x [Tokens, Heads*HeadDim], each
// head's part times its rows of w [Heads*HeadDim, c].
func (a *Absorbed) Absorb(dst, x, w []float32, c int) { a.absorb(active, dst, x, w, c) }

func (a *Absorbed) absorb(im *impl, dst, x, w []float32, c int) {
	d, n, hd := a.Heads*a.HeadDim, a.Tokens, a.HeadDim
	need("absorb: dst", len(dst), a.rows()*c)
	need("absorb: x", len(x), n*d)
	need("absorb: w", len(w), d*c)
	a.head(im.padded(c)*hd, func(h int, room []float32) {
		p := packInto(im, room, w[h*hd*c:], c, hd, c, true)
		GemmSerial(dst[h*n*c:], c, x[h*hd:], d, n, &p, Epilogue{})
	})
}

// PerHead sets dst [Tokens, Heads*HeadDim] to x [Heads*Tokens, c], each head's
// rows times the transpose of its rows of w [Heads*HeadDim, c], plus bias
// [Heads*HeadDim] and add, which is as large as dst; either may be nil. dst may be
// add.
func (a *Absorbed) PerHead(dst, x, w, bias, add []float32, c int) {
	a.perHead(active, dst, x, w, bias, add, c)
}

func (a *Absorbed) perHead(im *impl, dst, x, w, bias, add []float32, c int) {
	d, n, hd := a.Heads*a.HeadDim, a.Tokens, a.HeadDim
	need("per head: dst", len(dst), n*d)
	need("per head: x", len(x), a.rows()*c)
	need("per head: w", len(w), d*c)
	a.head(im.padded(hd)*c, func(h int, room []float32) {
		p := packInto(im, room, w[h*hd*c:], hd, c, c, false)
		var e Epilogue
		if bias != nil {
			e.Bias = bias[h*hd:][:hd]
		}
		if add != nil {
			e.Add, e.LdAdd = add[h*hd:], d
		}
		GemmSerial(dst[h*hd:], d, x[h*n*c:], c, n, &p, e)
	})
}

// AbsorbGrad sets dw [Heads*HeadDim, c] to the gradient of Absorb's w for dy
// [Heads*Tokens, c], that of its result; and as well to that of PerHead's, with
// x the gradient of its result and dy its x.
func (a *Absorbed) AbsorbGrad(dw, x, dy []float32, c int) { a.absorbGrad(active, dw, x, dy, c) }

func (a *Absorbed) absorbGrad(im *impl, dw, x, dy []float32, c int) {
	d, n, hd := a.Heads*a.HeadDim, a.Tokens, a.HeadDim
	need("absorb grad: dw", len(dw), d*c)
	need("absorb grad: x", len(x), n*d)
	need("absorb grad: dy", len(dy), a.rows()*c)
	a.head(im.padded(c)*n+hd*n+cacheLine, func(h int, room []float32) {
		p := packInto(im, room[:im.padded(c)*n], dy[h*n*c:], c, n, c, true)
		turned := room[im.padded(c)*n:]
		im.transpose(turned, n, x[h*hd:], d, n, hd)
		GemmSerial(dw[h*hd*c:], c, turned, n, hd, &p, Epilogue{})
	})
}

// Transpose sets dst [cols, rows] to src [rows, cols], turned over.
func Transpose(dst, src []float32, rows, cols int) {
	need("transpose: dst", len(dst), rows*cols)
	need("transpose: src", len(src), rows*cols)
	active.transpose(dst, rows, src, cols, rows, cols)
}
