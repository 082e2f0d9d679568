package jpegtile

import (
	"encoding/binary"
	"fmt"
)

// zigzag maps the coded order to rows of eight.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
}

// component is one plane.
type component struct {
	id, q          byte
	h, v           int // sampling factors
	w, hgt         int // size in samples
	stride, blocks int // row length and block rows, whole MCUs
	pix            []byte
	seen           bool
	coef           []int16    // of a progressive file: 64 a block, zigzag order
	ends           []uint8    // the last coefficient of each block that is not zero
	table          *[64]int32 // of quantisation, as the first scan had it
}

type decoder struct {
	Tables
	w, h       int
	hmax, vmax int
	mcuX, mcuY int
	comps      []component
	restart    int
	said       marks
	scans      int
}

// Decode decodes a picture to RGBA [h, w, 4]. Tables inside b replace those
// of t. The result is the caller's.
func (t *Tables) Decode(b []byte, c Color) (pix []byte, w, h int, err error) {
	if len(b) < 4 || b[0] != 0xff || b[1] != mSOI {
		return nil, 0, 0, fmt.Errorf("jpegtile: no start marker: %w", ErrCorrupt)
	}
	d := decoder{}
	if t != nil {
		d.quant, d.huff = t.quant, t.huff
	}
	err = d.run(b)
	if err == nil && d.comps[0].coef != nil {
		err = d.transform()
	}
	if err != nil {
		return nil, 0, 0, fmt.Errorf("jpegtile: %w", err)
	}
	if c == Auto {
		if c = d.said.color(); c == Auto {
			c = YCbCr
		}
	}
	return d.rgba(c), d.w, d.h, nil
}

// run reads all segments and scans up to the end marker.
func (d *decoder) run(b []byte) error {
	for p := 2; ; {
		m, seg, next, err := segment(b, p)
		if err != nil {
			if d.complete() && d.comps[0].coef == nil {
				return nil // data behind the last scan is not ours
			} // of a progressive file nobody knows which scan is the last
			return err
		}
		d.said.read(m, seg)
		switch {
		case m == mEOI:
			if !d.complete() {
				return fmt.Errorf("ends before all components: %w", ErrCorrupt)
			}
			return nil
		case m == mDQT:
			err = d.readDQT(seg)
		case m == mDHT:
			err = d.readDHT(seg)
		case m == mDRI:
			if len(seg) < 2 {
				return fmt.Errorf("restart interval: %w", ErrCorrupt)
			}
			d.restart = int(binary.BigEndian.Uint16(seg))
		case isSOF(m):
			err = d.readSOF(m, seg, len(b))
		case m == mSOS:
			next, err = d.scan(b, next, seg)
		}
		if err != nil {
			return err
		}
		p = next
	}
}

// complete reports whether every component has had its scan.
func (d *decoder) complete() bool {
	for _, c := range d.comps {
		if !c.seen {
			return false
		}
	}
	return len(d.comps) > 0
}

// readSOF reads the frame header and allocates the planes.
func (d *decoder) readSOF(m byte, seg []byte, size int) error {
	if d.comps != nil || len(seg) < 6 {
		return fmt.Errorf("frame header: %w", ErrCorrupt)
	}
	if m > mSOF2 {
		return fmt.Errorf("%s (save the picture as baseline JPEG, PNG or TIFF): %w", codings[m], ErrUnsupported)
	}
	if seg[0] != 8 {
		return fmt.Errorf("samples of %d bits (save the picture as PNG or TIFF): %w", seg[0], ErrUnsupported)
	}
	d.h, d.w = int(binary.BigEndian.Uint16(seg[1:])), int(binary.BigEndian.Uint16(seg[3:]))
	n := int(seg[5])
	if n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%d components: %w", n, ErrUnsupported)
	}
	if d.w == 0 || d.h == 0 || len(seg) != 6+3*n {
		return fmt.Errorf("frame of %d x %d: %w", d.w, d.h, ErrCorrupt)
	}
	d.hmax, d.vmax = 1, 1
	comps := make([]component, n)
	for i := range comps {
		s := seg[6+3*i:]
		c := component{id: s[0], h: int(s[1] >> 4), v: int(s[1] & 15), q: s[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.q > 3 {
			return fmt.Errorf("component %d: %w", i, ErrCorrupt)
		}
		if n == 1 {
			c.h, c.v = 1, 1 // the factors of a single component mean nothing
		}
		d.hmax, d.vmax = max(d.hmax, c.h), max(d.vmax, c.v)
		comps[i] = c
	}
	d.mcuX, d.mcuY = (d.w-1)/(8*d.hmax)+1, (d.h-1)/(8*d.vmax)+1
	// A block takes two codes, each at least one bit; in a progressive file one.
	blocks, perByte := 0, 4
	if m == mSOF2 {
		perByte = 8
	}
	for i := range comps {
		c := &comps[i]
		if d.hmax%c.h != 0 || d.vmax%c.v != 0 {
			return fmt.Errorf("sampling factors %d of %d and %d of %d: %w", c.h, d.hmax, c.v, d.vmax, ErrUnsupported)
		}
		c.w, c.hgt = (d.w*c.h-1)/d.hmax+1, (d.h*c.v-1)/d.vmax+1
		c.stride, c.blocks = d.mcuX*c.h*8, d.mcuY*c.v
		blocks += c.stride / 8 * c.blocks
	}
	if blocks/perByte > size {
		return fmt.Errorf("%d bytes cannot hold %d x %d: %w", size, d.w, d.h, ErrCorrupt)
	}
	if d.w*d.h > maxPixels {
		return fmt.Errorf("frame of %d x %d, over %d pixels: %w", d.w, d.h, maxPixels, ErrUnsupported)
	}
	for i := range comps {
		c := &comps[i]
		if m == mSOF2 {
			c.coef = make([]int16, c.stride*c.blocks*8)
			c.ends = make([]uint8, c.stride/8*c.blocks)
		} else {
			c.pix = make([]byte, c.stride*c.blocks*8)
		}
	}
	d.comps = comps
	return nil
}

// codings names the processes that are not read, by their frame's marker.
var codings = map[byte]string{
	0xc3: "lossless JPEG", 0xc5: "hierarchical JPEG", 0xc6: "hierarchical JPEG", 0xc7: "hierarchical lossless JPEG",
	0xc9: "arithmetic coding", 0xca: "arithmetic coding", 0xcb: "arithmetic lossless coding",
	0xcd: "arithmetic hierarchical coding", 0xce: "arithmetic hierarchical coding", 0xcf: "arithmetic hierarchical coding",
}

// scanPart is one component of a scan.
type scanPart struct {
	c      *component
	dc, ac *huffman
	q      *[64]int32
	pred   int32
	nx, ny int // blocks across and down an MCU
}

// scan decodes the scan whose header is seg and whose data begins at p. It
// returns where the next marker is.
func (d *decoder) scan(b []byte, p int, seg []byte) (int, error) {
	if d.comps == nil || len(seg) < 1 || len(seg) != 4+2*int(seg[0]) || seg[0] < 1 || int(seg[0]) > len(d.comps) {
		return 0, fmt.Errorf("scan header: %w", ErrCorrupt)
	}
	n := int(seg[0])
	parts := make([]scanPart, n)
	for i := range parts {
		id, tabs := seg[1+2*i], seg[2+2*i]
		s := &parts[i]
		for k := range d.comps {
			if c := &d.comps[k]; c.id == id && (c.coef != nil || !c.seen) {
				s.c = c
				break
			}
		}
		if s.c == nil || tabs>>4 > 3 || tabs&15 > 3 {
			return 0, fmt.Errorf("scan of component %d: %w", id, ErrCorrupt)
		}
		if !s.c.seen {
			s.c.seen, s.c.table = true, d.quant[s.c.q]
		}
		s.dc, s.ac, s.q = d.huff[0][tabs>>4], d.huff[1][tabs&15], s.c.table
		if s.c.coef == nil && (s.dc == nil || s.ac == nil || s.q == nil) {
			return 0, fmt.Errorf("component %d: its tables are missing: %w", id, ErrCorrupt)
		}
		s.nx, s.ny = s.c.h, s.c.v
	}
	mx, my := d.mcuX, d.mcuY
	if n == 1 { // not interleaved: one block an MCU, only those of the picture
		s := &parts[0]
		s.nx, s.ny = 1, 1
		mx, my = (s.c.w-1)/8+1, (s.c.hgt-1)/8+1
	}
	t := seg[1+2*n:]
	if d.comps[0].coef != nil {
		ps, err := newPass(t, n)
		if err != nil {
			return 0, err
		}
		return d.progressive(b, p, parts, ps, mx, my)
	}
	if t[0] != 0 || t[1] != 63 || t[2] != 0 {
		return 0, fmt.Errorf("scan of coefficients %d to %d: %w", t[0], t[1], ErrCorrupt)
	}
	r := bits{b: b, p: p}
	left, rst := d.restart, byte(0)
	for y := range my {
		for x := range mx {
			if d.restart > 0 && left == 0 {
				if err := r.restart(rst); err != nil {
					return 0, err
				}
				rst, left = (rst+1)&7, d.restart
				for i := range parts {
					parts[i].pred = 0
				}
			}
			left--
			if err := decodeMCU(&r, parts, x, y); err != nil {
				return 0, fmt.Errorf("block row %d: %w", y, err)
			}
		}
		if r.exhausted() {
			return 0, fmt.Errorf("data ends in block row %d of %d: %w", y, my, ErrCorrupt)
		}
	}
	return r.marker(), nil
}

func decodeMCU(r *bits, parts []scanPart, x, y int) error {
	for i := range parts {
		s := &parts[i]
		for v := range s.ny {
			for h := range s.nx {
				var blk [64]int32
				last, err := s.block(r, &blk)
				if err != nil {
					return err
				}
				off := (y*s.ny+v)*8*s.c.stride + (x*s.nx+h)*8
				idct(s.c.pix[off:], s.c.stride, &blk, last)
			}
		}
	}
	return nil
}

// block decodes and dequantises one block. last is the zigzag index of the
// last coefficient that is not zero.
func (s *scanPart) block(r *bits, blk *[64]int32) (last int, err error) {
	if r.n < 32 {
		r.fill()
	}
	t, ok := s.dc.symbol(r)
	if !ok || t > 15 {
		return 0, fmt.Errorf("no such code: %w", ErrCorrupt)
	}
	if t > 0 {
		s.pred += r.receive(int(t))
	}
	q := s.q
	blk[0] = s.pred * q[0]
	ac := s.ac
	for k := 1; k < 64; k++ {
		if r.n < 32 {
			r.fill()
		}
		var rs byte
		if e := ac.look[r.acc>>(64-lookBits)]; e != 0 {
			r.acc <<= e >> 8
			r.n -= int(e >> 8)
			rs = byte(e)
		} else if rs, ok = ac.symbol(r); !ok {
			return 0, fmt.Errorf("no such code: %w", ErrCorrupt)
		}
		size := int(rs & 15)
		if size == 0 {
			if rs != 0xf0 {
				break
			}
			k += 15
			continue
		}
		k += int(rs >> 4)
		if k > 63 {
			return 0, fmt.Errorf("run past the end of a block: %w", ErrCorrupt)
		}
		blk[zigzag[k]&63] = r.receive(size) * q[k&63]
		last = k
	}
	return last, nil
}

// restart goes to the data behind the next restart marker, which must be
// number want.
func (r *bits) restart(want byte) error {
	p := r.marker()
	for p+1 < len(r.b) && r.b[p+1] == 0xff {
		p++
	}
	if r.exhausted() || p+1 >= len(r.b) || r.b[p+1] != 0xd0+want {
		return fmt.Errorf("restart marker %d is missing: %w", want, ErrCorrupt)
	}
	*r = bits{b: r.b, p: p + 2}
	return nil
}

// marker returns where the first marker at or behind the data read so far
// is, len(b) if there is none.
func (r *bits) marker() int {
	for p := r.p; p+1 < len(r.b); p++ {
		if r.b[p] == 0xff && r.b[p+1] != 0 {
			return p
		}
	}
	return len(r.b)
}
