package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func (s *isa) gradients() {
	s.mul()
	s.geluGrad()
	s.normGradX()
	s.normGradParams()
}

func (s *isa) mul() {
	s.function("mul", "(dst []float32, a []float32, b []float32)")
	dst, a, b := slice("dst"), slice("a"), slice("b")
	s.elements(dst, []reg.Register{a, b}, length("dst"), func(x []reg.VecVirtual) reg.VecVirtual {
		VMULPS(x[1], x[0], x[0])
		return x[0]
	})
}

// geluGrad takes Phi(x) as 1/2 with the sign of x on what is left of 1/2.
func (s *isa) geluGrad() {
	s.function("geluGrad", "(dst []float32, dy []float32, x []float32)")
	dst, dy, x := slice("dst"), slice("dy"), slice("x")
	k := s.geluConsts()
	s.elements(dst, []reg.Register{dy, x}, length("dst"), func(x []reg.VecVirtual) reg.VecVirtual {
		// v = x between -geluMax and geluMax: NaN stays.
		v := x[1]
		VMINPS(v, s.broadcast("geluMax", geluMax), v)
		VMAXPS(v, s.broadcast("geluMin", -geluMax), v)
		t, u, p := s.reg(), s.reg(), s.reg()
		s.zero(t)
		VSUBPS(v, t, t)
		VMAXPS(v, t, t)
		s.geluRatio(k, t, u)
		VMULPS(t, t, t)
		VMULPS(k.e, t, t)
		s.exp2Of(k.exp2, []reg.VecVirtual{t})
		horner([]polynomial{{k.c, u, p}})
		VMULPS(u, p, p)
		// p = Phi(x)
		half := s.broadcast("half", 0.5)
		VFNMADD213PS(half, t, p)
		sign := s.reg()
		VBROADCASTSS(constant("signBit", float32(math.Copysign(0, -1))), sign)
		VANDPS(sign, v, sign)
		VXORPS(sign, p, p)
		VADDPS(half, p, p)
		// plus x phi(x)
		VMULPS(s.broadcast("root", 0.39894228040143267794), t, t)
		VFMADD231PS(v, t, p)
		VMULPS(p, x[0], x[0])
		return x[0]
	})
}

// rows are the rows of a layer normalisation's gradient.
type rows struct {
	*isa
	x, dy        reg.Register
	blocks, some reg.Register   // registers of a row, and the lanes of a last one
	step         reg.Register   // bytes of a row
	count        reg.VecVirtual // its elements, as a float
	m            mask
	mean, inv    reg.VecVirtual
}

// rowsOf prepares for rows of c elements of x and dy.
func (s *isa) rowsOf() *rows {
	r := &rows{isa: s, x: slice("x"), dy: slice("dy")}
	c := GP64()
	Load(Param("c"), c)
	count := XMM()
	VXORPS(count, count, count)
	VCVTSI2SSQ(c, count, count)
	blocks, rest, some := GP64(), GP64(), GP64()
	MOVQ(c, blocks)
	SHRQ(U8(s.shift()), blocks)
	MOVQ(c, rest)
	ANDQ(U8(s.vec-1), rest)
	MOVQ(rest, some)
	r.m = s.maskOf(rest) // of no lanes if there is no rest
	SHLQ(U8(2), c)
	r.blocks, r.some, r.step, r.count = blocks, some, c, count
	return r
}

// lane is one register's elements of a row. Those that the row does not have
// are loaded as 0 and not stored.
type lane struct {
	*rows
	off  reg.Register
	part bool
}

func (l lane) in(base reg.Register) Mem { return Mem{Base: base, Index: l.off, Scale: 1} }

func (l lane) load(base reg.Register) reg.VecVirtual {
	t := l.reg()
	if l.part {
		l.m.load(l.in(base), t)
	} else {
		VMOVUPS(l.in(base), t)
	}
	return t
}

func (l lane) store(x reg.VecVirtual, base reg.Register) {
	if l.part {
		l.m.store(x, l.in(base))
	} else {
		VMOVUPS(x, l.in(base))
	}
}

// clear sets elements that the row does not have to 0.
func (l lane) clear(x reg.VecVirtual) {
	switch {
	case !l.part:
	case l.wide:
		VMOVAPS_Z(x, l.m.k, x)
	default:
		VANDPS(l.m.y, x, x)
	}
}

// pass writes a loop over a row's registers.
func (r *rows) pass(name string, body func(l lane)) {
	off, n := GP64(), GP64()
	XORQ(off, off)
	MOVQ(r.blocks, n)
	TESTQ(n, n)
	JZ(LabelRef(name + "tail"))
	Label(name)
	body(lane{r, off, false})
	ADDQ(U8(r.bytes()), off)
	DECQ(n)
	JNZ(LabelRef(name))
	Label(name + "tail")
	TESTQ(r.some, r.some)
	JZ(LabelRef(name + "done"))
	body(lane{r, off, true})
	Label(name + "done")
}

// average returns the mean over a row of x's lanes, in all lanes. It
// overwrites x.
func (r *rows) average(x reg.VecVirtual) reg.VecVirtual {
	sum, v := r.lanesSum(x), r.reg()
	VDIVSS(r.count, sum, sum)
	VBROADCASTSS(sum, v)
	return v
}

// measure works out the row's mean and inverse deviation.
func (r *rows) measure() {
	sum, sq := r.reg(), r.reg()
	r.zero(sum)
	r.zero(sq)
	r.pass("sum", func(l lane) { VADDPS(l.load(r.x), sum, sum) })
	mean := r.average(sum)
	r.pass("square", func(l lane) {
		t := l.load(r.x)
		VSUBPS(mean, t, t)
		l.clear(t)
		VFMADD231PS(t, t, sq)
	})
	v := r.lanesSum(sq)
	VDIVSS(r.count, v, v)
	eps, _ := Param("eps").Resolve()
	VADDSS(eps.Addr, v, v)
	VSQRTSS(v, v, v)
	one := XMM()
	VMOVSS(constant("one", 1), one)
	VDIVSS(v, one, v)
	r.mean, r.inv = mean, r.reg()
	VBROADCASTSS(v, r.inv)
}

// normGradX takes each row four times: for its mean, its deviation, the means
// of the slopes and of their products with the normalised values, and for the
// result.
func (s *isa) normGradX() {
	s.function("normGradX", "(dx []float32, dy []float32, x []float32, gamma []float32, rows int, c int, eps float32)")
	r := s.rowsOf()
	dx, gamma, left := slice("dx"), slice("gamma"), integer("rows")
	Label("row")
	r.measure()
	slope, product := s.reg(), s.reg()
	s.zero(slope)
	s.zero(product)
	r.pass("product", func(l lane) {
		t, x := l.load(gamma), l.load(r.x)
		VMULPS(l.load(r.dy), t, t)
		VADDPS(t, slope, slope)
		VSUBPS(r.mean, x, x)
		VFMADD231PS(t, x, product)
	})
	a, b := r.average(slope), r.average(product)
	VMULPS(r.inv, b, b)
	VMULPS(r.inv, b, b)
	r.pass("result", func(l lane) {
		t, x := l.load(gamma), l.load(r.x)
		VFMSUB132PS(l.load(r.dy), a, t)
		VSUBPS(r.mean, x, x)
		VFNMADD231PS(x, b, t)
		VMULPS(r.inv, t, t)
		l.store(t, dx)
	})
	ADDQ(r.step, r.x)
	ADDQ(r.step, r.dy)
	ADDQ(r.step, dx)
	DECQ(left)
	JNZ(LabelRef("row"))
	ret()
}

// normGradParams takes each row three times: for its mean, its deviation, and
// for the sums.
func (s *isa) normGradParams() {
	s.function("normGradParams", "(dgamma []float32, dbeta []float32, dy []float32, x []float32, rows int, c int, eps float32)")
	r := s.rowsOf()
	dgamma, dbeta, left := slice("dgamma"), slice("dbeta"), integer("rows")
	Label("row")
	r.measure()
	r.pass("add", func(l lane) {
		t, g, b := l.load(r.x), l.load(dgamma), l.load(dbeta)
		d := l.load(r.dy)
		VSUBPS(r.mean, t, t)
		VMULPS(r.inv, t, t)
		VFMADD231PS(d, t, g)
		l.store(g, dgamma)
		VADDPS(d, b, b)
		l.store(b, dbeta)
	})
	ADDQ(r.step, r.x)
	ADDQ(r.step, r.dy)
	DECQ(left)
	JNZ(LabelRef("row"))
	ret()
}
