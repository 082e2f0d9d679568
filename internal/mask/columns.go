package mask

// A mask's rows are stored as bits, COCO's code runs along columns. Both
// directions turn blocks of 64 by 64 bits.

// transpose64 turns the block: bit i of word j becomes bit j of word i.
func transpose64(a *[64]uint64) {
	mask := uint64(0x00000000ffffffff)
	for s := 32; s > 0; s >>= 1 {
		for k := 0; k < 64; k = (k + s + 1) &^ s {
			t := (a[k]>>s ^ a[k+s]) & mask
			a[k] ^= t << s
			a[k+s] ^= t
		}
		mask ^= mask << (s >> 1)
	}
}

// columnRuns calls f for the runs of pixels within one column, (x, y0) to
// (x, y1-1), column by column from the left, from top to bottom.
func (m *Mask) columnRuns(f func(x, y0, y1 int)) {
	h := m.box.Dy()
	tall := (h + 63) / 64
	cols := make([]uint64, 64*tall) // 64 columns of h bits
	var block [64]uint64
	for j := range m.wide {
		for t := range tall {
			for i := range block {
				block[i] = 0
				if y := 64*t + i; y < h {
					block[i] = m.bits[y*m.wide+j]
				}
			}
			transpose64(&block)
			for i, w := range block {
				cols[i*tall+t] = w
			}
		}
		for i := range 64 {
			col := cols[i*tall : (i+1)*tall]
			for y := 0; ; {
				a := nextBit(col, y, 0)
				if a == len(col)*64 {
					break
				}
				y = nextBit(col, a, ^uint64(0))
				f(m.x0+64*j+i, m.box.Min.Y+a, m.box.Min.Y+y)
			}
		}
	}
}

// columnWriter sets runs of a column in a Builder. Columns come from left
// to right.
type columnWriter struct {
	b     *Builder
	tall  int
	cols  []uint64 // 64 columns of the hull's height
	word  int      // of the rows that cols stands for
	dirty bool
}

func newColumnWriter(b *Builder) *columnWriter {
	w := &columnWriter{b: b, tall: (b.hull.Dy() + 63) / 64}
	w.cols = make([]uint64, 64*w.tall)
	return w
}

// set adds the pixels (x, y0) to (x, y1-1).
func (w *columnWriter) set(x, y0, y1 int) {
	x -= w.b.x0
	if x>>6 != w.word {
		w.flush()
		w.word = x >> 6
	}
	i := x & 63
	setBits(w.cols[i*w.tall:(i+1)*w.tall], y0-w.b.hull.Min.Y, y1-w.b.hull.Min.Y)
	w.dirty = true
}

// flush writes the columns in hand to the builder.
func (w *columnWriter) flush() {
	if !w.dirty {
		return
	}
	var block [64]uint64
	h := w.b.hull.Dy()
	for t := range w.tall {
		for i := range block {
			block[i] = w.cols[i*w.tall+t]
		}
		transpose64(&block)
		for i, v := range block {
			if y := 64*t + i; y < h {
				w.b.bits[y*w.b.wide+w.word] = v
			}
		}
	}
	clear(w.cols)
	w.dirty = false
}
