package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// maps are the kernels of convolutional maps whose products are rounded.
func (s *isa) maps() {
	s.depthwise()
	s.scaleShift()
	s.channelSums()
}

// depthwise adds up the nine taps of a pixel.
func (s *isa) depthwise() {
	s.function("depthwise", "(dst []float32, bias []float32, a []float32, b []float32, e []float32, w []float32, c int, n int)")
	dst, bias, w := slice("dst"), slice("bias"), slice("w")
	rows := []reg.Register{slice("a"), slice("b"), slice("e")}
	c, n := stride("c"), integer("n")
	SHRQ(U8(s.shift()), n)
	c3 := GP64()
	LEAQ(Mem{Base: c, Index: c, Scale: 2}, c3)
	Label("block")
	v, at0 := s.reg(), GP64()
	VMOVUPS(at(bias, 0), v)
	MOVQ(w, at0)
	for _, row := range rows {
		for x := range 3 {
			m, k := Mem{Base: row}, Mem{Base: at0}
			if x > 0 {
				m.Index, m.Scale = c, uint8(x)
				k.Index, k.Scale = c, uint8(x)
			}
			p := s.reg()
			VMOVUPS(m, p)
			VMULPS(k, p, p)
			VADDPS(p, v, v)
		}
		ADDQ(c3, at0)
	}
	VMOVUPS(v, at(dst, 0))
	for _, p := range append(rows, dst, bias, w) {
		ADDQ(U8(s.bytes()), p)
	}
	DECQ(n)
	JNZ(LabelRef("block"))
	ret()
}

// scaleShift scales and shifts rows.
func (s *isa) scaleShift() {
	s.function("scaleShift", "(dst []float32, x []float32, scale []float32, shift []float32, rows int, c int, n int)")
	dst, x, scale, shift := slice("dst"), slice("x"), slice("scale"), slice("shift")
	rows, c, n := integer("rows"), stride("c"), stride("n")
	Label("row")
	i := GP64()
	XORQ(i, i)
	Label("block")
	v := s.reg()
	place := func(p reg.Register) Mem { return Mem{Base: p, Index: i, Scale: 1} }
	VMOVUPS(place(x), v)
	VMULPS(place(scale), v, v)
	VADDPS(place(shift), v, v)
	VMOVUPS(v, place(dst))
	ADDQ(U8(s.bytes()), i)
	CMPQ(i, n)
	JL(LabelRef("block"))
	ADDQ(c, dst)
	ADDQ(c, x)
	DECQ(rows)
	JNZ(LabelRef("row"))
	ret()
}

// channelSums adds to the sums of a register of channels at a time: products of
// float32s are exact in float64, so that fused ones are the same.
func (s *isa) channelSums() {
	s.function("channelSums", "(sum []float64, square []float64, x []float32, ld int, rows int, n int)")
	sum, square, x := slice("sum"), slice("square"), slice("x")
	ld, n := stride("ld"), integer("n")
	SHRQ(U8(s.shift()), n)
	Label("block")
	var sums, squares [2]reg.VecVirtual
	for h := range sums {
		sums[h], squares[h] = s.reg(), s.reg()
		VMOVUPD(at(sum, h*s.bytes()), sums[h])
		VMOVUPD(at(square, h*s.bytes()), squares[h])
	}
	p, rows := GP64(), integer("rows")
	MOVQ(x, p)
	Label("row")
	for h := range sums {
		v := s.reg()
		VCVTPS2PD(at(p, h*s.bytes()/2), v)
		VADDPD(v, sums[h], sums[h])
		VFMADD231PD(v, v, squares[h])
	}
	ADDQ(ld, p)
	DECQ(rows)
	JNZ(LabelRef("row"))
	for h := range sums {
		VMOVUPD(sums[h], at(sum, h*s.bytes()))
		VMOVUPD(squares[h], at(square, h*s.bytes()))
	}
	ADDQ(I32(2*s.bytes()), sum)
	ADDQ(I32(2*s.bytes()), square)
	ADDQ(U8(s.bytes()), x)
	DECQ(n)
	JNZ(LabelRef("block"))
	ret()
}
