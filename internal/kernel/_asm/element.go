package main

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// A mask selects the first lanes of a register.
type mask struct {
	s *isa
	y reg.VecVirtual // AVX2: lanes of ones
	k reg.Register   // AVX-512
}

// lanes is a table of eight words of ones and eight of zeros.
var lanes Mem

// maskOf returns the mask of the first n lanes, n less than a register's; n
// is overwritten.
func (s *isa) maskOf(n reg.GPVirtual) mask {
	if s.wide {
		// bits = 1<<n - 1
		bits := GP64()
		MOVQ(I32(-1), bits)
		SHLXQ(n, bits, bits)
		NOTQ(bits)
		k := K()
		KMOVW(bits.As32(), k)
		return mask{s: s, k: k}
	}
	if lanes.Base == nil {
		lanes = GLOBL("lanes", attr.RODATA|attr.NOPTR)
		for i := range 16 {
			ones := uint32(0xffffffff)
			if i >= 8 {
				ones = 0
			}
			DATA(4*i, U32(ones))
		}
	}
	p := GP64()
	LEAQ(lanes, p)
	SHLQ(U8(2), n)
	SUBQ(n, p)
	y := YMM()
	VMOVUPS(at(p, 32), y)
	return mask{s: s, y: y}
}

// load reads the lanes; the others are zero, and their memory is not touched.
func (m mask) load(src Mem, x reg.VecVirtual) {
	if m.s.wide {
		VMOVUPS_Z(src, m.k, x)
	} else {
		VMASKMOVPS(src, m.y, x)
	}
}

func (m mask) store(x reg.VecVirtual, dst Mem) {
	if m.s.wide {
		VMOVUPS(x, m.k, dst)
	} else {
		VMASKMOVPS(x, m.y, dst)
	}
}

// elements writes a loop over the elements of dst: f gets the operand of each
// source and returns the register to store.
func (s *isa) elements(dst reg.Register, src []reg.Register, n reg.GPVirtual, f func(x []reg.VecVirtual) reg.VecVirtual) {
	blocks := GP64()
	MOVQ(n, blocks)
	SHRQ(U8(s.shift()), blocks)
	JZ(LabelRef("tail"))
	Label("block")
	x := make([]reg.VecVirtual, len(src))
	for i := range x {
		x[i] = s.reg()
		VMOVUPS(at(src[i], 0), x[i])
	}
	VMOVUPS(f(x), at(dst, 0))
	for _, p := range src {
		ADDQ(U8(s.bytes()), p)
	}
	ADDQ(U8(s.bytes()), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	Label("tail")
	ANDQ(U8(s.vec-1), n)
	JZ(LabelRef("done"))
	m := s.maskOf(n)
	for i := range x {
		x[i] = s.reg()
		m.load(at(src[i], 0), x[i])
	}
	m.store(f(x), at(dst, 0))
	Label("done")
	ret()
}

// shift is the binary logarithm of the lanes of a register.
func (s *isa) shift() int {
	if s.wide {
		return 4
	}
	return 3
}

func length(name string) reg.GPVirtual {
	n := GP64()
	Load(Param(name).Len(), n)
	return n
}

func (s *isa) add() {
	s.function("add", "(dst []float32, a []float32, b []float32)")
	dst, a, b := slice("dst"), slice("a"), slice("b")
	s.elements(dst, []reg.Register{a, b}, length("dst"), func(x []reg.VecVirtual) reg.VecVirtual {
		VADDPS(x[1], x[0], x[0])
		return x[0]
	})
}

func (s *isa) scale() {
	s.function("scale", "(dst []float32, x []float32, a float32)")
	dst, x := slice("dst"), slice("x")
	f := s.reg()
	a, _ := Param("a").Resolve()
	VBROADCASTSS(a.Addr, f)
	s.elements(dst, []reg.Register{x}, length("dst"), func(x []reg.VecVirtual) reg.VecVirtual {
		VMULPS(f, x[0], x[0])
		return x[0]
	})
}

// blend rounds both products, as blendGeneric does.
func (s *isa) blend() {
	s.function("blend", "(dst []float32, a []float32, b []float32, wa float32, wb float32)")
	dst, a, b := slice("dst"), slice("a"), slice("b")
	fa, fb := s.reg(), s.reg()
	wa, _ := Param("wa").Resolve()
	wb, _ := Param("wb").Resolve()
	VBROADCASTSS(wa.Addr, fa)
	VBROADCASTSS(wb.Addr, fb)
	s.elements(dst, []reg.Register{a, b}, length("dst"), func(x []reg.VecVirtual) reg.VecVirtual {
		VMULPS(fa, x[0], x[0])
		VMULPS(fb, x[1], x[1])
		VADDPS(x[1], x[0], x[0])
		return x[0]
	})
}

// above compares 64 elements for each word.
func (s *isa) above() {
	s.function("above", "(dst []uint64, x []float32, limit float32)")
	dst, x := slice("dst"), slice("x")
	n := length("dst")
	limit := s.reg()
	l, _ := Param("limit").Resolve()
	VBROADCASTSS(l.Addr, limit)
	const greater = 0x1e // false for NaN, no exception
	TESTQ(n, n)
	JZ(LabelRef("done"))
	Label("word")
	word := GP64()
	for i := 64/s.vec - 1; i >= 0; i-- {
		bits := GP32()
		t := s.reg()
		VMOVUPS(at(x, i*s.bytes()), t)
		if s.wide {
			k := K()
			VCMPPS(U8(greater), limit, t, k)
			KMOVW(k, bits)
		} else {
			VCMPPS(U8(greater), limit, t, t)
			VMOVMSKPS(t, bits)
		}
		if i == 64/s.vec-1 {
			MOVQ(bits.As64(), word)
			continue
		}
		SHLQ(U8(s.vec), word)
		ORQ(bits.As64(), word)
	}
	MOVQ(word, at(dst, 0))
	ADDQ(U8(8), dst)
	ADDQ(I32(64*4), x)
	DECQ(n)
	JNZ(LabelRef("word"))
	Label("done")
	ret()
}

func (s *isa) relu() {
	s.function("relu", "(dst []float32, x []float32)")
	dst, x := slice("dst"), slice("x")
	zero := s.reg()
	s.zero(zero)
	s.elements(dst, []reg.Register{x}, length("dst"), func(x []reg.VecVirtual) reg.VecVirtual {
		VMAXPS(x[0], zero, x[0]) // NaN and -0 stay
		return x[0]
	})
}

func (s *isa) exp2() {
	s.function("exp2", "(dst []float32, x []float32)")
	dst, x := slice("dst"), slice("x")
	k := s.exp2Consts(len(exp2C))
	hi := s.broadcast("exp2Hi", exp2Hi)
	s.elements(dst, []reg.Register{x}, length("dst"), func(x []reg.VecVirtual) reg.VecVirtual {
		VMINPS(x[0], hi, x[0])
		s.exp2Of(k, x)
		return x[0]
	})
}

// geluConsts are the operands that GELU needs.
type geluConsts struct {
	exp2      exp2Consts
	one       reg.VecVirtual
	max, p, e Op
	c         []Op
}

func (s *isa) geluConsts() geluConsts {
	k := geluConsts{exp2: s.exp2Consts(1)}
	k.one = k.exp2.c[0].(reg.VecVirtual)
	k.max, k.p, k.e = s.lasting("geluMax", geluMax), s.lasting("geluP", geluP), s.lasting("geluE", -log2e/2)
	for i, c := range geluC {
		k.c = append(k.c, s.lasting("geluC"+string(rune('1'+i)), c))
	}
	return k
}

// gelu takes two registers at a time with AVX2: each step of one needs the step
// before, and the processor cannot look far enough ahead for another's. AVX-512
// has no registers left for that.
func (s *isa) gelu() {
	s.function("gelu", "(dst []float32, x []float32)")
	dst, x, n := slice("dst"), slice("x"), length("dst")
	k := s.geluConsts()
	if !s.wide {
		pairs := GP64()
		MOVQ(n, pairs)
		SHRQ(U8(s.shift()+1), pairs)
		JZ(LabelRef("rest"))
		Label("pair")
		y := s.load(x, 2)
		s.geluOf(k, y, []Op{at(x, 0), at(x, s.bytes())})
		s.store(y, dst)
		ADDQ(U8(2*s.bytes()), x)
		ADDQ(U8(2*s.bytes()), dst)
		DECQ(pairs)
		JNZ(LabelRef("pair"))
		Label("rest")
		ANDQ(U8(2*s.vec-1), n)
	}
	s.elements(dst, []reg.Register{x}, n, func(x []reg.VecVirtual) reg.VecVirtual {
		again := s.reg()
		VMOVAPS(x[0], again)
		s.geluOf(k, x, []Op{again})
		return x[0]
	})
}

// geluOf replaces each x by its GELU. again are the same values once more.
func (s *isa) geluOf(k geluConsts, x []reg.VecVirtual, again []Op) {
	t, p := make([]reg.VecVirtual, len(x)), make([]polynomial, len(x))
	zero := s.reg()
	s.zero(zero)
	for j := range x {
		t[j], p[j] = s.reg(), polynomial{c: k.c, x: s.reg(), sum: s.reg()}
		// t = min(|x|, geluMax)
		VSUBPS(x[j], zero, t[j])
		VMAXPS(x[j], t[j], t[j])
		VMINPS(k.max, t[j], t[j])
		s.geluRatio(k, t[j], p[j].x)
	}
	for j := range x {
		VMULPS(t[j], t[j], x[j])
		VMULPS(k.e, x[j], x[j])
	}
	n, e := s.exp2Parts(k.exp2, x)
	horner(append(e, p...))
	s.exp2Join(x, n, e)
	zero = s.reg()
	s.zero(zero)
	for j := range x {
		VMULPS(p[j].x, p[j].sum, p[j].sum)
		VMULPS(x[j], t[j], t[j])
		VMAXPS(again[j], zero, x[j]) // NaN stays
		VFNMADD231PS(t[j], p[j].sum, x[j])
	}
}

// geluRatio sets u to 1 / (1 + P t).
func (s *isa) geluRatio(k geluConsts, t, u reg.VecVirtual) {
	VMOVAPS(t, u)
	VFMADD132PS(k.p, k.one, u)
	VDIVPS(u, k.one, u)
}
