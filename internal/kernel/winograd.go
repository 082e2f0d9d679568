package kernel

import "math"

// A convolution of 3 x 3 by Winograd's algorithm F(4x4, 3x3): for each 4 x 4
// pixels of the result the 6 x 6 pixels under it, and the kernel, are brought
// to 36 values (taps), of which products take the place of 144, for each pair
// of channels.
//
// The algorithm multiplies polynomials by their values at five points and at
// infinity. The points are 0, ±5/8 and ±3/2: every constant of the two
// transforms of maps is a float32, and rounding is less than two times that of
// the sum of products, where the points 0, ±1 and ±2 of the literature have
// four times as much.
//
// Source: Lavin and Gray, Fast algorithms for convolutional neural networks,
// arXiv:1509.09308; on points, Barabasz et al., arXiv:1803.10986.
const (
	winogradA    = 0.625
	winogradB    = 1.5
	winogradTile = 4                // pixels of the result, in each direction
	winogradSide = winogradTile + 2 // pixels under them
	winogradTaps = winogradSide * winogradSide
)

// WinogradLen is the number of values of a weight [cout, cin, 3, 3] for
// [Winograd].
func WinogradLen(cout, cin int) int { return winogradTaps * PackedLen(cout, cin) }

// PackWinograd returns the weight w [cout, cin, 3, 3] as [Winograd] reads it.
// w is not kept.
func PackWinograd(w []float32, cout, cin int) []float32 {
	need("winograd: w", len(w), cout*cin*9)
	return packWinograd(active, w, cout, cin)
}

func packWinograd(im *impl, w []float32, cout, cin int) []float32 {
	n := im.padded(cout) * cin
	data := Alloc(winogradTaps * n)
	Parallel((cout+im.nr-1)/im.nr, func(i int) {
		first := i * im.nr // a panel at a time
		outs, lanes := min(im.nr, cout-first), im.panelWidth(cout-first)
		size := outs * cin
		taps := make([]float32, winogradTaps*size)
		for c := range size {
			g := (*[9]float32)(w[9*(first*cin+c):])
			var cols [3][winogradSide]float64
			for x := range cols {
				cols[x] = winogradThree(float64(g[x]), float64(g[3+x]), float64(g[6+x]))
			}
			for y := range winogradSide {
				for x, v := range winogradThree(cols[0][y], cols[1][y], cols[2][y]) {
					taps[(winogradSide*y+x)*size+c] = float32(v)
				}
			}
		}
		for tap := range winogradTaps {
			p := Packed{N: cout, K: cin, im: im, width: im.padded(cout), kc: blockK(cin), data: data[tap*n:][:n]}
			for k0 := 0; k0 < cin; k0 += p.kc {
				kc := min(p.kc, cin-k0)
				im.transpose(p.panel(k0, kc, first, lanes), lanes, taps[tap*size+k0:], cin, outs, kc)
			}
		}
	})
	return data
}

// winogradThree brings three values of a kernel to six.
func winogradThree(x, y, z float64) [winogradSide]float64 {
	const a2, b2 = winogradA * winogradA, winogradB * winogradB
	const na, nb = 2 * a2 * (a2 - b2), 2 * b2 * (b2 - a2)
	sa, da := (x+float64(a2*z))/na, winogradA*y/na
	sb, db := (x+float64(b2*z))/nb, winogradB*y/nb
	return [winogradSide]float64{x / (a2 * b2), sa + da, sa - da, sb + db, sb - db, z}
}

// ConvPart is channels of a map: the first C of each pixel, which lie Ld apart.
type ConvPart struct {
	X     []float32
	Ld, C int
}

// Winograd is a 3 x 3 convolution, with zero padding 1, of a map of H x W
// pixels, whose channels are those of the parts, one after the other:
//
//	y = relu(conv(x*Scale + Shift) + Bias)
//
// The padding is 0 behind scale and shift, which have an element for each
// channel of x and may be nil, as Bias may, of Out elements.
type Winograd struct {
	H, W, Out          int
	Parts              []ConvPart
	Scale, Shift, Bias []float32
	ReLU               bool
}

// Run sets dst [H*W, Out] to the convolution. weight is from [PackWinograd].
// dst must not overlap the parts. Results differ from those of [Conv3x3] by
// rounding; they do not depend on how many cores there are.
func (w Winograd) Run(dst, weight []float32) { w.run(active, dst, weight) }

func (w Winograd) run(im *impl, dst, weight []float32) {
	t := winogradTask{Winograd: w, im: im, dst: dst, weight: weight, ldm: im.padded(w.Out)}
	for _, p := range w.Parts {
		needMatrix("winograd: part", len(p.X), w.H*w.W, p.C, p.Ld)
		t.cin += p.C
	}
	need("winograd: dst", len(dst), w.H*w.W*w.Out)
	need("winograd: weight", len(weight), winogradTaps*t.ldm*t.cin)
	if w.Scale != nil {
		need("winograd: scale", len(w.Scale), t.cin)
		need("winograd: shift", len(w.Shift), t.cin)
	}
	t.bias = make([]float32, w.Out)
	if w.Bias != nil {
		need("winograd: bias", len(w.Bias), w.Out)
		t.bias = w.Bias
	}
	t.floor = float32(math.Inf(-1))
	if w.ReLU {
		t.floor = 0
	}
	t.across = (w.W + winogradTile - 1) / winogradTile
	t.tiles = t.across * ((w.H + winogradTile - 1) / winogradTile)
	t.block = winogradBlock(t.cin + t.ldm)
	// Taps lie an odd number of cache lines apart, so that those of one place do
	// not drive each other out of the cache.
	t.tapV = (t.block*t.cin+cacheLine-1)/cacheLine*cacheLine | cacheLine
	t.tapM = (t.block*t.ldm+cacheLine-1)/cacheLine*cacheLine | cacheLine
	Parallel((t.tiles+t.block-1)/t.block, t.run)
}

// winogradBlock is how many tiles of so many channels, those of both maps, are
// in hand at a time: a multiple of every implementation's mr.
func winogradBlock(channels int) int {
	if channels > 384 {
		return 48
	}
	return 24
}

type winogradTask struct {
	Winograd
	im            *impl
	dst, weight   []float32
	bias          []float32
	floor         float32
	cin, ldm      int
	across, tiles int
	block         int
	tapV, tapM    int // distance of taps of the values and of the sums
}

// run computes the i-th block of tiles.
func (t *winogradTask) run(i int) {
	im := t.im
	first := i * t.block
	n := min(t.block, t.tiles-first)
	s := arenas.get()
	patch := winogradTaps * max(t.cin, t.Out)
	kc := blockK(t.cin)
	s.reset(winogradTaps*(t.tapV+t.tapM) + patch + winogradTaps*max(im.lanes, 1) + im.mr*kc)
	v, m := s.take(winogradTaps*t.tapV), s.take(winogradTaps*t.tapM)
	edge, tmp, rows := s.take(patch), s.take(winogradTaps*max(im.lanes, 1)), s.take(im.mr*kc)
	for k := range n {
		t.values(v[k*t.cin:], edge, tmp, first+k)
	}
	whole := (n + im.mr - 1) / im.mr * im.mr
	size := t.ldm * t.cin
	for tap := range winogradTaps {
		a := v[tap*t.tapV:]
		clear(a[n*t.cin : whole*t.cin])
		b := Packed{N: t.Out, K: t.cin, im: im, width: t.ldm, kc: kc, data: t.weight[tap*size:][:size]}
		b.rowProduct(m[tap*t.tapM:], t.ldm, a, t.cin, whole, rows)
	}
	for k := range n {
		t.pixels(m[k*t.ldm:], edge, tmp, first+k)
	}
	arenas.put(s)
}

// values sets v to the taps of the pixels under a tile.
func (t *winogradTask) values(v, edge, tmp []float32, tile int) {
	y, x := tile/t.across*winogradTile-1, tile%t.across*winogradTile-1
	inside := y >= 0 && x >= 0 && y+winogradSide <= t.H && x+winogradSide <= t.W
	c := 0
	for _, p := range t.Parts {
		var scale, shift []float32
		if t.Scale != nil {
			scale, shift = t.Scale[c:][:p.C], t.Shift[c:][:p.C]
		}
		if inside {
			t.im.values(v[c:], t.tapV, p.X[(y*t.W+x)*p.Ld:], t.W*p.Ld, p.Ld, scale, shift, tmp, p.C)
		} else {
			t.gather(edge, p, y, x, scale, shift)
			t.im.values(v[c:], t.tapV, edge, winogradSide*p.C, p.C, nil, nil, tmp, p.C)
		}
		c += p.C
	}
}

// gather copies the pixels from (y, x) on, scaled and shifted, with zeros where
// there are none.
func (t *winogradTask) gather(edge []float32, p ConvPart, y, x int, scale, shift []float32) {
	for tap := range winogradTaps {
		d := edge[tap*p.C:][:p.C]
		sy, sx := y+tap/winogradSide, x+tap%winogradSide
		if sy < 0 || sy >= t.H || sx < 0 || sx >= t.W {
			clear(d)
			continue
		}
		copy(d, p.X[(sy*t.W+sx)*p.Ld:])
		for i := range scale {
			d[i] = float32(d[i]*scale[i]) + shift[i]
		}
	}
}

// pixels makes a tile of the result of its sums m.
func (t *winogradTask) pixels(m, edge, tmp []float32, tile int) {
	y, x := tile/t.across*winogradTile, tile%t.across*winogradTile
	rows, cols := min(winogradTile, t.H-y), min(winogradTile, t.W-x)
	at := t.dst[(y*t.W+x)*t.Out:]
	if rows == winogradTile && cols == winogradTile {
		t.im.pixels(at, t.W*t.Out, t.Out, m, t.tapM, t.bias, t.floor, tmp, t.Out)
		return
	}
	t.im.pixels(edge, winogradTile*t.Out, t.Out, m, t.tapM, t.bias, t.floor, tmp, t.Out)
	for r := range rows {
		copy(at[r*t.W*t.Out:][:cols*t.Out], edge[r*winogradTile*t.Out:])
	}
}

// values is im.winogradIn for any number of channels.
func (im *impl) values(dst []float32, tap int, src []float32, row, px int, scale, shift, tmp []float32, n int) {
	whole := n / im.lanes * im.lanes
	if whole > 0 {
		im.winogradIn(dst, tap, src, row, px, scale, shift, tmp, whole)
	}
	if whole == n {
		return
	}
	if scale != nil {
		scale, shift = scale[whole:], shift[whole:]
	}
	winogradInGeneric(dst[whole:], tap, src[whole:], row, px, scale, shift, tmp, n-whole)
}

// pixels is im.winogradOut for any number of channels.
func (im *impl) pixels(dst []float32, row, px int, src []float32, tap int, bias []float32, floor float32, tmp []float32, n int) {
	whole := n / im.lanes * im.lanes
	if whole > 0 {
		im.winogradOut(dst, row, px, src, tap, bias, floor, tmp, whole)
	}
	if whole < n {
		winogradOutGeneric(dst[whole:], row, px, src[whole:], tap, bias[whole:], floor, tmp, n-whole)
	}
}

// rowProduct sets c to the product of rows of a, a multiple of mr, with b, to
// the columns of its last panel that is not full; tmp holds mr rows of a block
// of b.
func (b *Packed) rowProduct(c []float32, ldc int, a []float32, lda, rows int, tmp []float32) {
	im := b.im
	full := b.N / im.nr * im.nr
	for k0 := 0; k0 < b.K; k0 += b.kc {
		kc := min(b.kc, b.K-k0)
		for j0 := 0; j0 < b.N; j0 += im.cols {
			j1 := min(j0+im.cols, b.N)
			for i := 0; i < rows; i += im.mr {
				row, sums := a[i*lda+k0:], c[i*ldc:]
				packed := im.rowStrip == nil || j1 > full
				if packed {
					im.transpose(tmp, im.mr, row, lda, im.mr, kc)
				}
				var before []float32
				if n := (min(j1, full) - j0) / im.nr; n > 0 {
					if k0 > 0 {
						before = sums[j0:]
					}
					panels := b.data[k0*b.width+j0*kc:]
					if im.rowStrip != nil {
						im.rowStrip(n, kc, row, lda, panels, sums[j0:], ldc, before, ldc)
					} else {
						im.strip(n, kc, tmp, im.mr, panels, sums[j0:], ldc, before, ldc)
					}
				}
				if j1 > full {
					if k0 > 0 {
						before = sums[full:]
					}
					w := im.panelWidth(b.N - full)
					im.tileOf(im.mr, w)(kc, tmp, im.mr, b.panel(k0, kc, full, w), sums[full:], ldc, before, ldc)
				}
			}
		}
	}
}
