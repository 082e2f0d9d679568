package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// wavelet writes the kernels of package jpeg2000. Each operation is rounded by
// itself, as in Go; lengths are multiples of eight.
func (s *isa) wavelet() {
	s.lift("low53", "[]int32", func(src Op, sum reg.VecVirtual, two Op) {
		VPADDD(two, sum, sum)
		VPSRAD(U8(2), sum, sum)
		x := YMM()
		VMOVDQU(src, x)
		VPSUBD(sum, x, sum)
	})
	s.lift("high53", "[]int32", func(src Op, sum reg.VecVirtual, _ Op) {
		VPSRAD(U8(1), sum, sum)
		VPADDD(src, sum, sum)
	})
	s.lift("lift97", "[]float32", func(src Op, sum reg.VecVirtual, c Op) {
		VMULPS(c, sum, sum)
		VADDPS(src, sum, sum)
	})
	s.interleave()
	s.whole()
	s.real()
	s.rgba("rgbaICT", "y, cb, cr []float32", func(v [3]reg.VecVirtual) {
		y, cb, cr := v[0], v[1], v[2]
		r, g, t := YMM(), YMM(), YMM()
		VMULPS(s.spread("crToR", 1.402), cr, r)
		VADDPS(y, r, r)
		VMULPS(s.spread("cbToG", -0.344136286201022), cb, g)
		VADDPS(y, g, g)
		VMULPS(s.spread("crToG", -0.714136286201022), cr, t)
		VADDPS(t, g, g)
		VMULPS(s.spread("cbToB", 1.772), cb, t)
		VADDPS(y, t, t)
		VCVTPS2DQ(r, v[0])
		VCVTPS2DQ(g, v[1])
		VCVTPS2DQ(t, v[2])
	})
	s.rgba("rgbaRCT", "y, cb, cr []int32", func(v [3]reg.VecVirtual) {
		y, cb, cr := v[0], v[1], v[2]
		g := YMM()
		VPADDD(cr, cb, g)
		VPSRAD(U8(2), g, g)
		VPSUBD(g, y, g)
		VPADDD(g, cr, v[0])
		VPADDD(g, cb, v[2])
		VMOVDQA(g, v[1])
	})
	s.rgba("rgbaFloat", "r, g, b []float32", func(v [3]reg.VecVirtual) {
		for _, x := range v {
			VCVTPS2DQ(x, x)
		}
	})
	s.rgba("rgbaInt", "r, g, b []int32", func([3]reg.VecVirtual) {})
}

// begin begins a kernel over whole blocks.
func (s *isa) begin(what, args string) {
	name := what + "Blocks" + s.name
	TEXT(name, NOSPLIT, "func("+args+")")
	Doc(name + " works like " + what + "Generic; the length of dst is a multiple of 32 bytes.")
	Pragma("noescape")
}

// loop writes the body for each n bytes of dst and moves the pointers on: dst by
// n, the others by step.
func loop(count reg.Register, n uint8, dst reg.Register, step int, others []reg.Register, body func()) {
	SHRQ(U8(n), count)
	JZ(LabelRef("done"))
	Label("block")
	body()
	ADDQ(I32(1<<n), dst)
	for _, p := range others {
		ADDQ(I32(step), p)
	}
	DECQ(count)
	JNZ(LabelRef("block"))
	Label("done")
	ret()
}

// words is the length of dst in bytes, of words of four.
func words() reg.Register {
	n := Load(Param("dst").Len(), GP64())
	SHLQ(U8(2), n)
	return n
}

// lift writes dst = f(src, a+b).
func (s *isa) lift(what, typ string, f func(src Op, sum reg.VecVirtual, constant Op)) {
	args := "dst []int32, src []int32, a []int32, b []int32"
	if typ == "[]float32" {
		args = "dst []float32, src []float32, a []float32, b []float32, c float32"
	}
	s.begin(what, args)
	dst, src, a, b, n := slice("dst"), slice("src"), slice("a"), slice("b"), words()
	c := YMM()
	if typ == "[]float32" {
		m, err := Param("c").Resolve()
		if err != nil {
			panic(err)
		}
		VBROADCASTSS(m.Addr, c)
	} else {
		VPBROADCASTD(word(what+"Two", 2), c)
	}
	loop(n, 5, dst, 32, []reg.Register{src, a, b}, func() {
		sum := YMM()
		VMOVUPS(at(a, 0), sum)
		if typ == "[]float32" {
			VADDPS(at(b, 0), sum, sum)
		} else {
			VPADDD(at(b, 0), sum, sum)
		}
		f(at(src, 0), sum, c)
		VMOVUPS(sum, at(dst, 0))
	})
}

// interleave writes two rows as one.
func (s *isa) interleave() {
	s.begin("interleave", "dst []int32, a []int32, b []int32")
	dst, a, b, n := slice("dst"), slice("a"), slice("b"), words()
	loop(n, 6, dst, 32, []reg.Register{a, b}, func() {
		x, y, lo, hi := YMM(), YMM(), YMM(), YMM()
		VMOVDQU(at(a, 0), x)
		VMOVDQU(at(b, 0), y)
		VPUNPCKLDQ(y, x, lo)
		VPUNPCKHDQ(y, x, hi)
		VPERM2I128(U8(0x20), hi, lo, x)
		VPERM2I128(U8(0x31), hi, lo, y)
		VMOVDQU(x, at(dst, 0))
		VMOVDQU(y, at(dst, 32))
	})
}

// whole writes the integers of doubled magnitudes with a sign in the top bit.
func (s *isa) whole() {
	s.begin("whole", "dst []int32, mag []uint32")
	dst, mag, n := slice("dst"), slice("mag"), words()
	loop(n, 5, dst, 32, []reg.Register{mag}, func() {
		v, sign := YMM(), YMM()
		VMOVDQU(at(mag, 0), v)
		VPSRAD(U8(31), v, sign)
		VPSLLD(U8(1), v, v)
		VPSRLD(U8(2), v, v)
		VPXOR(sign, v, v)
		VPSUBD(sign, v, v)
		VMOVDQU(v, at(dst, 0))
	})
}

// real writes their multiples of a step.
func (s *isa) real() {
	s.begin("real", "dst []float32, mag []uint32, step float32")
	dst, mag, n := slice("dst"), slice("mag"), words()
	f, mask := YMM(), YMM()
	m, err := Param("step").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(m.Addr, f)
	VPBROADCASTD(word("magnitudes", 0x7fffffff), mask)
	loop(n, 5, dst, 32, []reg.Register{mag}, func() {
		v, x := YMM(), YMM()
		VMOVDQU(at(mag, 0), v)
		VPAND(mask, v, x)
		VPXOR(x, v, v)
		VCVTDQ2PS(x, x)
		VMULPS(f, x, x)
		VPOR(v, x, x)
		VMOVDQU(x, at(dst, 0))
	})
}

// rgba writes pixels from three rows, which f turns into integers around 0.
func (s *isa) rgba(what, args string, f func(v [3]reg.VecVirtual)) {
	s.begin(what, "dst []byte, "+args)
	names := [3]string{"y", "cb", "cr"}
	if args[0] == 'r' {
		names = [3]string{"r", "g", "b"}
	}
	dst, n := slice("dst"), Load(Param("dst").Len(), GP64())
	var src []reg.Register
	for _, name := range names {
		src = append(src, slice(name))
	}
	low, high, middle, alpha := YMM(), YMM(), YMM(), YMM()
	VPBROADCASTD(word(what+"Low", 0xffffff80), low)
	VPBROADCASTD(word(what+"High", 127), high)
	VPBROADCASTD(word(what+"Middle", 0x808080), middle)
	VPBROADCASTD(word(what+"Alpha", 0xff000000), alpha)
	loop(n, 5, dst, 32, src, func() {
		var v [3]reg.VecVirtual
		for i, p := range src {
			v[i] = YMM()
			VMOVUPS(at(p, 0), v[i])
		}
		f(v)
		// Clamped to eight bits with a sign, they are turned to those without by
		// the highest bit.
		for i, x := range v {
			VPMAXSD(low, x, x)
			VPMINSD(high, x, x)
			VPSLLD(U8(24), x, x)
			if i < 2 {
				VPSRLD(U8(24-8*i), x, x)
			} else {
				VPSRLD(U8(8), x, x)
			}
		}
		VPOR(v[1], v[0], v[0])
		VPOR(v[2], v[0], v[0])
		VPXOR(middle, v[0], v[0])
		VPOR(alpha, v[0], v[0])
		VMOVDQU(v[0], at(dst, 0))
	})
}

// spread is a constant in all lanes of memory.
func (s *isa) spread(name string, x float32) Mem {
	m := GLOBL(name+"Lanes", RODATA|NOPTR)
	for i := range s.vec {
		DATA(4*i, F32(x))
	}
	return m
}
