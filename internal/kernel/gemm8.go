package kernel

// Gemm8 is [Gemm] in 8 bits: it rounds each row of a to integers from -127 to
// 127 and a scale, the row's largest magnitude divided by 127, multiplies them
// with those of b and adds up without an error. The epilogue is in float32.
//
// A row of a with an element that is not finite gives NaN.
func Gemm8(dst []float32, ldd int, a []float32, lda, m int, b *Packed8, e Epilogue) {
	needMatrix("gemm in 8 bits: a", len(a), m, b.K, lda)
	needMatrix("gemm in 8 bits: dst", len(dst), m, b.N, ldd)
	if e.Bias != nil {
		need("gemm in 8 bits: bias", len(e.Bias), b.N)
	}
	if e.Add != nil {
		needMatrix("gemm in 8 bits: add", len(e.Add), m, b.N, e.LdAdd)
	}
	t := gemm8Tasks.get()
	*t = gemm8Task{im: b.im, dst: dst, ldd: ldd, a: a, lda: lda, m: m, b: *b, e: e, rows: splitRows(m)}
	run(t.rows.pieces(), t)
	*t = gemm8Task{}
	gemm8Tasks.put(t)
}

const block8Cols = 64 // columns in hand at a time, whole panels

type gemm8Task struct {
	im  *eightBit
	dst []float32
	ldd int
	a   []float32
	lda int
	m   int
	b   Packed8
	e   Epilogue

	rows rowSplit
}

var gemm8Tasks freeList[gemm8Task]

func (t *gemm8Task) run(i int) {
	t.block(t.rows.piece(i))
}

// block computes rows [r0, r1).
func (t *gemm8Task) block(r0, r1 int) {
	im, b := t.im, &t.b
	kw := wordsOf(b.K)
	rows := (r1 - r0 + im.mr - 1) / im.mr * im.mr // with the padding of the last tile
	cols := min(block8Cols, im.padded(b.N))

	s := arenas.get()
	s.reset(rows*(kw+cols+1) + im.mr*kw + 2*cols)
	ap := asWords(s.take(rows * kw))
	scales := s.take(rows)
	t.packRows(ap, asWords(s.take(im.mr*kw)), scales, r0, r1, rows)
	sums := asInts(s.take(rows * cols))
	line, zero := s.take(cols), s.take(cols)
	clear(zero)
	starts := b.starts()
	for j0 := 0; j0 < b.N; j0 += cols {
		width := min(cols, im.padded(b.N)-j0)
		for i := range rows {
			copy(sums[i*cols:], starts[j0:j0+width])
		}
		for k0 := 0; k0 < kw; k0 += b.kc {
			kc := min(b.kc, kw-k0)
			for j := 0; j < width; j += im.nr {
				panel := b.panel(k0, kc, j0+j)
				for i := 0; i < rows; i += im.mr {
					im.tile(kc, ap[k0*rows+i*kc:], panel, sums[i*cols+j:], cols)
				}
			}
		}
		bias := zero
		if t.e.Bias != nil {
			bias = t.e.Bias[j0:]
		}
		for i := range r1 - r0 {
			t.finish(r0+i, j0, sums[i*cols:][:min(width, b.N-j0)], bias, scales[i], line)
		}
	}
	arenas.put(s)
}

// packRows rounds rows [r0, r1) of a and packs their words: for each block of
// kc words the panels of mr rows, transposed.
func (t *gemm8Task) packRows(ap, tmp []uint32, scales []float32, r0, r1, rows int) {
	im, k := t.im, t.b.K
	kw := wordsOf(k)
	for i := 0; i < rows; i += im.mr {
		for j := range im.mr {
			words := tmp[j*kw:][:kw]
			if r0+i+j >= r1 {
				clear(words)
				continue
			}
			row := t.a[(r0+i+j)*t.lda:][:k]
			var factor float32
			factor, scales[i+j] = scaleOf(im.absMax(row), 127)
			im.quantise(words, row, factor)
		}
		for k0 := 0; k0 < kw; k0 += t.b.kc {
			kc := min(t.b.kc, kw-k0)
			im.transpose(ap[k0*rows+i*kc:], tmp[k0:], kw, kc)
		}
	}
}

// finish applies the epilogue to the sums of row r from column j on and stores
// them.
func (t *gemm8Task) finish(r, j int, sums []int32, bias []float32, scale float32, line []float32) {
	e, n := &t.e, len(sums)
	dst := t.dst[r*t.ldd+j:][:n]
	at := dst
	if e.Add != nil {
		at = line[:n] // dst may be what is added
	}
	t.im.dequantise(at, sums, t.b.scales()[j:], bias, scale)
	switch e.Act {
	case ActReLU:
		active.relu(at, at)
	case ActGELU:
		active.gelu(at, at)
	}
	if e.Add != nil {
		active.add(dst, at, e.Add[r*e.LdAdd+j:][:n])
	}
}
