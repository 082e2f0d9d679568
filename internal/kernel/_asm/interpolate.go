package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// interpolate takes a register of results at a time. Where the elements that
// they are made of lie close together, as in every enlargement, they are
// picked out of one register.
func (s *isa) interpolate() {
	s.function("interpolate", "(dst []float32, src []float32, i0 []int32, i1 []int32, w0 []float32, w1 []float32)")
	dst, src := slice("dst"), slice("src")
	i0, i1, w0, w1 := slice("i0"), slice("i1"), slice("w0"), slice("w1")
	n, all := length("dst"), length("src")
	SHRQ(U8(s.shift()), n)
	JZ(LabelRef("done"))
	Label("block")
	at0, at1, x0, x1 := s.reg(), s.reg(), s.reg(), s.reg()
	VMOVUPS(at(i0, 0), at0)
	VMOVUPS(at(i1, 0), at1)
	first, last := GP64(), GP64()
	MOVLQSX(at(i0, 0), first)
	MOVLQSX(at(i1, 4*(s.vec-1)), last)
	SUBQ(first, last)
	CMPQ(last, U8(s.vec))
	JGE(LabelRef("gather"))
	LEAQ(Mem{Base: first, Disp: s.vec}, last)
	CMPQ(last, all)
	JGT(LabelRef("gather"))
	base, row := s.reg(), s.reg()
	VPBROADCASTD(at(i0, 0), base)
	VMOVUPS(Mem{Base: src, Index: first, Scale: 4}, row)
	VPSUBD(base, at0, at0)
	VPSUBD(base, at1, at1)
	VPERMPS(row, at0, x0)
	VPERMPS(row, at1, x1)
	JMP(LabelRef("blend"))
	Label("gather")
	for _, g := range [][2]reg.VecVirtual{{at0, x0}, {at1, x1}} {
		from := Mem{Base: src, Index: g[0], Scale: 4}
		if s.wide {
			k := K()
			KXNORW(k, k, k)
			VGATHERDPS(from, k, g[1])
		} else {
			m := s.reg()
			VPCMPEQD(m, m, m)
			VGATHERDPS(m, from, g[1])
		}
	}
	Label("blend")
	VMULPS(at(w0, 0), x0, x0)
	VMULPS(at(w1, 0), x1, x1)
	VADDPS(x1, x0, x0)
	VMOVUPS(x0, at(dst, 0))
	for _, p := range []reg.Register{dst, i0, i1, w0, w1} {
		ADDQ(U8(s.bytes()), p)
	}
	DECQ(n)
	JNZ(LabelRef("block"))
	Label("done")
	ret()
}
