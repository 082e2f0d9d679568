package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The points of kernel/winograd.go.
const (
	winogradA = 0.625
	winogradB = 1.5
)

func (s *isa) winograd() {
	s.rowStrip()
	s.winogradIn()
	s.winogradOut()
}

// rowStrip is strip for rows that are not packed.
func (s *isa) rowStrip() {
	const v = 2
	s.function("rowStrip", "(n int, k int, a []float32, lda int, b []float32, c []float32, ldc int, d []float32, ldd int)")
	n, b := integer("n"), slice("b")
	lda, ldc, ldd := stride("lda"), stride("ldc"), stride("ldd")
	c, d := slice("c"), slice("d")
	Label("panel")
	// Row i is the (i%3)-th from base i/3.
	bases := []reg.Register{slice("a")}
	for i := 3; i < s.rows; i += 3 {
		p := GP64()
		LEAQ(Mem{Base: bases[len(bases)-1], Index: lda, Scale: 2}, p)
		ADDQ(lda, p)
		bases = append(bases, p)
	}
	rows := make([]Mem, s.rows)
	for i := range rows {
		rows[i] = Mem{Base: bases[i/3]}
		if i%3 > 0 {
			rows[i].Index, rows[i].Scale = lda, uint8(i%3)
		}
	}
	sums := s.sums(s.rows, v)
	k, pairs := integer("k"), GP64()
	MOVQ(k, pairs)
	SHRQ(U8(1), pairs)
	JZ(LabelRef("rest"))
	Label("block")
	for p := range 2 {
		for l := 0; l < v*s.bytes(); l += 64 {
			PREFETCHT0(at(b, prefetch+p*v*s.bytes()+l))
		}
		s.rank1(sums, b, p, func(i int) Mem { return rows[i].Offset(4 * p) })
	}
	for _, p := range bases {
		ADDQ(U8(8), p)
	}
	ADDQ(I32(2*v*s.bytes()), b)
	DECQ(pairs)
	JNZ(LabelRef("block"))
	Label("rest")
	ANDQ(U8(1), k)
	JZ(LabelRef("store"))
	s.rank1(sums, b, 0, func(i int) Mem { return rows[i] })
	ADDQ(I32(v*s.bytes()), b)
	Label("store")
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

// sixPoints are what the points' polynomials are made of.
type sixPoints struct{ a, b, a2, b2, whole, sum reg.VecVirtual }

func (s *isa) sixPoints() sixPoints {
	const a2, b2 = winogradA * winogradA, winogradB * winogradB
	return sixPoints{
		a: s.broadcast("point_a", winogradA), a2: s.broadcast("minus_a2", -a2),
		b: s.broadcast("point_b", winogradB), b2: s.broadcast("minus_b2", -b2),
		whole: s.broadcast("a2b2", a2*b2), sum: s.broadcast("minus_a2_b2", -a2-b2),
	}
}

// six is a transform of six values to six, by the points' polynomials: load
// brings value i to a register, store takes what becomes of it.
func (s *isa) six(c sixPoints, load func(i int) reg.VecVirtual, store func(x reg.VecVirtual, i int)) {
	d4, d2, d0 := load(4), load(2), load(0)
	x := s.reg()
	VMOVAPS(d4, x)
	VFMADD231PS(c.sum, d2, x)
	VFMADD231PS(c.whole, d0, x)
	store(x, 0)
	d3, d1, d5 := load(3), load(1), load(5)
	VFMADD231PS(c.sum, d3, d5)
	VFMADD231PS(c.whole, d1, d5)
	store(d5, 5)
	// pair is what the points p and -p give, even and odd terms apart.
	pair := func(p, other, even, odd reg.VecVirtual, i int) {
		VFMADD231PS(other, d2, even)
		VFMADD231PS(other, d1, odd)
		y := s.reg()
		VMOVAPS(even, y)
		VFMADD231PS(p, odd, y)
		store(y, i)
		VFNMADD231PS(p, odd, even)
		store(even, i+1)
	}
	even, odd := s.reg(), s.reg()
	VMOVAPS(d4, even)
	VMOVAPS(d3, odd)
	pair(c.a, c.b2, even, odd, 1)
	pair(c.b, c.a2, d4, d3, 3)
}

// winogradIn transforms 6 x 6 pixels, columns first; tmp holds them in between.
func (s *isa) winogradIn() {
	s.function("winogradIn", "(dst []float32, tap int, src []float32, row int, px int, scale []float32, shift []float32, tmp []float32, n int)")
	dst, src, scale, shift, tmp := slice("dst"), slice("src"), slice("scale"), slice("shift"), slice("tmp")
	tap, row, px, n := stride("tap"), stride("row"), stride("px"), integer("n")
	SHRQ(U8(s.shift()), n)
	c := s.sixPoints()
	Label("block")
	by, plus := s.reg(), s.reg()
	VBROADCASTSS(constant("one", 1), by)
	s.zero(plus)
	TESTQ(scale, scale)
	JZ(LabelRef("raw"))
	VMOVUPS(at(scale, 0), by)
	VMOVUPS(at(shift, 0), plus)
	ADDQ(U8(s.bytes()), scale)
	ADDQ(U8(s.bytes()), shift)
	Label("raw")
	p, p3 := GP64(), GP64()
	MOVQ(src, p)
	LEAQ(Mem{Base: p, Index: row, Scale: 2}, p3)
	ADDQ(row, p3)
	for x := range 6 {
		s.six(c, func(i int) reg.VecVirtual {
			v := s.reg()
			VMOVUPS(walk(p, p3, row, i), v)
			VFMADD213PS(plus, by, v)
			return v
		}, func(v reg.VecVirtual, i int) { VMOVUPS(v, at(tmp, (6*i+x)*s.bytes())) })
		if x < 5 {
			ADDQ(px, p)
			ADDQ(px, p3)
		}
	}
	s.rowsOut(c, tmp, dst, tap)
	ADDQ(U8(s.bytes()), src)
	ADDQ(U8(s.bytes()), dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	ret()
}

// rowsOut transforms the rows of tmp and stores them as taps.
func (s *isa) rowsOut(c sixPoints, tmp, dst, tap reg.Register) {
	q, q3 := GP64(), GP64()
	MOVQ(dst, q)
	LEAQ(Mem{Base: q, Index: tap, Scale: 2}, q3)
	ADDQ(tap, q3)
	for y := range 6 {
		s.six(c, func(i int) reg.VecVirtual {
			v := s.reg()
			VMOVUPS(at(tmp, (6*y+i)*s.bytes()), v)
			return v
		}, func(v reg.VecVirtual, i int) { VMOVUPS(v, walk(q, q3, tap, i)) })
		if y < 5 {
			LEAQ(Mem{Base: q3, Index: tap, Scale: 2}, q)
			ADDQ(tap, q)
			LEAQ(Mem{Base: q, Index: tap, Scale: 2}, q3)
			ADDQ(tap, q3)
		}
	}
}

// walk is the i-th of six places that lie step apart from p; p3 is the fourth.
func walk(p, p3, step reg.Register, i int) Mem {
	m := Mem{Base: p}
	if i > 2 {
		m.Base = p3
	}
	if i%3 > 0 {
		m.Index, m.Scale = step, uint8(i%3)
	}
	return m
}

// fourPoints are powers of the points.
type fourPoints struct{ a, a2, a3, b, b2, b3 reg.VecVirtual }

func (s *isa) fourPoints() fourPoints {
	const a, b = winogradA, winogradB
	return fourPoints{
		s.broadcast("point_a", a), s.broadcast("a2", a*a), s.broadcast("a3", a*a*a),
		s.broadcast("point_b", b), s.broadcast("b2", b*b), s.broadcast("b3", b*b*b),
	}
}

// four is the transform of six sums to four values.
func (s *isa) four(c fourPoints, load func(i int) reg.VecVirtual, store func(x reg.VecVirtual, i int)) {
	m1, m2 := load(1), load(2)
	s1 := s.reg()
	VADDPS(m2, m1, s1)
	VSUBPS(m2, m1, m1) // the difference
	m3, m4 := load(3), load(4)
	s2 := s.reg()
	VADDPS(m4, m3, s2)
	VSUBPS(m4, m3, m3)
	y := load(0)
	VADDPS(s1, y, y)
	VADDPS(s2, y, y)
	store(y, 0)
	VMULPS(c.a2, s1, s1)
	VFMADD231PS(c.b2, s2, s1)
	store(s1, 2)
	y1 := s.reg()
	VMULPS(c.a, m1, y1)
	VFMADD231PS(c.b, m3, y1)
	store(y1, 1)
	y3 := load(5)
	VFMADD231PS(c.a3, m1, y3)
	VFMADD231PS(c.b3, m3, y3)
	store(y3, 3)
}

// winogradOut makes 4 x 4 pixels of the sums, columns first.
func (s *isa) winogradOut() {
	s.function("winogradOut", "(dst []float32, row int, px int, src []float32, tap int, bias []float32, floor float32, tmp []float32, n int)")
	dst, src, bias, tmp := slice("dst"), slice("src"), slice("bias"), slice("tmp")
	row, px, tap, n := stride("row"), stride("px"), stride("tap"), integer("n")
	SHRQ(U8(s.shift()), n)
	c := s.fourPoints()
	least := s.reg()
	at0, err := Param("floor").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(at0.Addr, least)
	six := GP64()
	LEAQ(Mem{Base: tap, Index: tap, Scale: 2}, six)
	ADDQ(six, six)
	Label("block")
	p, p3 := GP64(), GP64()
	MOVQ(src, p)
	LEAQ(Mem{Base: p, Index: six, Scale: 2}, p3)
	ADDQ(six, p3)
	for x := range 6 {
		s.four(c, func(i int) reg.VecVirtual {
			v := s.reg()
			VMOVUPS(walk(p, p3, six, i), v)
			return v
		}, func(v reg.VecVirtual, i int) { VMOVUPS(v, at(tmp, (6*i+x)*s.bytes())) })
		if x < 5 {
			ADDQ(tap, p)
			ADDQ(tap, p3)
		}
	}
	plus := s.reg()
	VMOVUPS(at(bias, 0), plus)
	q, q3 := GP64(), GP64()
	MOVQ(dst, q)
	LEAQ(Mem{Base: q, Index: px, Scale: 2}, q3)
	ADDQ(px, q3)
	// The next tile's pixels, of which each is on another line, are fetched ahead.
	ahead, ahead3 := GP64(), GP64()
	LEAQ(Mem{Base: q, Index: px, Scale: 4}, ahead)
	LEAQ(Mem{Base: q3, Index: px, Scale: 4}, ahead3)
	for y := range 4 {
		s.four(c, func(i int) reg.VecVirtual {
			v := s.reg()
			VMOVUPS(at(tmp, (6*y+i)*s.bytes()), v)
			return v
		}, func(v reg.VecVirtual, i int) {
			VADDPS(plus, v, v)
			VMAXPS(v, least, v) // a NaN stays
			VMOVUPS(v, walk(q, q3, px, i))
			PREFETCHT0(walk(ahead, ahead3, px, i))
		})
		if y < 3 {
			ADDQ(row, ahead)
			ADDQ(row, ahead3)
			ADDQ(row, q)
			ADDQ(row, q3)
		}
	}
	ADDQ(U8(s.bytes()), src)
	ADDQ(U8(s.bytes()), dst)
	ADDQ(U8(s.bytes()), bias)
	DECQ(n)
	JNZ(LabelRef("block"))
	ret()
}
