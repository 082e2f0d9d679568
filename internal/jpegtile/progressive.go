package jpegtile

import "fmt"

// maxScans bounds the scans of a progressive file: writers make ten or so, and
// each may visit every block for a few bytes.
const maxScans = 100

// pass is one scan of a progressive file: coefficients lo to hi of the zigzag
// order, their bits from low up, or the bit low alone where refine is set.
type pass struct {
	lo, hi int
	low    uint
	refine bool
	run    int // blocks that end before lo, still to come
}

// newPass reads the last three bytes of a scan header of n components.
func newPass(b []byte, n int) (pass, error) {
	p := pass{lo: int(b[0]), hi: int(b[1]), low: uint(b[2] & 15), refine: b[2]>>4 != 0}
	ok := p.lo == 0 && p.hi == 0 || p.lo > 0 && p.lo <= p.hi && p.hi < 64 && n == 1
	if !ok || p.low > 13 || p.refine && uint(b[2]>>4) != p.low+1 {
		return p, fmt.Errorf("scan of coefficients %d to %d, bits %#x: %w", b[0], b[1], b[2], ErrCorrupt)
	}
	return p, nil
}

// progressive decodes a scan of mx x my MCUs into coefficients.
func (d *decoder) progressive(b []byte, at int, parts []scanPart, p pass, mx, my int) (int, error) {
	if d.scans++; d.scans > maxScans {
		return 0, fmt.Errorf("more than %d scans: %w", maxScans, ErrUnsupported)
	}
	r := bits{b: b, p: at}
	left, rst := d.restart, byte(0)
	for i := 0; i < mx*my; i++ {
		if d.restart > 0 && left == 0 {
			if err := r.restart(rst); err != nil {
				return 0, err
			}
			rst, left = (rst+1)&7, d.restart
			p.run = 0
			for k := range parts {
				parts[k].pred = 0
			}
		}
		if p.run > 0 && !p.refine { // nothing comes for these blocks
			n := min(p.run, mx*my-i)
			if d.restart > 0 {
				n = min(n, left)
			}
			p.run, left, i = p.run-n, left-n, i+n-1
			continue
		}
		left--
		for k := range parts {
			if err := parts[k].coefficients(&r, &p, i%mx, i/mx); err != nil {
				return 0, fmt.Errorf("block row %d: %w", i/mx, err)
			}
		}
		if r.exhausted() {
			return 0, fmt.Errorf("data ends in block row %d of %d: %w", i/mx, my, ErrCorrupt)
		}
	}
	return r.marker(), nil
}

// coefficients decodes the blocks of one component in the MCU (x, y).
func (s *scanPart) coefficients(r *bits, p *pass, x, y int) error {
	for v := range s.ny {
		for h := range s.nx {
			n := (y*s.ny+v)*(s.c.stride/8) + x*s.nx + h
			blk, end := s.c.coef[64*n:64*n+64:64*n+64], &s.c.ends[n]
			var err error
			switch {
			case p.lo == 0 && p.refine:
				blk[0] |= int16(r.bit() << p.low)
			case p.lo == 0:
				err = s.first(r, p, blk)
			case p.refine:
				err = s.refine(r, p, blk, end)
			default:
				err = s.band(r, p, blk, end)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// first decodes the upper bits of a block's mean.
func (s *scanPart) first(r *bits, p *pass, blk []int16) error {
	t, err := s.dc.next(r)
	if err != nil {
		return err
	}
	if t > 15 {
		return fmt.Errorf("no such code: %w", ErrCorrupt)
	}
	if t > 0 {
		s.pred += r.receive(int(t))
	}
	blk[0] = int16(s.pred << p.low)
	return nil
}

// band decodes the upper bits of the other coefficients.
func (s *scanPart) band(r *bits, p *pass, blk []int16, end *uint8) error {
	for k := p.lo; k <= p.hi; k++ {
		rs, err := s.ac.next(r)
		if err != nil {
			return err
		}
		zeros, size := int(rs>>4), int(rs&15)
		if size == 0 {
			if zeros < 15 {
				p.run = r.run(zeros) - 1 // this block is the first
				return nil
			}
			k += 15
			continue
		}
		if k += zeros; k > p.hi {
			return fmt.Errorf("run past the end of a block: %w", ErrCorrupt)
		}
		blk[k] = int16(r.receive(size) << p.low)
		*end = max(*end, uint8(k))
	}
	return nil
}

// refine decodes the bit p.low of the other coefficients.
func (s *scanPart) refine(r *bits, p *pass, blk []int16, end *uint8) error {
	one := int16(1) << p.low
	k := p.lo
	for p.run == 0 && k <= p.hi {
		rs, err := s.ac.next(r)
		if err != nil {
			return err
		}
		zeros, fresh := int(rs>>4), int16(0)
		switch {
		case rs&15 != 0:
			if fresh = one; r.bit() == 0 {
				fresh = -one
			}
		case zeros < 15:
			p.run = r.run(zeros)
			continue
		}
		// Coefficients that have come before take a bit each on the way past
		// as many that have not.
		for ; k <= p.hi; k++ {
			if blk[k] == 0 {
				if zeros == 0 {
					break
				}
				zeros--
				continue
			}
			r.correct(&blk[k], one)
		}
		if fresh != 0 {
			if k > p.hi {
				return fmt.Errorf("run past the end of a block: %w", ErrCorrupt)
			}
			blk[k] = fresh
			*end = max(*end, uint8(k))
		}
		k++
	}
	if p.run > 0 {
		for ; k <= min(p.hi, int(*end)); k++ {
			if blk[k] != 0 {
				r.correct(&blk[k], one)
			}
		}
		p.run--
	}
	return nil
}

// correct reads the next bit of a coefficient that is not zero.
func (r *bits) correct(c *int16, one int16) {
	if r.bit() == 0 || *c&one != 0 {
		return
	}
	if *c < 0 {
		one = -one
	}
	*c += one
}

// run reads how many blocks end here, of which n bits are in the data.
func (r *bits) run(n int) int {
	v := 1 << n
	for ; n > 0; n-- {
		v += int(r.bit()) << (n - 1)
	}
	return v
}

// bit reads one bit.
func (r *bits) bit() uint64 {
	if r.n < 1 {
		r.fill()
	}
	v := r.acc >> 63
	r.acc <<= 1
	r.n--
	return v
}

// next decodes one symbol.
func (h *huffman) next(r *bits) (byte, error) {
	if h == nil {
		return 0, fmt.Errorf("a table of Huffman codes is missing: %w", ErrCorrupt)
	}
	if r.n < 32 {
		r.fill()
	}
	v, ok := h.symbol(r)
	if !ok {
		return 0, fmt.Errorf("no such code: %w", ErrCorrupt)
	}
	return v, nil
}

// transform makes samples of a progressive picture's coefficients.
func (d *decoder) transform() error {
	for i := range d.comps {
		c := &d.comps[i]
		if c.table == nil {
			return fmt.Errorf("component %d: its quantisation table is missing: %w", c.id, ErrCorrupt)
		}
		c.pix = make([]byte, c.stride*c.blocks*8)
		var blk [64]int32
		for n, end := range c.ends {
			clear(blk[:])
			for k, v := range c.coef[64*n : 64*n+int(end)+1] {
				blk[zigzag[k]] = int32(v) * c.table[k]
			}
			idct(c.pix[n/(c.stride/8)*8*c.stride+n%(c.stride/8)*8:], c.stride, &blk, int(end))
		}
		c.coef, c.ends = nil, nil
	}
	return nil
}
