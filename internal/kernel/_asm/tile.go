package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tile writes the product of r rows with a panel of v registers. The loop over
// the inner dimension keeps all r*v sums in registers.
func (s *isa) tile(r, v int) {
	w := v * s.vec
	TEXT(fmt.Sprintf("tile%dx%d%s", r, w, s.name), NOSPLIT,
		"func(k int, a []float32, lda int, b []float32, c []float32, ldc int, d []float32, ldd int)")
	Doc(fmt.Sprintf("tile%dx%d%s works like tileGeneric(%d, %d).", r, w, s.name, r, w))
	Pragma("noescape")
	k := integer("k")
	a := slice("a")
	lda := stride("lda")
	b := slice("b")
	sums := s.tileSums(r, v, k, a, lda, b, s.panelAhead(b, v))
	c := slice("c")
	ldc := stride("ldc")
	d := slice("d")
	ldd := stride("ldd")
	s.tileStore(sums, c, ldc, d, ldd)
	ret()
}

// strip writes the products of the most rows with full panels, one after the
// other.
func (s *isa) strip() {
	const v = 2
	s.function("strip", "(n int, k int, a []float32, lda int, b []float32, c []float32, ldc int, d []float32, ldd int)")
	n, b := integer("n"), slice("b")
	lda, ldc, ldd := stride("lda"), stride("ldc"), stride("ldd")
	c, d := slice("c"), slice("d")
	Label("panel")
	sums := s.tileSums(s.rows, v, integer("k"), slice("a"), lda, b, s.panelAhead(b, v))
	to, before := GP64(), GP64()
	MOVQ(c, to)
	MOVQ(d, before)
	s.tileStore(sums, to, ldc, before, ldd)
	ADDQ(U8(v*s.bytes()), c)
	TESTQ(d, d)
	JZ(LabelRef("next"))
	ADDQ(U8(v*s.bytes()), d)
	Label("next")
	DECQ(n)
	JNZ(LabelRef("panel"))
	ret()
}

// stack writes the products of tiles of the most rows, one after the other, with
// a full panel.
func (s *isa) stack() {
	const v = 2
	s.function("stack", "(n int, k int, a []float32, b []float32, c []float32, ldc int, d []float32, ldd int)")
	n, a, b, c, d := integer("n"), slice("a"), slice("b"), slice("c"), slice("d")
	ldc, ldd := stride("ldc"), stride("ldd")
	lda := GP64()
	MOVQ(I32(4*s.rows), lda)
	Label("tile")
	panel := GP64()
	MOVQ(b, panel)
	// The tiles come from the second-level cache, the panel is near. a is left
	// behind the tile.
	sums := s.tileSums(s.rows, v, integer("k"), a, lda, panel, func() {
		for l := 0; l < 2*4*s.rows; l += 64 {
			PREFETCHT0(at(a, prefetch+l))
		}
	})
	s.tileStore(sums, c, ldc, d, ldd)
	ADDQ(ldc, c)
	TESTQ(d, d)
	JZ(LabelRef("next"))
	ADDQ(ldd, d)
	Label("next")
	DECQ(n)
	JNZ(LabelRef("tile"))
	ret()
}

// sums are the sums of r rows and v registers each, at zero.
func (s *isa) sums(r, v int) [][]reg.VecVirtual {
	sums := make([][]reg.VecVirtual, r)
	for i := range sums {
		for range v {
			x := s.reg()
			s.zero(x)
			sums[i] = append(sums[i], x)
		}
	}
	return sums
}

// rank1 adds an inner element to the sums: the products of row n of the panel b
// with a value of each row, where row says that it lies.
func (s *isa) rank1(sums [][]reg.VecVirtual, b reg.Register, n int, row func(i int) Mem) {
	v := len(sums[0])
	bv := make([]reg.VecVirtual, v)
	for j := range bv {
		bv[j] = s.reg()
		VMOVUPS(at(b, (n*v+j)*s.bytes()), bv[j])
	}
	for i := range sums {
		if s.wide && v == 1 {
			VFMADD231PS_BCST(row(i), bv[0], sums[i][0])
			continue
		}
		x := s.reg()
		VBROADCASTSS(row(i), x)
		for j := range v {
			VFMADD231PS(bv[j], x, sums[i][j])
		}
	}
}

// panelAhead fetches two rows of the panel b ahead of their use.
func (s *isa) panelAhead(b reg.Register, v int) func() {
	return func() {
		for l := 0; l < 2*v*s.bytes(); l += 64 {
			PREFETCHT0(at(b, prefetch+l))
		}
	}
}

// tileSums writes the loop over the inner dimension, which calls ahead for each
// two elements. It leaves b behind the panel.
func (s *isa) tileSums(r, v int, k, a, lda, b reg.Register, ahead func()) [][]reg.VecVirtual {
	w := v * s.vec
	sums := s.sums(r, v)
	// step adds one inner element; it is row p of a, panel row n.
	step := func(n int, row Mem) {
		s.rank1(sums, b, n, func(i int) Mem { return row.Offset(4 * i) })
	}
	if r == s.rows {
		pairs := GP64()
		MOVQ(k, pairs)
		SHRQ(U8(1), pairs)
		JZ(LabelRef("rest"))
		Label("block")
		ahead()
		for n := range 2 {
			row := Mem{Base: a}
			if n == 1 {
				row = Mem{Base: a, Index: lda, Scale: 1}
			}
			step(n, row)
		}
		LEAQ(Mem{Base: a, Index: lda, Scale: 2}, a)
		ADDQ(I32(2*w*4), b)
		DECQ(pairs)
		JNZ(LabelRef("block"))
		Label("rest")
		ANDQ(U8(1), k)
	} else {
		TESTQ(k, k)
	}
	JZ(LabelRef("store"))
	Label("tail")
	step(0, Mem{Base: a})
	ADDQ(lda, a)
	ADDQ(I32(w*4), b)
	DECQ(k)
	JNZ(LabelRef("tail"))

	Label("store")
	return sums
}

// tileStore adds d, where there is one, and stores the sums. It overwrites
// both addresses.
func (s *isa) tileStore(sums [][]reg.VecVirtual, c, ldc, d, ldd reg.Register) {
	r := len(sums)
	TESTQ(d, d)
	JZ(LabelRef("replace"))
	for i := range r {
		for j := range sums[i] {
			VADDPS(at(d, j*s.bytes()), sums[i][j], sums[i][j])
		}
		if i < r-1 {
			ADDQ(ldd, d)
		}
	}
	Label("replace")
	for i := range r {
		for j := range sums[i] {
			VMOVUPS(sums[i][j], at(c, j*s.bytes()))
		}
		if i < r-1 {
			ADDQ(ldc, c)
		}
	}
}

// prefetch is how far ahead of its use a panel or a tile is fetched, in bytes.
const prefetch = 512
