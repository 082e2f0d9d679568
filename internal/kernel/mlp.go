package kernel

import "runtime"

// Layer is one product of [MLP]: with the packed matrix W, or with W8 in 8
// bits, followed by the epilogue.
type Layer struct {
	W  *Packed
	W8 *Packed8
	E  Epilogue
}

// size returns the columns of the result and the inner dimension.
func (l *Layer) size() (n, k int) {
	if l.W8 != nil {
		return l.W8.N, l.W8.K
	}
	return l.W.N, l.W.K
}

// MLP sets dst [m, second.N] to the second product of the first's result, with
// the bits of [Gemm] or [Gemm8] twice. What is between them, which is wide,
// exists for a few rows at a time. ldd and lda are the distances between rows.
// dst may be what the second adds, and must not overlap a. The first adds
// nothing.
func MLP(dst []float32, ldd int, a []float32, lda, m int, first, second Layer) {
	wide, k := first.size()
	n, inner := second.size()
	if inner != wide || first.E.Add != nil {
		panic("kernel: mlp: the second product is not one of the first's result")
	}
	needMatrix("mlp: a", len(a), m, k, lda)
	needMatrix("mlp: dst", len(dst), m, n, ldd)
	if second.E.Add != nil {
		needMatrix("mlp: add", len(second.E.Add), m, n, second.E.LdAdd)
	}
	for _, l := range []*Layer{&first, &second} {
		if cols, _ := l.size(); l.E.Bias != nil {
			need("mlp: bias", len(l.E.Bias), cols)
		}
	}
	t := mlpTasks.get()
	*t = mlpTask{dst: dst, ldd: ldd, a: a, lda: lda, wide: wide, rows: splitRows(m), first: first, second: second}
	run(t.rows.pieces(), t)
	*t = mlpTask{}
	mlpTasks.put(t)
}

type mlpTask struct {
	dst, a        []float32
	ldd, lda      int
	wide          int
	rows          rowSplit
	first, second Layer
}

var mlpTasks freeList[mlpTask]

func (t *mlpTask) run(i int) {
	r0, r1 := t.rows.piece(i)
	rows := r1 - r0
	s := arenas.get()
	s.reset(rows * t.wide)
	between := s.take(rows * t.wide)
	t.first.product(between, t.wide, t.a[r0*t.lda:], t.lda, rows)
	second := t.second
	if second.E.Add != nil {
		second.E.Add = second.E.Add[r0*second.E.LdAdd:]
	}
	second.product(t.dst[r0*t.ldd:], t.ldd, between, t.wide, rows)
	arenas.put(s)
}

// product computes a block of rows on the calling goroutine.
func (l *Layer) product(dst []float32, ldd int, a []float32, lda, rows int) {
	if l.W8 != nil {
		t := gemm8Tasks.get()
		*t = gemm8Task{im: l.W8.im, dst: dst, ldd: ldd, a: a, lda: lda, m: rows, b: *l.W8, e: l.E}
		t.block(0, rows)
		*t = gemm8Task{}
		gemm8Tasks.put(t)
		return
	}
	GemmSerial(dst, ldd, a, lda, rows, l.W, l.E)
}

// rowSplit cuts the rows of a product into pieces of blockRows, and the last
// ones into smaller pieces, so that all cores end together.
type rowSplit struct{ m, big, small int }

func splitRows(m int) rowSplit {
	procs := runtime.GOMAXPROCS(0)
	if procs == 1 {
		return rowSplit{m, 0, blockRows}
	}
	return rowSplit{m, (m - min(m, 2*procs*blockRows)) / blockRows, tailRows}
}

func (s rowSplit) pieces() int {
	return s.big + (s.m-s.big*blockRows+s.small-1)/s.small
}

// piece returns the rows of piece i: [r0, r1).
func (s rowSplit) piece(i int) (r0, r1 int) {
	if i < s.big {
		return i * blockRows, (i + 1) * blockRows
	}
	r0 = s.big*blockRows + (i-s.big)*s.small
	return r0, min(r0+s.small, s.m)
}
