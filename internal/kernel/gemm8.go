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

const block8Cols = 256 // columns in hand at a time, whole panels

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
	blocks := (kw + b.kc - 1) / b.kc

	s := arenas.get()
	s.reset(rows*(kw+cols+2) + im.mr*kw + 2*cols + rows/im.mr*blocks*crowdedWords + maxWords/groupWords)
	p := packed8Rows{words: asWords(s.take(rows * kw)), scales: s.take(rows), starts: asInts(s.take(rows))}
	p.crowded = asWords(s.take(rows / im.mr * blocks * crowdedWords))
	p.flags = asWords(s.take(maxWords / groupWords))
	t.packRows(&p, asWords(s.take(im.mr*kw)), r0, r1, rows)
	sums := asInts(s.take(rows * cols))
	line, zero := s.take(cols), s.take(cols)
	clear(zero)
	for j0 := 0; j0 < b.N; j0 += cols {
		width := min(cols, im.padded(b.N)-j0)
		clear(sums)
		for k0 := 0; k0 < kw; k0 += b.kc {
			kc := min(b.kc, kw-k0)
			for j := 0; j < width; j += im.nr {
				panel := b.panel(k0, kc, j0+j)
				for i := 0; i < rows; i += im.mr {
					crowded := p.crowded[(k0/b.kc*rows+i)/im.mr*crowdedWords:][:crowdedWords]
					words, to := p.words[k0*rows+i*kc:], sums[i*cols+j:]
					if crowded[0] == 0 && im.quick != nil {
						im.quick(kc, words, panel, to, cols)
					} else {
						im.multiply(kc, words, panel, to, cols, crowded)
					}
				}
			}
		}
		bias := zero
		if t.e.Bias != nil {
			bias = t.e.Bias[j0:]
		}
		for i := range r1 - r0 {
			t.finish(r0+i, j0, sums[i*cols:][:min(width, b.N-j0)], p.starts[i], bias, p.scales[i], line)
		}
	}
	arenas.put(s)
}

// packed8Rows are rows of the left matrix in 8 bits.
type packed8Rows struct {
	words   []uint32  // for each block of kc words the panels of mr rows, transposed
	scales  []float32 // of the rows
	starts  []int32   // what is added to the rows' sums
	crowded []uint32  // for each block and panel what multiply wants to know
	flags   []uint32  // scratch
}

// packRows rounds and packs rows [r0, r1) of a, and rows of zeros up to rows.
func (t *gemm8Task) packRows(p *packed8Rows, tmp []uint32, r0, r1, rows int) {
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
			factor, p.scales[i+j] = scaleOf(im.absMax(row), 127)
			p.starts[i+j] = -weightZero * im.quantise(words, row, factor)
		}
		for k0 := 0; k0 < kw; k0 += t.b.kc {
			kc := min(t.b.kc, kw-k0)
			panel := p.words[k0*rows+i*kc:][:im.mr*kc]
			im.transpose(panel, tmp[k0:], kw, kc)
			im.findCrowded(p.crowded[(k0/t.b.kc*rows+i)/im.mr*crowdedWords:][:crowdedWords], panel, p.flags)
		}
	}
}

// Of a panel of rows, crowdedWords words say how many groups of words are
// crowded, and which. With more than mostCrowded, which saves no time, they do not
// say which.
const (
	mostCrowded  = 3
	crowdedWords = 1 + mostCrowded
)

// findCrowded sets dst to what it says about the panel a, and overwrites flags.
func (e *eightBit) findCrowded(dst, a, flags []uint32) {
	dst[0] = 0
	if e.quick == nil {
		return
	}
	groups := flags[:len(a)/(e.mr*groupWords)]
	e.crowded(groups, a)
	for g, found := range groups {
		if found == 0 {
			continue
		}
		if dst[0]++; dst[0] > mostCrowded {
			return
		}
		dst[dst[0]] = uint32(g)
	}
}

// multiply is tile, as quick as findCrowded lets it be.
func (e *eightBit) multiply(k int, a, b []uint32, c []int32, ldc int, crowded []uint32) {
	n := crowded[0]
	if e.quick == nil || n > mostCrowded {
		e.tile(k, a, b, c, ldc)
		return
	}
	at := 0
	for _, g := range crowded[1 : 1+n] {
		next := int(g) * groupWords
		if next > at {
			e.quick(next-at, a[at*e.mr:], b[at*e.nr:], c, ldc)
		}
		e.tile(groupWords, a[next*e.mr:], b[next*e.nr:], c, ldc)
		at = next + groupWords
	}
	if at < k {
		e.quick(k-at, a[at*e.mr:], b[at*e.nr:], c, ldc)
	}
}

// finish applies the epilogue to the sums of row r from column j on and stores
// them.
func (t *gemm8Task) finish(r, j int, sums []int32, start int32, bias []float32, scale float32, line []float32) {
	e, n := &t.e, len(sums)
	dst := t.dst[r*t.ldd+j:][:n]
	at := dst
	if e.Add != nil {
		at = line[:n] // dst may be what is added
	}
	t.im.dequantise(at, sums, start, t.b.scales()[j:], bias, scale)
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
