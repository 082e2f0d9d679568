package kernel

import (
	"fmt"
	"math"
)

// Packed8 is a weight matrix in 8 bits, each output channel with a scale of
// its own: w = scale*q, q an integer from -64 to 64. It is read only, and
// may be used by any number of goroutines.
type Packed8 struct {
	N, K int // columns of the result, inner dimension
	im   *eightBit
	kc   int // length of a block of the inner dimension, in words
	data []float32
}

// weightZero is added to the weights' factors, so that they have no sign.
const weightZero = 64

// maxK8 is the longest inner dimension of a product in 8 bits: sums of products
// of up to 127*128 have room in 32 bits.
const maxK8 = 1 << 16

// Len8 is the number of values that an [n, k] weight in 8 bits takes the room
// of.
func Len8(n, k int) int { return active8.len(n, k) }

func (e *eightBit) len(n, k int) int { return e.padded(n) * (1 + wordsOf(k)) }

// Pack8 rounds w [N, K], the weight of y = x·wᵀ, to 8 bits and packs it. A
// value is off by at most half of its channel's scale, which is the channel's
// largest magnitude divided by 64. w must be finite; it is not kept.
func Pack8(w []float32, n, k int) *Packed8 { return pack8(active8, w, n, k) }

func pack8(im *eightBit, w []float32, n, k int) *Packed8 {
	if n <= 0 || k <= 0 || k > maxK8 {
		panic(fmt.Sprintf("kernel: pack in 8 bits: %d columns, inner dimension %d, want at most %d", n, k, maxK8))
	}
	need("pack in 8 bits: w", len(w), n*k)
	p := packed8Of(im, Alloc(im.len(n, k)), n, k)
	scales := p.scales()
	kw := wordsOf(k)
	words := make([]uint32, kw)
	for j := range n {
		row := w[j*k:][:k]
		factor, scale := scaleOf(im.absMax(row), 64)
		scales[j] = scale
		im.quantise(words, row, factor)
		for k0 := 0; k0 < kw; k0 += p.kc {
			kc := min(p.kc, kw-k0)
			panel := p.panel(k0, kc, j/im.nr*im.nr)
			for i, word := range words[k0 : k0+kc] {
				// Add 64 to each factor: a sum modulo 2^7, and the bit above it.
				const low, added = 0x7f7f7f7f, 0x40404040
				panel[i*im.nr+j%im.nr] = word&low + added ^ word&^low
			}
		}
	}
	return &p
}

// scaleOf returns the factor that brings values up to a magnitude of these
// bits to at most top, and what brings them back. Values too small for that
// become 0. If the magnitude is not finite, nothing that is brought back is a
// number.
func scaleOf(bits uint32, top float32) (factor, scale float32) {
	switch m := math.Float32frombits(bits); {
	case bits >= 0x7f800000:
		return 0, float32(math.NaN())
	case m < 0x1p-100:
		return 0, 0
	default:
		return top / m, m / top
	}
}

// Data is the packed matrix as one array of Len8(N, K) values, for graphs that
// carry weights as float32: what is in it are mostly integers. The caller must
// not change it.
func (p *Packed8) Data() []float32 { return p.data }

// Packed8Of returns the packed matrix [n, k] over data, which came from Data
// in this process. It allocates nothing.
func Packed8Of(data []float32, n, k int) Packed8 { return packed8Of(active8, data, n, k) }

func packed8Of(im *eightBit, data []float32, n, k int) Packed8 {
	need("packed in 8 bits", len(data), im.len(n, k))
	return Packed8{N: n, K: k, im: im, kc: blockWords(wordsOf(k)), data: data}
}

// scales are those of the channels.
func (p *Packed8) scales() []float32 { return p.data[:p.im.padded(p.N)] }

// panel returns the panel [kc, nr] of words that starts at word k0 and column
// j.
func (p *Packed8) panel(k0, kc, j int) []uint32 {
	n := p.im.padded(p.N)
	return asWords(p.data[n*(1+k0)+j*kc:][:kc*p.im.nr])
}

// Unpack sets dst [N, K] to the rounded weight.
func (p *Packed8) Unpack(dst []float32) {
	need("unpack 8 bits: dst", len(dst), p.N*p.K)
	im, scales := p.im, p.scales()
	kw := wordsOf(p.K)
	for j := range p.N {
		for k0 := 0; k0 < kw; k0 += p.kc {
			kc := min(p.kc, kw-k0)
			panel := p.panel(k0, kc, j/im.nr*im.nr)
			for i := 4 * k0; i < min(4*(k0+kc), p.K); i++ {
				q := int(panel[(i/4-k0)*im.nr+j%im.nr]>>(8*(i%4))&255) - weightZero
				dst[j*p.K+i] = float32(q) * scales[j]
			}
		}
	}
}
