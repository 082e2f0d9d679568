package jpegtile

import "fmt"

const lookBits = 10

// huffman is a code table: a look-up for codes of up to lookBits bits, and
// the canonical limits for longer ones.
type huffman struct {
	look   [1 << lookBits]uint16 // length<<8 | symbol, 0 if longer
	max    [18]int32             // largest code of each length, -1 if none
	offset [17]int32             // index of its symbol minus the code
	vals   []byte
}

// readDHT reads Huffman tables.
func (t *Tables) readDHT(seg []byte) error {
	for len(seg) > 0 {
		if len(seg) < 17 {
			return fmt.Errorf("table of Huffman codes of %d bytes: %w", len(seg), ErrCorrupt)
		}
		class, id := seg[0]>>4, seg[0]&15
		n := 0
		for _, c := range seg[1:17] {
			n += int(c)
		}
		if class > 1 || id > 3 || n > 256 || len(seg) < 17+n {
			return fmt.Errorf("table of Huffman codes: %w", ErrCorrupt)
		}
		h, err := newHuffman(seg[1:17], seg[17:17+n])
		if err != nil {
			return err
		}
		t.huff[class][id] = h
		seg = seg[17+n:]
	}
	return nil
}

func newHuffman(counts, vals []byte) (*huffman, error) {
	h := &huffman{vals: append([]byte{}, vals...)}
	code, k := int32(0), int32(0)
	for n := 1; n <= 16; n++ {
		h.max[n] = -1
		c := int32(counts[n-1])
		if code+c > 1<<n {
			return nil, fmt.Errorf("table with too many Huffman codes of %d bits: %w", n, ErrCorrupt)
		}
		h.offset[n] = k - code
		for range c {
			if n <= lookBits {
				e := uint16(n)<<8 | uint16(vals[k])
				for i := code << (lookBits - n); i < (code+1)<<(lookBits-n); i++ {
					h.look[i] = e
				}
			}
			code++
			k++
		}
		if c > 0 {
			h.max[n] = code - 1
		}
		code <<= 1
	}
	h.max[17] = 1<<31 - 1
	return h, nil
}

// bits reads entropy-coded data: most significant bit first, stuffed zero
// bytes dropped, stopping at a marker. After the end it gives zeros and
// counts them.
type bits struct {
	b    []byte
	p    int
	acc  uint64 // the next bits, left-aligned
	n    int    // how many are there
	over int    // zero bits given past the end
}

// fill makes at least 48 bits available.
func (r *bits) fill() {
	for r.n <= 56 {
		if r.p < len(r.b) {
			c := r.b[r.p]
			if c != 0xff {
				r.acc |= uint64(c) << (56 - r.n)
				r.n += 8
				r.p++
				continue
			}
			if r.p+1 < len(r.b) && r.b[r.p+1] == 0 {
				r.acc |= 0xff << (56 - r.n)
				r.n += 8
				r.p += 2
				continue
			}
		}
		r.n += 8
		r.over += 8
	}
}

// exhausted reports whether more than the padding of the last byte, and a
// little grace for writers that leave out the end, was read past the data.
func (r *bits) exhausted() bool { return r.over-r.n > 16 }

// symbol decodes one symbol; ok is false if no code matches. At least 16
// bits must be there.
func (h *huffman) symbol(r *bits) (v byte, ok bool) {
	if e := h.look[r.acc>>(64-lookBits)]; e != 0 {
		n := int(e >> 8)
		r.acc <<= n
		r.n -= n
		return byte(e), true
	}
	for n := lookBits + 1; n <= 16; n++ {
		if code := int32(r.acc >> (64 - n)); code <= h.max[n] {
			r.acc <<= n
			r.n -= n
			return h.vals[code+h.offset[n]], true
		}
	}
	return 0, false
}

// receive reads an n-bit value in JPEG's signed form, n up to 15.
func (r *bits) receive(n int) int32 {
	v := int32(r.acc >> (64 - n))
	r.acc <<= n
	r.n -= n
	if v < 1<<(n-1) {
		v += -1<<n + 1
	}
	return v
}
