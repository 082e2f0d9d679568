package jpeg2000

import (
	"encoding/binary"
	"fmt"
	"sync"
)

// decoder decodes one codestream.
type decoder struct {
	w, h           int // of the picture, reduced
	x0, y0, x1, y1 int // of the picture on the reference grid
	tileW, tileH   int
	tileX, tileY   int // origin of the tiles
	across, down   int // tiles
	comps          []Component
	main           params
	reduce         int
	parts          [][]part // of each tile
	packed         []byte   // packet headers of all tile-parts, with their lengths; nil if they are with the packets
	work           *workspace
}

// part is a tile-part: its bytes behind the first marker segment, and its packet
// headers if the main header has them.
type part struct {
	b       []byte
	headers []byte
}

// workspace is what decoders use again.
type workspace struct {
	block blockDecoder
	bufs  [][]int32
	used  int
	rows  []int32
}

var workspaces = sync.Pool{New: func() any { return new(workspace) }}

// buffer returns n values, which are not cleared.
func (w *workspace) buffer(n int) []int32 {
	if w.used == len(w.bufs) {
		w.bufs = append(w.bufs, nil)
	}
	b := &w.bufs[w.used]
	if cap(*b) < n {
		*b = make([]int32, n)
	}
	w.used++
	return (*b)[:n]
}

// maxKept is the most values that a workspace keeps between codestreams.
const maxKept = 1 << 22

func (d *decoder) release() {
	n := 0
	for _, b := range d.work.bufs {
		n += cap(b)
	}
	if n > maxKept {
		d.work.bufs = nil
	}
	workspaces.Put(d.work)
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// ceilShift is a / 2^n, rounded up.
func ceilShift(a int, n uint) int { return int((int64(a) + 1<<n - 1) >> n) }

// readMain reads the main header. next is where the first tile-part begins.
func readMain(b []byte) (d *decoder, next int, err error) {
	if len(b) < 4 || binary.BigEndian.Uint16(b) != mSOC || binary.BigEndian.Uint16(b[2:]) != mSIZ {
		return nil, 0, fmt.Errorf("no codestream: %w", ErrCorrupt)
	}
	d = &decoder{}
	var ppm packedHeaders
	for p := 2; ; {
		m, seg, next, err := marker(b, p)
		if err != nil {
			return nil, 0, err
		}
		switch {
		case m == mSOT:
			for c := range d.comps {
				if d.main.coding[c].from == 0 || d.main.quant[c].from == 0 {
					return nil, 0, fmt.Errorf("no coding style or quantisation of component %d: %w", c, ErrCorrupt)
				}
			}
			d.packed = ppm.joined
			return d, p, nil
		case m == mSIZ && d.comps == nil:
			err = d.readSIZ(seg)
		case d.comps == nil || m == mSIZ || m == mPLT || m == mPPT:
			err = fmt.Errorf("marker %#x in the main header: %w", m, ErrCorrupt)
		case m == mPPM:
			err = ppm.add(seg)
		case m == mTLM, m == mPLM, m == mCRG, m == mCPF:
		case m == mCAP:
			err = fmt.Errorf("extended capabilities (high throughput): %w", ErrUnsupported)
		default:
			var ok bool
			if ok, err = d.parameter(&d.main, m, seg, false); !ok {
				err = fmt.Errorf("marker %#x: %w", m, ErrUnsupported)
			}
		}
		if err != nil {
			return nil, 0, err
		}
		p = next
	}
}

// readSIZ reads sizes and components.
func (d *decoder) readSIZ(seg []byte) error {
	if len(seg) < 36 {
		return bad("SIZ", seg)
	}
	var v [8]int
	for k := range v {
		u := binary.BigEndian.Uint32(seg[2+4*k:])
		if u > maxCoord {
			if k != 4 && k != 5 {
				return fmt.Errorf("size or origin of %d: %w", u, ErrUnsupported)
			}
			u = maxCoord // a tile larger than any picture
		}
		v[k] = int(u)
	}
	d.x1, d.y1, d.x0, d.y0, d.tileW, d.tileH, d.tileX, d.tileY = v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
	if d.x0 >= d.x1 || d.y0 >= d.y1 || d.tileX > d.x0 || d.tileY > d.y0 || d.tileW == 0 || d.tileH == 0 ||
		d.tileX+d.tileW <= d.x0 || d.tileY+d.tileH <= d.y0 {
		return fmt.Errorf("picture from (%d, %d) to (%d, %d), tiles of %d x %d from (%d, %d): %w", d.x0, d.y0, d.x1, d.y1, d.tileW, d.tileH, d.tileX, d.tileY, ErrCorrupt)
	}
	d.across, d.down = ceilDiv(d.x1-d.tileX, d.tileW), ceilDiv(d.y1-d.tileY, d.tileH)
	n := int(binary.BigEndian.Uint16(seg[34:]))
	if n == 0 || len(seg) != 36+3*n {
		return bad("SIZ", seg)
	}
	if n > maxComps {
		return fmt.Errorf("%d components, over %d: %w", n, maxComps, ErrUnsupported)
	}
	if int64(d.across)*int64(d.down) > 65535 {
		return fmt.Errorf("%d x %d tiles: %w", d.across, d.down, ErrCorrupt)
	}
	d.comps = make([]Component, n)
	for i := range d.comps {
		s := seg[36+3*i:]
		c := Component{Bits: int(s[0]&0x7f) + 1, Signed: s[0]&0x80 != 0, DX: int(s[1]), DY: int(s[2])}
		if c.Bits > 38 || c.DX == 0 || c.DY == 0 {
			return fmt.Errorf("component %d of %d bits, every %d x %d: %w", i, c.Bits, c.DX, c.DY, ErrCorrupt)
		}
		d.comps[i] = c
	}
	d.main = params{coding: make([]coding, n), quant: make([]quantisation, n), roi: make([]uint8, n), roiFrom: make([]int, n)}
	return nil
}

func (d *decoder) header() Header {
	h := Header{W: d.x1 - d.x0, H: d.y1 - d.y0, Components: d.comps, Tiles: d.across * d.down, Levels: maxLevels,
		Layers: d.main.layers, MCT: d.main.mct, Reversible: d.main.coding[0].reversible}
	for _, k := range d.main.coding {
		h.Levels = min(h.Levels, k.levels)
	}
	return h
}

// newDecoder reads all headers and checks the sizes.
func newDecoder(b []byte, o Options) (*decoder, error) {
	d, p, err := readMain(b)
	if err != nil {
		return nil, err
	}
	if h := d.header(); o.Reduce < 0 || o.Reduce > h.Levels {
		return nil, fmt.Errorf("%d of %d wavelet levels left out: %w", o.Reduce, h.Levels, ErrUnsupported)
	}
	d.reduce = o.Reduce
	var n int64
	for c := range d.comps {
		if d.comps[c].Bits > maxBits {
			return nil, fmt.Errorf("component %d of %d bits, over %d: %w", c, d.comps[c].Bits, maxBits, ErrUnsupported)
		}
		x0, y0, x1, y1 := d.area(c)
		if x0 >= x1 || y0 >= y1 {
			return nil, fmt.Errorf("component %d has no samples: %w", c, ErrCorrupt)
		}
		if n += int64(x1-x0) * int64(y1-y0); n > maxSamples {
			return nil, fmt.Errorf("picture of %d x %d, %d components, over the limit of %d samples: %w", d.x1-d.x0, d.y1-d.y0, len(d.comps), maxSamples, ErrUnsupported)
		}
	}
	// The picture's own size must be bounded too: components may be sparse.
	r := uint(d.reduce)
	d.w, d.h = ceilShift(d.x1, r)-ceilShift(d.x0, r), ceilShift(d.y1, r)-ceilShift(d.y0, r)
	if d.w < 1 || d.h < 1 || int64(d.w)*int64(d.h) > maxSamples {
		return nil, fmt.Errorf("picture of %d x %d, over the limit of %d samples: %w", d.w, d.h, maxSamples, ErrUnsupported)
	}
	if n := d.across * d.down; n > len(b)/14 {
		return nil, fmt.Errorf("%d tiles in %d bytes: %w", n, len(b), ErrCorrupt)
	}
	d.parts = make([][]part, d.across*d.down)
	if err := d.readParts(b, p); err != nil {
		return nil, err
	}
	d.work = workspaces.Get().(*workspace)
	return d, nil
}

// area is the place of component c on its own grid, reduced.
func (d *decoder) area(c int) (x0, y0, x1, y1 int) {
	k, r := d.comps[c], uint(d.reduce)
	return ceilShift(ceilDiv(d.x0, k.DX), r), ceilShift(ceilDiv(d.y0, k.DY), r), ceilShift(ceilDiv(d.x1, k.DX), r), ceilShift(ceilDiv(d.y1, k.DY), r)
}

// readParts reads the headers of all tile-parts, from byte p on.
func (d *decoder) readParts(b []byte, p int) error {
	for seen := 0; ; {
		// The end marker may be missing; what follows it is not looked at.
		if p+2 > len(b) || binary.BigEndian.Uint16(b[p:]) == mEOC {
			if seen < len(d.parts) {
				return fmt.Errorf("%d tiles of %d: %w", seen, len(d.parts), ErrCorrupt)
			}
			return nil
		}
		m, seg, next, err := marker(b, p)
		if err != nil {
			return err
		}
		if m != mSOT || len(seg) != 8 {
			return fmt.Errorf("marker %#x of %d bytes, want a tile-part: %w", m, len(seg), ErrCorrupt)
		}
		i, length, number := int(binary.BigEndian.Uint16(seg)), int64(binary.BigEndian.Uint32(seg[2:])), int(seg[6])
		if i >= len(d.parts) {
			return fmt.Errorf("tile %d of %d: %w", i, len(d.parts), ErrCorrupt)
		}
		end := int64(p) + length
		if length == 0 { // the last one
			end = int64(len(b))
			if e := len(b) - 2; e >= next && binary.BigEndian.Uint16(b[e:]) == mEOC {
				end = int64(e)
			}
		}
		if end > int64(len(b)) || end < int64(next)+2 {
			return fmt.Errorf("tile-part of %d bytes at byte %d of %d: %w", length, p, len(b), ErrCorrupt)
		}
		if number != len(d.parts[i]) { // OpenJPEG counts on past 255, and loses packets
			return fmt.Errorf("part %d of tile %d, want %d: %w", number, i, len(d.parts[i]), ErrCorrupt)
		}
		if d.parts[i] == nil {
			seen++
		}
		t := part{b: b[next:end:end]}
		if d.packed != nil {
			if t.headers, d.packed, err = cutHeaders(d.packed); err != nil {
				return err
			}
		}
		d.parts[i] = append(d.parts[i], t)
		p = int(end)
	}
}

// cutHeaders takes the packet headers of the next tile-part off.
func cutHeaders(b []byte) (headers, rest []byte, err error) {
	if len(b) < 4 || int64(binary.BigEndian.Uint32(b)) > int64(len(b)-4) {
		return nil, nil, fmt.Errorf("packed packet headers end early: %w", ErrCorrupt)
	}
	n := 4 + int(binary.BigEndian.Uint32(b))
	return b[4:n:n], b[n:], nil
}

// tileData is what the tile-parts of a tile hold.
type tileData struct {
	p       params
	packets []byte
	headers []byte // packet headers if they are apart
	apart   bool
}

// readTile reads the headers of the parts of tile i.
func (d *decoder) readTile(i int) (*tileData, error) {
	t := &tileData{p: d.main.clone()}
	for _, part := range d.parts[i] {
		b, p := part.b, 0
		var ppt packedHeaders
		for p+2 > len(b) || binary.BigEndian.Uint16(b[p:]) != mSOD {
			m, seg, next, err := marker(b, p)
			if err != nil {
				return nil, err
			}
			ok := true
			if m == mPPT {
				err = ppt.add(seg)
			} else if ok, err = d.parameter(&t.p, m, seg, true); !ok {
				err = fmt.Errorf("marker %#x in a tile-part: %w", m, ErrUnsupported)
			}
			if err != nil {
				return nil, err
			}
			p = next
		}
		if b = b[p+2:]; len(t.packets) == 0 {
			t.packets = b
		} else {
			t.packets = append(t.packets[:len(t.packets):len(t.packets)], b...)
		}
		t.apart = t.apart || ppt.joined != nil || part.headers != nil
		t.headers = append(append(t.headers, part.headers...), ppt.joined...)
	}
	return t, nil
}

// packedHeaders joins the segments of a PPM or PPT marker, which are numbered.
type packedHeaders struct {
	n      int
	joined []byte
}

func (h *packedHeaders) add(seg []byte) error {
	if len(seg) < 1 || int(seg[0]) != h.n {
		return fmt.Errorf("packed packet headers out of order: %w", ErrCorrupt)
	}
	if h.n == 0 {
		h.joined = []byte{} // even of nothing
	}
	h.n++
	h.joined = append(h.joined, seg[1:]...)
	return nil
}
