package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The constants of math_generic.go.
const (
	exp2Lo   = -125
	exp2Hi   = 127
	exp2Bias = 12582912
	geluMax  = 13
	geluP    = 0.2800000011920929
	log2e    = 1.44269504088896341
)

var exp2C = []float32{
	1, 0.6931471824645996, 0.24022647738456726, 0.055503323674201965,
	0.00961843691766262, 0.0013398875016719103, 0.00015353361959569156,
}

var geluC = []float32{
	0.11710906028747559, 0.06379105895757675, 0.27818337082862854,
	-0.24851928651332855, 0.3969908654689789, -0.10755511373281479,
}

func (s *isa) vectors() {
	s.prefetch()
	for r := 1; r <= 4; r++ {
		s.transpose(r)
	}
	if !s.wide {
		s.transpose8() // for AVX-512 too
	}
	s.biasMax()
	s.maxRows()
	s.expSum()
	s.mulRows()
	s.add()
	s.scale()
	s.blend()
	s.above()
	s.interpolate()
	s.relu()
	s.exp2()
	s.layerNorm()
	s.normCols()
	s.fma()
}

// function starts a function.
func (s *isa) function(name, signature string) {
	TEXT(name+s.name, NOSPLIT, "func"+signature)
	Doc(name + s.name + " works like " + name + "Generic.")
	Pragma("noescape")
}

// prefetch fetches rows into the second-level cache.
func (s *isa) prefetch() {
	s.function("prefetch", "(src []float32, lds int, rows int, n int)")
	src, lds := slice("src"), stride("lds")
	rows, n := integer("rows"), stride("n")
	Label("row")
	p, left := GP64(), GP64()
	MOVQ(src, p)
	MOVQ(n, left)
	Label("line")
	PREFETCHT1(at(p, 0))
	ADDQ(U8(64), p)
	SUBQ(U8(64), left)
	JG(LabelRef("line"))
	ADDQ(lds, src)
	DECQ(rows)
	JNZ(LabelRef("row"))
	ret()
}

// transpose turns blocks of r rows and 4 columns, r at most 4.
func (s *isa) transpose(r int) {
	TEXT(fmt.Sprintf("transpose%d%s", r, s.name), NOSPLIT, "func(dst []float32, ldd int, src []float32, lds int, n int)")
	Doc(fmt.Sprintf("transpose%d%s works like transpose%dGeneric.", r, s.name, r))
	Pragma("noescape")
	dst, ldd := slice("dst"), stride("ldd")
	src, lds := slice("src"), stride("lds")
	n := integer("n")
	lds3, ldd3 := GP64(), GP64()
	LEAQ(Mem{Base: lds, Index: lds, Scale: 2}, lds3)
	LEAQ(Mem{Base: ldd, Index: ldd, Scale: 2}, ldd3)
	row := func(i int) Mem {
		return []Mem{{Base: src}, {Base: src, Index: lds, Scale: 1}, {Base: src, Index: lds, Scale: 2}, {Base: src, Index: lds3, Scale: 1}}[i]
	}
	out := func(i int) Mem {
		return []Mem{{Base: dst}, {Base: dst, Index: ldd, Scale: 1}, {Base: dst, Index: ldd, Scale: 2}, {Base: dst, Index: ldd3, Scale: 1}}[i]
	}
	store := func(x reg.VecVirtual, m Mem) {
		switch r {
		case 1:
			VMOVSS(x, m)
		case 2:
			VMOVLPS(x, m)
		case 3:
			VMOVLPS(x, m)
			VEXTRACTPS(U8(2), x, m.Offset(8))
		case 4:
			VMOVUPS(x, m)
		}
	}
	next := GP64() // these rows of the next tile, fetched ahead
	LEAQ(Mem{Base: lds3, Index: lds3, Scale: 1}, next)
	if s.wide {
		ADDQ(next, next)
	}
	ADDQ(src, next)
	blocks := GP64()
	MOVQ(n, blocks)
	SHRQ(U8(2), blocks)
	JZ(LabelRef("rest"))
	Label("block")
	var x, p, q [4]reg.VecVirtual
	for i := range x {
		x[i], p[i], q[i] = XMM(), XMM(), XMM()
	}
	for i := range r {
		m := row(i)
		m.Base = next
		PREFETCHT0(m)
		VMOVUPS(row(i), x[i])
	}
	for i := r; i < 4; i++ {
		x[i] = x[0] // lanes that are not stored
	}
	VUNPCKLPS(x[1], x[0], p[0]) // 00 10 01 11
	VUNPCKHPS(x[1], x[0], p[1]) // 02 12 03 13
	VUNPCKLPS(x[3], x[2], p[2]) // 20 30 21 31
	VUNPCKHPS(x[3], x[2], p[3]) // 22 32 23 33
	VUNPCKLPD(p[2], p[0], q[0])
	VUNPCKHPD(p[2], p[0], q[1])
	VUNPCKLPD(p[3], p[1], q[2])
	VUNPCKHPD(p[3], p[1], q[3])
	for i := range q {
		store(q[i], out(i))
	}
	ADDQ(U8(16), src)
	ADDQ(U8(16), next)
	LEAQ(Mem{Base: dst, Index: ldd, Scale: 4}, dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	Label("rest")
	ANDQ(U8(3), n)
	JZ(LabelRef("done"))
	Label("tail")
	y := XMM()
	VMOVSS(row(0), y)
	for i := 1; i < r; i++ {
		VINSERTPS(U8(i<<4), row(i), y, y)
	}
	store(y, out(0))
	ADDQ(U8(4), src)
	ADDQ(ldd, dst)
	DECQ(n)
	JNZ(LabelRef("tail"))
	Label("done")
	ret()
}

// transpose8 turns blocks of 8 rows and 8 columns.
func (s *isa) transpose8() {
	TEXT("transpose8"+s.name, NOSPLIT, "func(dst []float32, ldd int, src []float32, lds int, n int)")
	Doc("transpose8" + s.name + " sets dst[j*ldd+i] = src[i*lds+j] for i < 8, j < n, n a multiple of 8.")
	Pragma("noescape")
	dst, ldd := slice("dst"), stride("ldd")
	src, lds := slice("src"), stride("lds")
	n := integer("n")
	ldd3, lds3 := GP64(), GP64()
	LEAQ(Mem{Base: ldd, Index: ldd, Scale: 2}, ldd3)
	LEAQ(Mem{Base: lds, Index: lds, Scale: 2}, lds3)
	four := func(base, ld, ld3 reg.Register) [4]Mem { // rows
		return [4]Mem{{Base: base}, {Base: base, Index: ld, Scale: 1}, {Base: base, Index: ld, Scale: 2}, {Base: base, Index: ld3, Scale: 1}}
	}
	low := GP64() // the rows from the fourth on
	LEAQ(Mem{Base: src, Index: lds, Scale: 4}, low)
	SHRQ(U8(3), n)
	JZ(LabelRef("done"))
	Label("block")
	to := GP64()
	MOVQ(dst, to)
	for half := range 2 { // four columns each
		var x [4]reg.VecVirtual
		for i := range x {
			a, b := four(src, lds, lds3)[i].Offset(16*half), four(low, lds, lds3)[i].Offset(16*half)
			x[i] = YMM()
			VMOVUPS(a, x[i].AsX())
			VINSERTF128(U8(1), b, x[i], x[i])
		}
		p := [4]reg.VecVirtual{YMM(), YMM(), YMM(), YMM()}
		VUNPCKLPS(x[1], x[0], p[0])
		VUNPCKLPS(x[3], x[2], p[1])
		VUNPCKHPS(x[1], x[0], p[2])
		VUNPCKHPS(x[3], x[2], p[3])
		for i, m := range four(to, ldd, ldd3) {
			q := YMM()
			if pair := i &^ 1; i%2 == 0 {
				VUNPCKLPD(p[pair+1], p[pair], q)
			} else {
				VUNPCKHPD(p[pair+1], p[pair], q)
			}
			VMOVUPS(q, m)
		}
		LEAQ(Mem{Base: to, Index: ldd, Scale: 4}, to)
	}
	ADDQ(U8(32), src)
	ADDQ(U8(32), low)
	MOVQ(to, dst)
	DECQ(n)
	JNZ(LabelRef("block"))
	Label("done")
	ret()
}

// widths writes body twice: for rows of two registers and of one. body jumps
// to its labels with the suffix that it is given, and must not return.
func (s *isa) widths(w reg.Register, body func(v int, suffix string)) {
	CMPQ(w, U8(2*s.vec))
	JNE(LabelRef("narrow"))
	body(2, "")
	ret()
	Label("narrow")
	body(1, "1")
	ret()
}

func (s *isa) load(base reg.Register, v int) []reg.VecVirtual {
	x := make([]reg.VecVirtual, v)
	for j := range x {
		x[j] = s.reg()
		VMOVUPS(at(base, j*s.bytes()), x[j])
	}
	return x
}

func (s *isa) store(x []reg.VecVirtual, base reg.Register) {
	for j := range x {
		VMOVUPS(x[j], at(base, j*s.bytes()))
	}
}

func (s *isa) biasMax() {
	s.function("biasMax", "(sc []float32, rw []float32, rh []float32, m []float32, rows int, cols int, w int)")
	sc, rw, rh, m := slice("sc"), slice("rw"), slice("rh"), slice("m")
	rows, cols, w := integer("rows"), integer("cols"), integer("w")
	s.widths(w, func(v int, x string) {
		top := s.load(m, v)
		Label("row" + x)
		h := s.load(rh, v)
		p, n := GP64(), GP64()
		MOVQ(rw, p)
		MOVQ(cols, n)
		Label("column" + x)
		for j := range v {
			t := s.reg()
			VADDPS(at(p, j*s.bytes()), h[j], t)
			VADDPS(at(sc, j*s.bytes()), t, t)
			VMOVUPS(t, at(sc, j*s.bytes()))
			VMAXPS(top[j], t, top[j])
		}
		ADDQ(I32(v*s.bytes()), p)
		ADDQ(I32(v*s.bytes()), sc)
		DECQ(n)
		JNZ(LabelRef("column" + x))
		ADDQ(I32(v*s.bytes()), rh)
		DECQ(rows)
		JNZ(LabelRef("row" + x))
		s.store(top, m)
	})
}

func (s *isa) maxRows() {
	s.function("maxRows", "(sc []float32, m []float32, n int, w int)")
	sc, m, n, w := slice("sc"), slice("m"), integer("n"), integer("w")
	s.widths(w, func(v int, x string) {
		top := s.load(m, v)
		Label("row" + x)
		for j := range v {
			t := s.reg()
			VMOVUPS(at(sc, j*s.bytes()), t)
			VMAXPS(top[j], t, top[j])
		}
		ADDQ(I32(v*s.bytes()), sc)
		DECQ(n)
		JNZ(LabelRef("row" + x))
		s.store(top, m)
	})
}

// exp2Consts are the operands that 2^x needs.
type exp2Consts struct {
	lo, bias reg.VecVirtual
	c        []Op
}

// exp2Consts returns them in registers; with AVX2 only the first n coefficients
// are, and the others are read from memory each time.
func (s *isa) exp2Consts(n int) exp2Consts {
	k := exp2Consts{lo: s.broadcast("exp2Lo", exp2Lo)}
	if !s.wide {
		k.bias = s.broadcast("exp2Bias", exp2Bias)
	}
	for i, c := range exp2C {
		name := "exp2C" + string(rune('0'+i))
		if i < n {
			k.c = append(k.c, s.broadcast(name, c))
		} else {
			k.c = append(k.c, s.lasting(name, c))
		}
	}
	return k
}

// exp2Of replaces each x, at most exp2Hi, by 2^x. NaN stays NaN: VMAXPS
// returns its first operand here if one is NaN.
func (s *isa) exp2Of(k exp2Consts, x []reg.VecVirtual) {
	n, p := s.exp2Parts(k, x)
	horner(p)
	s.exp2Join(x, n, p)
}

// exp2Parts takes each x apart, into the nearest integer n and what is left of
// it, of which p is the polynomial.
func (s *isa) exp2Parts(k exp2Consts, x []reg.VecVirtual) (n []reg.VecVirtual, p []polynomial) {
	n, p = make([]reg.VecVirtual, len(x)), make([]polynomial, len(x))
	for j := range x {
		n[j], p[j] = s.reg(), polynomial{c: k.c, x: x[j], sum: s.reg()}
		VMAXPS(x[j], k.lo, x[j])
	}
	for j := range x {
		if s.wide {
			VRNDSCALEPS(U8(8), x[j], n[j]) // nearest integer, no exception
			VSUBPS(n[j], x[j], x[j])
			continue
		}
		VADDPS(k.bias, x[j], n[j])
		VSUBPS(k.bias, n[j], p[j].sum)
		VSUBPS(p[j].sum, x[j], x[j])
	}
	return n, p
}

// exp2Join sets each x to p times 2^n.
func (s *isa) exp2Join(x, n []reg.VecVirtual, p []polynomial) {
	for j := range x {
		if s.wide {
			VSCALEFPS(n[j], p[j].sum, x[j])
			continue
		}
		// The integer is in the low bits of the biased sum.
		VPSLLD(U8(23), n[j], n[j])
		VPADDD(n[j], p[j].sum, x[j])
	}
}

// A polynomial in x, whose sum is what it comes to.
type polynomial struct {
	c      []Op // of x^0, x^1, ...
	x, sum reg.VecVirtual
}

// horner computes polynomials, a step of each in turn.
func horner(ps []polynomial) {
	for _, p := range ps {
		VMOVUPS(p.c[len(p.c)-1], p.sum)
	}
	for i, left := 2, true; left; i++ {
		left = false
		for _, p := range ps {
			if i <= len(p.c) {
				VFMADD213PS(p.c[len(p.c)-i], p.x, p.sum)
				left = true
			}
		}
	}
}

func (s *isa) expSum() {
	s.function("expSum", "(sc []float32, m []float32, l []float32, n int, w int)")
	sc, m, l := slice("sc"), slice("m"), slice("l")
	n, w := integer("n"), integer("w")
	k := s.exp2Consts(5)
	if s.wide {
		s.widths(w, func(v int, x string) {
			s.expSumRows(k, sc, m, l, n, v, v, x)
		})
		return
	}
	// Sixteen registers: one column of registers at a time, two rows of it so
	// that one's sums need not wait for the other's.
	left := GP64()
	MOVQ(w, left)
	SHLQ(U8(2), w)
	Label("columns")
	p, rows := GP64(), GP64()
	MOVQ(sc, p)
	MOVQ(n, rows)
	mv, sum := s.reg(), s.reg()
	VMOVUPS(at(m, 0), mv)
	s.zero(sum)
	step := func(n int) {
		x := make([]reg.VecVirtual, n)
		row := func(j int) Mem {
			if j == 0 {
				return at(p, 0)
			}
			return Mem{Base: p, Index: w, Scale: 1}
		}
		for j := range x {
			x[j] = s.reg()
			VMOVUPS(row(j), x[j])
			VSUBPS(mv, x[j], x[j])
		}
		s.exp2Of(k, x)
		for j := range x {
			VMOVUPS(x[j], row(j))
			VADDPS(x[j], sum, sum)
		}
	}
	SUBQ(U8(2), rows)
	JL(LabelRef("one"))
	Label("two")
	step(2)
	LEAQ(Mem{Base: p, Index: w, Scale: 2}, p)
	SUBQ(U8(2), rows)
	JGE(LabelRef("two"))
	Label("one")
	ADDQ(U8(2), rows)
	JZ(LabelRef("next"))
	step(1)
	Label("next")
	VADDPS(at(l, 0), sum, sum)
	VMOVUPS(sum, at(l, 0))
	ADDQ(U8(s.bytes()), sc)
	ADDQ(U8(s.bytes()), m)
	ADDQ(U8(s.bytes()), l)
	SUBQ(U8(s.vec), left)
	JNZ(LabelRef("columns"))
	ret()
}

func (s *isa) expSumRows(k exp2Consts, sc, m, l, n reg.Register, v, width int, x string) {
	mv := s.load(m, v)
	sum := make([]reg.VecVirtual, v)
	for j := range sum {
		sum[j] = s.reg()
		s.zero(sum[j])
	}
	Label("row" + x)
	e := make([]reg.VecVirtual, v)
	for j := range e {
		e[j] = s.reg()
		VMOVUPS(at(sc, j*s.bytes()), e[j])
		VSUBPS(mv[j], e[j], e[j])
	}
	s.exp2Of(k, e)
	for j := range e {
		VMOVUPS(e[j], at(sc, j*s.bytes()))
		VADDPS(e[j], sum[j], sum[j])
	}
	ADDQ(I32(width*s.bytes()), sc)
	DECQ(n)
	JNZ(LabelRef("row" + x))
	for j := range sum {
		VADDPS(at(l, j*s.bytes()), sum[j], sum[j])
	}
	s.store(sum, l)
}

func (s *isa) mulRows() {
	s.function("mulRows", "(o []float32, c []float32, n int, w int)")
	o, c, n, w := slice("o"), slice("c"), integer("n"), integer("w")
	s.widths(w, func(v int, x string) {
		f := s.load(c, v)
		Label("row" + x)
		for j := range v {
			t := s.reg()
			VMULPS(at(o, j*s.bytes()), f[j], t)
			VMOVUPS(t, at(o, j*s.bytes()))
		}
		ADDQ(I32(v*s.bytes()), o)
		DECQ(n)
		JNZ(LabelRef("row" + x))
	})
}
