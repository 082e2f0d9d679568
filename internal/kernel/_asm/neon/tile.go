package main

import "fmt"

// maxRows is the height of the largest tile: 24 sums in registers.
const maxRows = 12

// tile writes the product of r rows with a panel of 4*width columns.
func tile(r, width int) {
	w := 4 * width
	name := fmt.Sprintf("tile%dx%dNEON", r, w)
	function(name, "(k int, a []float32, lda int, b []float32, c []float32, ldc int, d []float32, ldd int)",
		fmt.Sprintf("%s works like tileGeneric(%d, %d).", name, r, w), 128)
	const (
		k, a, lda, b, c, ldc, d, ldd = gp(0), gp(1), gp(2), gp(3), gp(4), gp(5), gp(6), gp(7)
		b0, a0                       = v(24), v(26)
	)
	param("k", 0, k)
	param("a_base", 8, a)
	param("lda", 32, lda)
	param("b_base", 40, b)
	bytes4(lda)
	sum := func(i, j int) v { return v(i*width + j) }
	for i := range r * width {
		zero(v(i))
	}
	label("inner")
	for j := range width {
		load(b, 16*j, b0+v(j))
	}
	// Whole quads of rows in one register each, the others one by one.
	quads := r / 4
	for q := range quads {
		load(a, 16*q, a0+v(q))
	}
	for i := 4 * quads; i < r; i++ {
		op("FMOVS %d(R%d), F%d", 4*i, a, a0+v(quads+i-4*quads))
	}
	op("ADD R%d, R%d, R%d", lda, a, a)
	op("ADD $%d, R%d, R%d", 4*w, b, b)
	for i := range r {
		reg, lane := a0+v(i/4), uint32(i%4)
		if i >= 4*quads {
			reg, lane = a0+v(quads+i-4*quads), 0
		}
		for j := range width {
			fmlaLane(b0+v(j), reg, lane, sum(i, j))
		}
	}
	op("SUBS $1, R%d, R%d", k, k)
	op("BNE inner")
	param("c_base", 64, c)
	param("ldc", 88, ldc)
	param("d_base", 96, d)
	param("ldd", 120, ldd)
	bytes4(ldc)
	bytes4(ldd)
	op("CBZ R%d, replace", d)
	for i := range r {
		for j := range width {
			load(d, 16*j, b0+v(j))
			fadd(sum(i, j), b0+v(j), sum(i, j))
		}
		if i < r-1 {
			op("ADD R%d, R%d, R%d", ldd, d, d)
		}
	}
	label("replace")
	for i := range r {
		for j := range width {
			store(sum(i, j), c, 16*j)
		}
		if i < r-1 {
			op("ADD R%d, R%d, R%d", ldc, c, c)
		}
	}
	op("RET")
}
