package kernel

import (
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/slidesam/sam/internal/half"
)

// MaxHalf is the largest magnitude that [PackHalf] can round.
const MaxHalf = 65504

// PackHalf is [Pack] with the weights rounded to IEEE 754 binary16, ties to
// even: half the memory. Products with it are those with the rounded weights
// in float32, bit for bit. No magnitude may be above MaxHalf.
func PackHalf(w []float32, n, k int) *Packed { return packHalf(active, w, n, k) }

func packHalf(im *impl, w []float32, n, k int) *Packed {
	if n <= 0 || k <= 0 {
		panic(fmt.Sprintf("kernel: pack in halves: %d columns, inner dimension %d", n, k))
	}
	need("pack in halves: w", len(w), n*k)
	if i := AboveHalf(w[:n*k]); i >= 0 {
		panic(fmt.Sprintf("kernel: pack in halves: element %d is %v, want at most %v", i, w[i], MaxHalf))
	}
	p := &Packed{N: n, K: k, im: im, width: im.padded(n), kc: blockK(k), half: true}
	p.data = Alloc((p.width*k + 1) / 2)
	p.fill(w, k, false)
	return p
}

// AboveHalf returns the index of the first value that PackHalf cannot round, or
// -1 if there is none.
func AboveHalf(w []float32) int {
	limit := math.Float32bits(MaxHalf)
	if active8.absMax(w) <= limit {
		return -1
	}
	return slices.IndexFunc(w, func(v float32) bool { return math.Float32bits(v)&magnitude > limit })
}

// LenHalf is the number of values that an [n, k] weight in halves takes the
// room of.
func LenHalf(n, k int) int { return (PackedLen(n, k) + 1) / 2 }

// PackedHalfOf is [PackedOf] for data that came from the Data of PackHalf.
func PackedHalfOf(data []float32, n, k int) Packed {
	need("packed in halves", len(data), LenHalf(n, k))
	return Packed{N: n, K: k, im: active, width: active.padded(n), kc: blockK(k), half: true, data: data}
}

// UnpackHalf sets dst [N, K] to the rounded weight, which came from PackHalf.
func (p *Packed) UnpackHalf(dst []float32) {
	wide := *p
	wide.half, wide.data = false, make([]float32, p.width*p.K)
	p.im.widen(wide.data, p.halves(0, len(wide.data)))
	wide.unpack(dst)
}

// halves are n of the packed weights from the one at on.
func (p *Packed) halves(at, n int) []uint16 {
	all := unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(p.data))), 2*len(p.data))
	return all[at : at+n]
}

// panelsOf returns the panels of columns [j0, j1) in the block of kc inner
// elements from k0 on, one after the other: widened into tmp if they are
// halves. j0 is a multiple of nr, and j1 is, or is N.
func (p *Packed) panelsOf(tmp []float32, k0, kc, j0, j1 int) []float32 {
	if j1 == p.N {
		j1 = p.width
	}
	at, n := k0*p.width+j0*kc, (j1-j0)*kc
	if !p.half {
		return p.data[at : at+n]
	}
	p.im.widen(tmp[:n], p.halves(at, n))
	return tmp[:n]
}

func narrowGeneric(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = half.Bits(v)
	}
}

// widenGeneric shifts exponent and fraction to where float32 has them; the
// factor makes up for the exponents' biases, of the smallest numbers too.
func widenGeneric(dst []float32, src []uint16) {
	for i := range dst {
		h := uint32(src[i])
		v := math.Float32frombits(h&0x7fff<<13) * 0x1p112
		dst[i] = math.Float32frombits(math.Float32bits(v) | h&0x8000<<16)
	}
}
