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
	k := s.exp2Consts()
	hi := s.broadcast("exp2Hi", exp2Hi)
	s.elements(dst, []reg.Register{x}, length("dst"), func(x []reg.VecVirtual) reg.VecVirtual {
		VMINPS(x[0], hi, x[0])
		s.exp2Of(k, x)
		return x[0]
	})
}

// gelu needs more constants than AVX2 has registers; those of its own
// polynomial are read from memory there.
func (s *isa) gelu() {
	s.function("gelu", "(dst []float32, x []float32)")
	dst, x := slice("dst"), slice("x")
	k := s.exp2Consts()
	s.elements(dst, []reg.Register{x}, length("dst"), func(x []reg.VecVirtual) reg.VecVirtual {
		t, u, p, top := s.reg(), s.reg(), s.reg(), s.reg()
		// top = max(x, 0): NaN stays.
		s.zero(top)
		VMAXPS(x[0], top, top)
		// t = min(|x|, geluMax)
		s.zero(t)
		VSUBPS(x[0], t, t)
		VMAXPS(x[0], t, t)
		VMINPS(s.broadcast("geluMax", geluMax), t, t)
		// u = 1 / (1 + P t)
		VMOVAPS(t, u)
		VFMADD213PS(k.c[0], s.broadcast("geluP", geluP), u)
		VDIVPS(u, k.c[0], u)
		VMULPS(t, t, x[0])
		VMULPS(s.broadcast("geluE", -log2e/2), x[0], x[0])
		s.exp2Of(k, x)
		s.geluPoly(u, p)
		VMULPS(x[0], t, t)
		VFNMADD231PS(t, p, top)
		return top
	})
}

// geluPoly sets p to the polynomial in u.
func (s *isa) geluPoly(u, p reg.VecVirtual) {
	last := len(geluC) - 1
	VBROADCASTSS(constant("geluC"+string(rune('1'+last)), geluC[last]), p)
	for i := last - 1; i >= 0; i-- {
		VFMADD213PS(s.broadcast("geluC"+string(rune('1'+i)), geluC[i]), u, p)
	}
	VMULPS(u, p, p)
}
