package main

import (
	"fmt"
	"math"
)

// The constants of math_generic.go.
const (
	exp2Lo  = -125
	exp2Hi  = 127
	geluMax = 13
	geluP   = 0.2800000011920929
	log2e   = 1.44269504088896341
)

var exp2C = []float32{
	1, 0.6931471824645996, 0.24022647738456726, 0.055503323674201965,
	0.00961843691766262, 0.0013398875016719103, 0.00015353361959569156,
}

var geluC = []float32{
	0.11710906028747559, 0.06379105895757675, 0.27818337082862854,
	-0.24851928651332855, 0.3969908654689789, -0.10755511373281479,
}

func vectors() {
	transpose4()
	biasMax()
	maxRowsOf()
	expSum()
	mulRows()
	elements("add", "(dst []float32, a []float32, b []float32)", 72, 2, func() {
		fadd(0, 1, 0)
	})
	elements("mul", "(dst []float32, a []float32, b []float32)", 72, 2, func() {
		fmul(0, 1, 0)
	})
	elements("scale", "(dst []float32, x []float32, a float32)", 52, 1, func() {
		fmul(0, 16, 0)
	})
	elements("blend", "(dst []float32, a []float32, b []float32, wa float32, wb float32)", 80, 2, func() {
		fmul(0, 16, 0)
		fmul(1, 17, 1)
		fadd(0, 1, 0)
	})
	elements("relu", "(dst []float32, x []float32)", 48, 1, func() {
		fmax(0, 16, 0)
	})
	elements("exp2", "(dst []float32, x []float32)", 48, 1, func() {
		fmin(0, 16, 0)
		exp2Of(0, 0)
	})
	elements("gelu", "(dst []float32, x []float32)", 48, 1, gelu)
	fma()
}

func transpose4() {
	function("transpose4NEON", "(dst []float32, ldd int, src []float32, lds int, n int)",
		"transpose4NEON works like transpose4Generic.", 72)
	const dst, ldd, src, lds, n, blocks = gp(0), gp(1), gp(2), gp(3), gp(4), gp(5)
	param("dst_base", 0, dst)
	param("ldd", 24, ldd)
	param("src_base", 32, src)
	param("lds", 56, lds)
	param("n", 64, n)
	bytes4(ldd)
	bytes4(lds)
	// R6, R7, R8 are the other rows.
	op("ADD R%d, R%d, R6", lds, src)
	op("ADD R%d, R6, R7", lds)
	op("ADD R%d, R7, R8", lds)
	rows := []gp{src, 6, 7, 8}
	op("LSR $2, R%d, R%d", n, blocks)
	op("CBZ R%d, rest", blocks)
	label("block")
	for i, p := range rows {
		op("FMOVQ.P 16(R%d), F%d", p, i)
	}
	op("VZIP1 V1.S4, V0.S4, V4.S4")
	op("VZIP2 V1.S4, V0.S4, V5.S4")
	op("VZIP1 V3.S4, V2.S4, V6.S4")
	op("VZIP2 V3.S4, V2.S4, V7.S4")
	op("VZIP1 V6.D2, V4.D2, V16.D2")
	op("VZIP2 V6.D2, V4.D2, V17.D2")
	op("VZIP1 V7.D2, V5.D2, V18.D2")
	op("VZIP2 V7.D2, V5.D2, V19.D2")
	for i := range 4 {
		store(v(16+i), dst, 0)
		op("ADD R%d, R%d, R%d", ldd, dst, dst)
	}
	op("SUBS $1, R%d, R%d", blocks, blocks)
	op("BNE block")
	label("rest")
	op("ANDS $3, R%d, R%d", n, n)
	op("BEQ done")
	label("tail")
	for i, p := range rows {
		op("FMOVS.P 4(R%d), F%d", p, i)
		op("FMOVS F%d, %d(R%d)", i, 4*i, dst)
	}
	op("ADD R%d, R%d, R%d", ldd, dst, dst)
	op("SUBS $1, R%d, R%d", n, n)
	op("BNE tail")
	label("done")
	op("RET")
}

// widths writes body for rows of two registers and of one; body gets a suffix
// for its labels.
func widths(w gp, body func(width int, suffix string)) {
	op("CMP $8, R%d", w)
	op("BNE narrow")
	body(2, "")
	op("RET")
	label("narrow")
	body(1, "1")
	op("RET")
}

func biasMax() {
	function("biasMaxNEON", "(s []float32, rw []float32, rh []float32, m []float32, rows int, cols int, w int)",
		"biasMaxNEON works like biasMaxGeneric.", 120)
	const s, rw, rh, m, rows, cols, w, p, n = gp(0), gp(1), gp(2), gp(3), gp(4), gp(5), gp(6), gp(7), gp(8)
	for i, name := range []string{"s_base", "rw_base", "rh_base", "m_base"} {
		param(name, 24*i, gp(i))
	}
	param("rows", 96, rows)
	param("cols", 104, cols)
	param("w", 112, w)
	widths(w, func(width int, x string) {
		for j := range width {
			load(m, 16*j, v(j))
		}
		label("row" + x)
		for j := range width {
			load(rh, 16*j, v(2+j))
		}
		op("MOVD R%d, R%d", rw, p)
		op("MOVD R%d, R%d", cols, n)
		label("column" + x)
		for j := range width {
			load(p, 16*j, v(4+j))
			load(s, 16*j, v(6+j))
			fadd(v(4+j), v(2+j), v(4+j))
			fadd(v(6+j), v(4+j), v(6+j))
			store(v(6+j), s, 16*j)
			fmax(v(j), v(6+j), v(j))
		}
		op("ADD $%d, R%d, R%d", 16*width, p, p)
		op("ADD $%d, R%d, R%d", 16*width, s, s)
		op("SUBS $1, R%d, R%d", n, n)
		op("BNE column%s", x)
		op("ADD $%d, R%d, R%d", 16*width, rh, rh)
		op("SUBS $1, R%d, R%d", rows, rows)
		op("BNE row%s", x)
		for j := range width {
			store(v(j), m, 16*j)
		}
	})
}

func maxRowsOf() {
	function("maxRowsNEON", "(s []float32, m []float32, n int, w int)", "maxRowsNEON works like maxRowsGeneric.", 64)
	const s, m, n, w = gp(0), gp(1), gp(2), gp(3)
	param("s_base", 0, s)
	param("m_base", 24, m)
	param("n", 48, n)
	param("w", 56, w)
	widths(w, func(width int, x string) {
		for j := range width {
			load(m, 16*j, v(j))
		}
		label("row" + x)
		for j := range width {
			load(s, 16*j, v(6+j))
			fmax(v(j), v(6+j), v(j))
		}
		op("ADD $%d, R%d, R%d", 16*width, s, s)
		op("SUBS $1, R%d, R%d", n, n)
		op("BNE row%s", x)
		for j := range width {
			store(v(j), m, 16*j)
		}
	})
}

func mulRows() {
	function("mulRowsNEON", "(o []float32, c []float32, n int, w int)", "mulRowsNEON works like mulRowsGeneric.", 64)
	const o, c, n, w = gp(0), gp(1), gp(2), gp(3)
	param("o_base", 0, o)
	param("c_base", 24, c)
	param("n", 48, n)
	param("w", 56, w)
	widths(w, func(width int, x string) {
		for j := range width {
			load(c, 16*j, v(j))
		}
		label("row" + x)
		for j := range width {
			load(o, 16*j, v(6+j))
			fmul(v(6+j), v(j), v(6+j))
			store(v(6+j), o, 16*j)
		}
		op("ADD $%d, R%d, R%d", 16*width, o, o)
		op("SUBS $1, R%d, R%d", n, n)
		op("BNE row%s", x)
	})
}

// exp2 keeps its constants in V20 (the lowest argument) and V21 to V27.
func exp2Consts() {
	constant("exp2Lo", exp2Lo, 20)
	for i, c := range exp2C {
		constant(fmt.Sprintf("exp2C%d", i), c, v(21+i))
	}
}

// constant fills a register. R16 is overwritten.
func constant(name string, x float32, d v) {
	op("MOVW $0x%08x, R16 // %s", math.Float32bits(x), name)
	op("VDUP R16, V%d.S4", d)
}

// exp2Of sets d = 2^x; V28 to V31 are overwritten.
func exp2Of(x, d v) {
	fmax(x, 20, d)
	frintn(d, 28)
	fsub(d, 28, 29)
	fcvtns(28, 28)
	shl(28, 23, 28)
	p, q := v(27), v(30)
	for i := len(exp2C) - 2; i >= 0; i-- {
		move(v(21+i), q)
		fmla(p, 29, q)
		if p = q; q == 30 {
			q = 31
		} else {
			q = 30
		}
	}
	iadd(p, 28, d)
}

func expSum() {
	function("expSumNEON", "(s []float32, m []float32, l []float32, n int, w int)", "expSumNEON works like expSumGeneric.", 88)
	const s, m, l, n, w = gp(0), gp(1), gp(2), gp(3), gp(4)
	param("s_base", 0, s)
	param("m_base", 24, m)
	param("l_base", 48, l)
	param("n", 72, n)
	param("w", 80, w)
	exp2Consts()
	widths(w, func(width int, x string) {
		for j := range width {
			load(m, 16*j, v(j))
			zero(v(2 + j))
		}
		label("row" + x)
		for j := range width {
			load(s, 16*j, v(4+j))
			fsub(v(4+j), v(j), v(4+j))
			exp2Of(v(4+j), v(4+j))
			store(v(4+j), s, 16*j)
			fadd(v(2+j), v(4+j), v(2+j))
		}
		op("ADD $%d, R%d, R%d", 16*width, s, s)
		op("SUBS $1, R%d, R%d", n, n)
		op("BNE row%s", x)
		for j := range width {
			load(l, 16*j, v(4+j))
			fadd(v(4+j), v(2+j), v(4+j))
			store(v(4+j), l, 16*j)
		}
	})
}

// elements writes a loop over whole registers: body works on V0 (and V1) and
// leaves the result in V0. V16 to V31 hold constants.
func elements(name, signature string, args, sources int, body func()) {
	full := name + "BlocksNEON"
	function(full, signature, full+" works like "+name+"Generic, for a multiple of four elements.", args)
	const dst, a, b, n = gp(0), gp(1), gp(2), gp(3)
	param("dst_base", 0, dst)
	param("dst_len", 8, n)
	switch name {
	case "add", "mul", "blend":
		param("a_base", 24, a)
		param("b_base", 48, b)
	default:
		param("x_base", 24, a)
	}
	switch name {
	case "scale":
		op("MOVW a+48(FP), R16")
		op("VDUP R16, V16.S4")
	case "blend":
		op("MOVW wa+72(FP), R16")
		op("VDUP R16, V16.S4")
		op("MOVW wb+76(FP), R16")
		op("VDUP R16, V17.S4")
	case "relu":
		zero(16)
	case "exp2":
		constant("exp2Hi", exp2Hi, 16)
		exp2Consts()
	case "gelu":
		constant("geluMax", geluMax, 16)
		constant("geluP", geluP, 17)
		constant("-log2e/2", -log2e/2, 18)
		zero(19)
		exp2Consts()
		for i, c := range geluC {
			constant(fmt.Sprintf("geluC%d", i+1), c, v(8+i))
		}
	}
	op("LSR $2, R%d, R%d", n, n)
	op("CBZ R%d, done", n)
	label("block")
	op("FMOVQ.P 16(R%d), F0", a)
	if sources == 2 {
		op("FMOVQ.P 16(R%d), F1", b)
	}
	body()
	op("FMOVQ.P F0, 16(R%d)", dst)
	op("SUBS $1, R%d, R%d", n, n)
	op("BNE block")
	label("done")
	op("RET")
}

func gelu() {
	const x, top, t, u, e = v(0), v(1), v(2), v(3), v(4)
	fmax(x, 19, top)
	fabs(x, t)
	fmin(t, 16, t)
	move(21, u) // 1
	fmla(t, 17, u)
	fdiv(21, u, u)
	fmul(t, t, e)
	fmul(e, 18, e)
	exp2Of(e, e)
	p, q := v(8+len(geluC)-1), v(5)
	for i := len(geluC) - 2; i >= 0; i-- {
		move(v(8+i), q)
		fmla(p, u, q)
		p, q = q, 11-q // 5 and 6
	}
	fmul(p, u, p)
	fmul(t, e, t)
	fmls(t, p, top)
	move(top, x)
}

func fma() {
	function("fmaNEON", "(n int)", "fmaNEON runs n rounds of 24 independent multiply-adds.", 8)
	param("n", 0, 0)
	constant("x", 0.001, 24)
	constant("y", -0.001, 25)
	for i := range 24 {
		zero(v(i))
	}
	label("round")
	for i := range 24 {
		fmla(24, 25, v(i))
	}
	op("SUBS $1, R0, R0")
	op("BNE round")
	op("RET")
}
