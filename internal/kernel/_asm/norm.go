package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// layerNorm takes each row three times: for a first mean; for the deviations
// from it, their sum (which corrects the mean) and their squares; and for the
// result.
func (s *isa) layerNorm() {
	s.function("layerNorm", "(dst []float32, x []float32, gamma []float32, beta []float32, rows int, c int, eps float32)")
	dst, x, gamma, beta := slice("dst"), slice("x"), slice("gamma"), slice("beta")
	rows := integer("rows")
	c := GP64()
	Load(Param("c"), c)
	count := XMM()
	VXORPS(count, count, count)
	VCVTSI2SSQ(c, count, count)
	blocks, rest := GP64(), GP64()
	MOVQ(c, blocks)
	SHRQ(U8(s.shift()), blocks)
	MOVQ(c, rest)
	ANDQ(U8(s.vec-1), rest)
	some := GP64()
	MOVQ(rest, some)
	m := s.maskOf(rest) // of no lanes if there is no rest
	SHLQ(U8(2), c)

	// pass writes a loop over the row's registers.
	pass := func(name string, whole func(off reg.Register), part func(off reg.Register)) {
		off, n := GP64(), GP64()
		XORQ(off, off)
		MOVQ(blocks, n)
		TESTQ(n, n)
		JZ(LabelRef(name + "tail"))
		Label(name)
		whole(off)
		ADDQ(U8(s.bytes()), off)
		DECQ(n)
		JNZ(LabelRef(name))
		Label(name + "tail")
		TESTQ(some, some)
		JZ(LabelRef(name + "done"))
		part(off)
		Label(name + "done")
	}
	in := func(base, off reg.Register) Mem { return Mem{Base: base, Index: off, Scale: 1} }

	Label("row")
	sum := s.reg()
	s.zero(sum)
	pass("sum", func(off reg.Register) {
		VADDPS(in(x, off), sum, sum)
	}, func(off reg.Register) {
		t := s.reg()
		m.load(in(x, off), t)
		VADDPS(t, sum, sum)
	})
	mean := s.reg()
	scalar := s.lanesSum(sum)
	VDIVSS(count, scalar, scalar)
	VBROADCASTSS(scalar, mean)

	dev, sq := s.reg(), s.reg()
	s.zero(dev)
	s.zero(sq)
	pass("deviation", func(off reg.Register) {
		t := s.reg()
		VMOVUPS(in(x, off), t)
		VSUBPS(mean, t, t)
		VADDPS(t, dev, dev)
		VFMADD231PS(t, t, sq)
	}, func(off reg.Register) {
		t, u := s.reg(), s.reg()
		m.load(in(x, off), t)
		VSUBPS(mean, t, t)
		if s.wide {
			VMOVAPS_Z(t, m.k, u)
		} else {
			VANDPS(m.y, t, u)
		}
		VADDPS(u, dev, dev)
		VFMADD231PS(u, u, sq)
	})
	d := s.lanesSum(dev)
	VDIVSS(count, d, d)
	v := s.lanesSum(sq)
	VDIVSS(count, v, v)
	VFNMADD231SS(d, d, v)
	eps, _ := Param("eps").Resolve()
	VADDSS(eps.Addr, v, v)
	VSQRTSS(v, v, v)
	one := XMM()
	VMOVSS(constant("one", 1), one)
	VDIVSS(v, one, v)
	shift, inv := s.reg(), s.reg()
	VBROADCASTSS(d, shift)
	VBROADCASTSS(v, inv)

	normal := func(t reg.VecVirtual) {
		VSUBPS(mean, t, t)
		VSUBPS(shift, t, t)
		VMULPS(inv, t, t)
	}
	pass("normal", func(off reg.Register) {
		t, b := s.reg(), s.reg()
		VMOVUPS(in(x, off), t)
		normal(t)
		VMOVUPS(in(beta, off), b)
		VFMADD132PS(in(gamma, off), b, t)
		VMOVUPS(t, in(dst, off))
	}, func(off reg.Register) {
		t, g, b := s.reg(), s.reg(), s.reg()
		m.load(in(x, off), t)
		normal(t)
		m.load(in(gamma, off), g)
		m.load(in(beta, off), b)
		VFMADD132PS(g, b, t)
		m.store(t, in(dst, off))
	})
	ADDQ(c, x)
	ADDQ(c, dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	ret()
}

// lanesSum returns the sum of the lanes of x, which it overwrites.
func (s *isa) lanesSum(x reg.VecVirtual) reg.VecVirtual {
	if s.wide {
		h := YMM()
		VEXTRACTF64X4(U8(1), x, h)
		VADDPS(h, x.AsY(), x.AsY())
	}
	h := XMM()
	VEXTRACTF128(U8(1), x.AsY(), h)
	sum := XMM()
	VADDPS(h, x.AsX(), sum)
	VMOVHLPS(sum, sum, h)
	VADDPS(h, sum, sum)
	VMOVSHDUP(sum, h)
	VADDSS(h, sum, sum)
	return sum
}

// fma is a loop of independent multiply-adds, enough to hide their latency.
func (s *isa) fma() {
	TEXT("fma"+s.name, NOSPLIT, "func(n int)")
	Doc("fma" + s.name + " runs n rounds of 24 independent multiply-adds.")
	Pragma("noescape")
	n := integer("n")
	x, y := s.broadcast("fmaX", 0.999), s.broadcast("fmaY", 0.001)
	sums := make([]reg.VecVirtual, 12)
	for i := range sums {
		sums[i] = s.reg()
		VMOVAPS(x, sums[i])
	}
	Label("round")
	for i := range 24 {
		VFMADD213PS(y, x, sums[i%12])
	}
	DECQ(n)
	JNZ(LabelRef("round"))
	ret()
}
