package kernel

import "fmt"

// Packed is a weight matrix in the order in which the products read it. It is
// read only, and may be used by any number of goroutines.
//
// The inner dimension is cut into blocks of nearly equal length; each block
// holds the panels of all columns, one after the other.
type Packed struct {
	N, K int // columns of the result, inner dimension

	im    *impl
	width int  // columns with the padding of the last panel
	kc    int  // length of a block of the inner dimension
	half  bool // data are binary16, two to a value: see PackHalf
	data  []float32
}

const maxKC = 384 // longest block of the inner dimension

// blockK returns the length of the blocks into which an inner dimension of k
// is cut: the same for all implementations.
func blockK(k int) int {
	if k == 0 {
		return 0
	}
	blocks := (k + maxKC - 1) / maxKC
	return ((k+blocks-1)/blocks + 7) &^ 7
}

// Pack packs w [N, K], the weight of y = x·wᵀ as torch's Linear stores it.
// w is not kept.
func Pack(w []float32, n, k int) *Packed { return pack(active, w, n, k, k, false) }

// PackKN packs w [K, N], the weight of y = x·w. w is not kept.
func PackKN(w []float32, k, n int) *Packed { return pack(active, w, n, k, n, true) }

func pack(im *impl, w []float32, n, k, ld int, kn bool) *Packed {
	if n <= 0 || k <= 0 {
		panic(fmt.Sprintf("kernel: pack: %d columns, inner dimension %d", n, k))
	}
	need("pack: w", len(w), n*k)
	p := &Packed{N: n, K: k, im: im, width: im.padded(n), kc: blockK(k)}
	p.data = Alloc(p.width * k)
	p.fill(w, ld, kn)
	return p
}

// packInto is pack into data, which holds im.padded(n)*k elements.
func packInto(im *impl, data, w []float32, n, k, ld int, kn bool) Packed {
	p := Packed{N: n, K: k, im: im, width: im.padded(n), kc: blockK(k), data: data}
	p.fill(w, ld, kn)
	return p
}

func (p *Packed) fill(w []float32, ld int, kn bool) {
	im, n, k := p.im, p.N, p.K
	var tmp []float32 // a panel that is about to be halves
	if p.half {
		tmp = make([]float32, p.kc*im.nr)
	}
	for k0 := 0; k0 < k; k0 += p.kc {
		kc := min(p.kc, k-k0)
		for j := 0; j < n; j += im.nr {
			w1 := im.panelWidth(n - j)
			cols := min(w1, n-j)
			var dst []float32
			if p.half {
				dst = tmp[:kc*w1]
			} else {
				dst = p.panel(k0, kc, j, w1)
			}
			if cols < w1 {
				clear(dst)
			}
			if kn {
				copyRows(dst, w1, w[k0*ld+j:], ld, kc, cols)
			} else {
				im.transpose(dst, w1, w[j*ld+k0:], ld, cols, kc)
			}
			if p.half {
				im.narrow(p.halves(k0*p.width+j*kc, len(dst)), dst)
			}
		}
	}
}

// panel returns the panel [kc, w] that starts at inner index k0 and column j.
func (p *Packed) panel(k0, kc, j, w int) []float32 {
	return p.data[k0*p.width+j*kc:][:kc*w]
}

// need panics if a slice has fewer elements than the sizes call for.
func need(what string, have, want int) {
	if have < want {
		panic(fmt.Sprintf("kernel: %s: %d elements, want at least %d", what, have, want))
	}
}

// needMatrix is need for rows of c elements, ld apart.
func needMatrix(what string, have, rows, c, ld int) {
	if ld < c {
		panic(fmt.Sprintf("kernel: %s: rows %d apart, shorter than %d", what, ld, c))
	}
	if rows > 0 {
		need(what, have, (rows-1)*ld+c)
	}
}
