package jpeg2000

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

// spread tells the neighbours of coefficient r of column i that it is
// significant, and negative if s is 1. The column itself is the caller's.
func (b *blockDecoder) spread(i int, r uint, s uint64) {
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
		v >>= 9
		f = b.flags[i+b.stride-1 : i+b.stride+2]
		f[0] |= v << 2
		f[1] |= v << 1
		f[2] |= v
	}
}

// sign decodes the sign of a coefficient whose neighbourhood is near.
func (m *mqDecoder) sign(near uint64, d int64) (sign, next int64) {
	sc := signContext[near&0xaa|near>>signShift&0xaa>>1]
	i := sc & 31
	v := m.ctx[i]
	sign = v & 1
	if d -= v & mqProb; d < 0 {
		sign, d = m.slow(i, d)
	}
	return sign ^ int64(sc>>7), d
}

// significance is the significance propagation pass of a bit plane: those
// coefficients that have significant neighbours.
func (b *blockDecoder) significance(plane uint) {
	m, zero, d := &b.mq, b.zero, b.mq.d
	value := uint32(3) << plane
	for y := 0; y < b.h; y += 4 {
		rows := min(4, b.h-y)
		at := (y/4+1)*b.stride + 1
		for x := range b.w {
			word := b.flags[at+x]
			if word&flagWhole == 0 {
				continue
			}
			near, self, p := word, flagSelf, y*b.w+x
			for r := range rows {
				if near&flagSelf == 0 && near&flagNear != 0 {
					i := zero[near&flagNear]
					v := m.ctx[i&31]
					symbol := v & 1
					if d -= v & mqProb; d < 0 {
						symbol, d = m.slow(i, d)
					}
					if symbol != 0 {
						var s int64
						s, d = m.sign(near, d)
						b.mag[p] = value | uint32(s)<<31
						b.spread(at+x, uint(r), uint64(s))
						own := (1 | uint64(s)<<signShift) << 4
						near |= own
						word |= own << (3 * r & 63)
					}
					word |= self << seenShift
				}
				near >>= 3
				self <<= 3
				p += b.w
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
			todo := word &^ (word >> seenShift) & flagAll
			if todo == 0 {
				continue
			}
			for near, p := word, y*b.w+x; todo != 0; todo >>= 3 {
				if todo&flagSelf != 0 {
					i := uint8(ctxRefine)
					if near>>moreShift&flagSelf != 0 {
						i = ctxRefine + 2
					} else if near&flagNear != 0 {
						i = ctxRefine + 1
					}
					v := m.ctx[i&31]
					symbol := v & 1
					if d -= v & mqProb; d < 0 {
						symbol, d = m.slow(i, d)
					}
					b.mag[p] = b.mag[p]&^(2<<plane) | uint32(symbol)<<(plane+1) | 1<<plane
				}
				near >>= 3
				p += b.w
			}
			b.flags[at+x] = word | (word&flagAll)&^(word>>seenShift)<<moreShift
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
		rows := min(4, b.h-y)
		at := (y/4+1)*b.stride + 1
		for x := range b.w {
			word := b.flags[at+x]
			r, known := 0, false
			if word == 0 && rows == 4 {
				var symbol int64
				if symbol, d = m.decode(ctxRun, d); symbol == 0 {
					continue
				}
				var hi, lo int64
				hi, d = m.decode(ctxUniform, d)
				lo, d = m.decode(ctxUniform, d)
				r, known = int(hi<<1|lo), true
			}
			near, p := word>>(3*r&63), (y+r)*b.w+x
			todo := ^(word | word>>seenShift) & flagAll >> (3 * r & 63)
			for ; r < rows; r++ {
				if todo&flagSelf != 0 {
					symbol := int64(1)
					if !known {
						i := zero[near&flagNear]
						v := m.ctx[i&31]
						symbol = v & 1
						if d -= v & mqProb; d < 0 {
							symbol, d = m.slow(i, d)
						}
					}
					known = false
					if symbol != 0 {
						var s int64
						s, d = m.sign(near, d)
						b.mag[p] = value | uint32(s)<<31
						b.spread(at+x, uint(r), uint64(s))
						own := (1 | uint64(s)<<signShift) << 4
						near |= own
						word |= own << (3 * r & 63)
					}
				}
				near >>= 3
				todo >>= 3
				p += b.w
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
		rows := min(4, b.h-y)
		at := (y/4+1)*b.stride + 1
		for x := range b.w {
			word := b.flags[at+x]
			near, p := word, y*b.w+x
			for r := range rows {
				if near&flagSelf == 0 && near&flagNear != 0 {
					if b.raw.bit() != 0 {
						s := b.raw.bit()
						b.mag[p] = 3<<plane | uint32(s)<<31
						b.spread(at+x, uint(r), s)
						own := (1 | s<<signShift) << 4
						near |= own
						word |= own << (3 * r & 63)
					}
					word |= flagSelf << (3 * r & 63) << seenShift
				}
				near >>= 3
				p += b.w
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
			todo := word &^ (word >> seenShift) & flagAll
			b.flags[at+x] = word | todo<<moreShift
			for p := y*b.w + x; todo != 0; todo >>= 3 {
				if todo&flagSelf != 0 {
					b.mag[p] = b.mag[p]&^(2<<plane) | uint32(b.raw.bit())<<(plane+1) | 1<<plane
				}
				p += b.w
			}
		}
	}
}
