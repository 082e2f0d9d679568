package jpeg2000

import "math/bits"

// maxBlock is the most coefficients of a code block, and maxSide the longest
// side of one.
const (
	maxBlock = 4096
	maxSide  = 1024
)

// blockDecoder decodes the coefficients of code blocks (T.800, annex D). It is
// used again from block to block.
type blockDecoder struct {
	mq     mqDecoder
	raw    rawReader
	w, h   int
	stride int // words of a row of columns, with one more on each side
	causal bool
	zero   *[512]uint8
	// flags has a row of words for each four rows of coefficients, and one more
	// above and below. At most 66 x 18 of 64 x 64, or 6 x 258, or 1026 x 3.
	flags [3200]uint64
	// mag are the coefficients, row by row: twice the magnitude, rounded to the
	// middle of what is still unknown, and the sign in the highest bit.
	mag [maxBlock]uint32
}

// begin clears the block's coefficients.
func (b *blockDecoder) begin(w, h int, kind int, causal bool) {
	b.w, b.h, b.stride, b.causal = w, h, w+2, causal
	b.zero = &zeroContext[kind]
	clear(b.flags[:b.stride*((h+3)/4+2)])
	clear(b.mag[:w*h])
}

// become decodes the sign of coefficient r of column i at x, y, which turned out
// significant, and tells the neighbours. near is its neighbourhood; the column's own
// word is the caller's to change by own.
func (b *blockDecoder) become(i, x, y int, r uint, near uint64, value uint32, d int64) (own uint64, next int64) {
	m := &b.mq
	sc := signContext[near&0xaa|near>>signShift&0xaa>>1]
	v := m.ctx[sc&31]
	sign := v & 1
	if d -= v & mqProb; d < 0 {
		sign, d = m.slow(sc&31, d)
	}
	return b.spread(i, x, y, r, uint64(sign)^uint64(sc>>7), value), d
}

// spread notes that coefficient r of column i at x, y is significant, and negative if
// s is 1.
func (b *blockDecoder) spread(i, x, y int, r uint, s uint64, value uint32) (own uint64) {
	b.mag[(y+int(r))*b.w+x] = value | uint32(s)<<31
	v := (1 | s<<signShift) << (3 * r & 63)
	f := b.flags[i-1 : i+2 : i+2]
	f[0] |= v << 5
	f[2] |= v << 3
	if r == 0 && !b.causal {
		f = b.flags[i-b.stride-1 : i-b.stride+2]
		f[0] |= v << 17
		f[1] |= v << 16
		f[2] |= v << 15
	} else if r == 3 {
		u := v >> 9
		f = b.flags[i+b.stride-1 : i+b.stride+2]
		f[0] |= u << 2
		f[1] |= u << 1
		f[2] |= u
	}
	return v << 4
}

// candidates returns which of a column's coefficients have significant neighbours
// and are not significant: one bit each, at 0, 3, 6 and 9.
func candidates(word uint64) uint64 {
	side := word | word>>2 // of each row, by its first bit
	all := side | word>>1
	return (all | side>>3 | all>>6) &^ (word >> 4) & flagFirst
}

// row is the number of a bit of candidates.
func row(at uint) uint { return at * 11 >> 5 & 3 }

// rowsOf is a mask of the coefficients of a column that are in the block.
func rowsOf(rows int) uint64 { return flagFirst & (1<<(3*min(rows, 4)) - 1) }

// significance is the significance propagation pass of a bit plane: those
// coefficients that have significant neighbours.
func (b *blockDecoder) significance(plane uint) {
	m, zero, d := &b.mq, b.zero, b.mq.d
	value := uint32(3) << plane
	for y := 0; y < b.h; y += 4 {
		rows := rowsOf(b.h - y)
		at := (y/4+1)*b.stride + 1
		for x := range b.w {
			word := b.flags[at+x]
			if word&flagWhole == 0 {
				continue
			}
			todo := candidates(word) & rows
			for todo != 0 {
				k := uint(bits.TrailingZeros64(todo)) & 15
				todo &= todo - 1
				near := word >> k
				i := zero[near&flagNear]
				v := m.ctx[i&31]
				symbol := v & 1
				if d -= v & mqProb; d < 0 {
					symbol, d = m.slow(i, d)
				}
				if symbol != 0 {
					var own uint64
					own, d = b.become(at+x, x, y, row(k), near, value, d)
					word |= own
					todo |= 8 << k &^ (word >> 4) & rows // the next one has a neighbour now
				}
				word |= flagSelf << seenShift << k
			}
			b.flags[at+x] = word
		}
	}
	m.d = d
}

// refinement is the magnitude refinement pass: one more bit of those
// coefficients that were significant before this bit plane.
func (b *blockDecoder) refinement(plane uint) {
	m, d := &b.mq, b.mq.d
	for y := 0; y < b.h; y += 4 {
		at := (y/4+1)*b.stride + 1
		for x := range b.w {
			word := b.flags[at+x]
			todo := word &^ (word >> seenShift) >> 4 & flagFirst
			if todo == 0 {
				continue
			}
			b.flags[at+x] = word | todo<<4<<moreShift
			for p := y*b.w + x; todo != 0; todo &= todo - 1 {
				k := uint(bits.TrailingZeros64(todo)) & 15
				near := word >> k
				i := uint8(ctxRefine)
				if near&flagNear != 0 {
					i = ctxRefine + 1
				}
				if near>>moreShift&flagSelf != 0 {
					i = ctxRefine + 2
				}
				v := m.ctx[i&31]
				symbol := v & 1
				if d -= v & mqProb; d < 0 {
					symbol, d = m.slow(i, d)
				}
				c := &b.mag[p+int(row(k))*b.w]
				*c = *c&^(2<<plane) | uint32(symbol)<<(plane+1) | 1<<plane
			}
		}
	}
	m.d = d
}

// cleanup is the cleanup pass: all coefficients that the others left, in runs of
// four where nothing around is significant.
func (b *blockDecoder) cleanup(plane uint) {
	m, zero, d := &b.mq, b.zero, b.mq.d
	value := uint32(3) << plane
	for y := 0; y < b.h; y += 4 {
		rows := rowsOf(b.h - y)
		at := (y/4+1)*b.stride + 1
		for x := range b.w {
			word := b.flags[at+x]
			todo := ^(word | word>>seenShift) >> 4 & rows
			if word == 0 && rows == flagFirst {
				v := m.ctx[ctxRun]
				symbol := v & 1
				if d -= v & mqProb; d < 0 {
					symbol, d = m.slow(ctxRun, d)
				}
				if symbol == 0 {
					continue
				}
				var hi, lo int64
				hi, d = m.decode(ctxUniform, d)
				lo, d = m.decode(ctxUniform, d)
				r := uint(hi<<1|lo) & 3
				word, d = b.become(at+x, x, y, r, 0, value, d)
				todo &= ^uint64(7) << (3 * r)
			}
			for ; todo != 0; todo &= todo - 1 {
				k := uint(bits.TrailingZeros64(todo)) & 15
				near := word >> k
				i := zero[near&flagNear]
				v := m.ctx[i&31]
				symbol := v & 1
				if d -= v & mqProb; d < 0 {
					symbol, d = m.slow(i, d)
				}
				if symbol != 0 {
					var own uint64
					own, d = b.become(at+x, x, y, row(k), near, value, d)
					word |= own
				}
			}
			b.flags[at+x] = word &^ seenAll
		}
	}
	m.d = d
}

// decode decodes a symbol in context i.
func (m *mqDecoder) decode(i uint8, d int64) (symbol, next int64) {
	v := m.ctx[i&31]
	if d -= v & mqProb; d < 0 {
		return m.slow(i, d)
	}
	return v & 1, d
}

// marker decodes the segmentation symbol that may end a bit plane.
func (b *blockDecoder) marker() bool {
	d, n := b.mq.d, int64(0)
	for range 4 {
		var s int64
		s, d = b.mq.decode(ctxUniform, d)
		n = n<<1 | s
	}
	b.mq.d = d
	return n == 0xa
}

// rawReader reads the bits of passes that bypass the coder (T.800, D.6).
type rawReader struct {
	data []byte
	acc  uint64
	n    int
	last byte
}

func (r *rawReader) start(data []byte) { *r = rawReader{data: data} }

// bit reads a bit; behind the end come ones.
func (r *rawReader) bit() uint64 {
	if r.n == 0 {
		b := byte(0xff)
		if len(r.data) > 0 && (r.last != 0xff || r.data[0] <= 0x8f) {
			b, r.data = r.data[0], r.data[1:]
		}
		r.n = 8
		if r.last == 0xff && b <= 0x8f {
			r.n = 7
		}
		r.last, r.acc = b, uint64(b)
	}
	r.n--
	return r.acc >> r.n & 1
}

// rawSignificance is significance over raw bits.
func (b *blockDecoder) rawSignificance(plane uint) {
	for y := 0; y < b.h; y += 4 {
		rows := rowsOf(b.h - y)
		at := (y/4+1)*b.stride + 1
		for x := range b.w {
			word := b.flags[at+x]
			for todo := candidates(word) & rows; todo != 0; {
				k := uint(bits.TrailingZeros64(todo)) & 15
				todo &= todo - 1
				if b.raw.bit() != 0 {
					word |= b.spread(at+x, x, y, row(k), b.raw.bit(), 3<<plane)
					todo |= 8 << k &^ (word >> 4) & rows
				}
				word |= flagSelf << seenShift << k
			}
			b.flags[at+x] = word
		}
	}
}

// rawRefinement is refinement over raw bits.
func (b *blockDecoder) rawRefinement(plane uint) {
	for y := 0; y < b.h; y += 4 {
		at := (y/4+1)*b.stride + 1
		for x := range b.w {
			word := b.flags[at+x]
			todo := word &^ (word >> seenShift) >> 4 & flagFirst
			b.flags[at+x] = word | todo<<4<<moreShift
			for ; todo != 0; todo &= todo - 1 {
				c := &b.mag[(y+int(row(uint(bits.TrailingZeros64(todo)))))*b.w+x]
				*c = *c&^(2<<plane) | uint32(b.raw.bit())<<(plane+1) | 1<<plane
			}
		}
	}
}
