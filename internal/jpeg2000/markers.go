package jpeg2000

import (
	"encoding/binary"
	"fmt"
)

// Markers of a codestream (T.800, table A.2).
const (
	mSOC, mSOT, mSOD, mEOC       = 0xff4f, 0xff90, 0xff93, 0xffd9
	mCAP, mSIZ, mCOD, mCOC       = 0xff50, 0xff51, 0xff52, 0xff53
	mTLM, mPLM, mPLT, mCPF, mQCD = 0xff55, 0xff57, 0xff58, 0xff59, 0xff5c
	mQCC, mRGN, mPOC             = 0xff5d, 0xff5e, 0xff5f
	mPPM, mPPT, mCRG, mCOM       = 0xff60, 0xff61, 0xff63, 0xff64
	mSOP, mEPH                   = 0xff91, 0xff92
)

// The progressions: what changes fastest stands last.
const (
	orderLRCP = iota
	orderRLCP
	orderRPCL
	orderPCRL
	orderCPRL
)

const (
	maxLevels  = 32
	maxBits    = 24 // of a component: float32 has no more
	maxComps   = 1 << 8
	maxCoord   = 1<<31 - 1
	maxChanges = 32 // of the progression
)

// Where a parameter was set; later ones beat earlier ones.
const (
	fromMain = 1 + iota
	fromMainComponent
	fromTile
	fromTileComponent
)

// coding is how a component's coefficients are coded.
type coding struct {
	from                 int
	levels               int
	blockW, blockH       uint // log2
	style                uint8
	reversible           bool
	precinctW, precinctH [maxLevels + 1]uint8 // log2, by resolution
}

// quantisation is a component's step sizes.
type quantisation struct {
	from  int
	style uint8 // 0 none, 1 derived from the first, 2 one for each subband
	guard int
	steps [3*maxLevels + 1]uint16 // exponent<<11 | mantissa
	n     int
}

// change is one progression of several.
type change struct {
	res0, res1, comp0, comp1, layers int
	order                            uint8
}

// params are the parameters of a tile.
type params struct {
	order     uint8
	layers    int
	mct       bool
	coding    []coding
	quant     []quantisation
	roi       []uint8 // bits that the region of interest was shifted by
	roiFrom   []int
	changes   []change
	changesIn bool // of the tile itself
}

func (p *params) clone() params {
	q := *p
	q.coding = append([]coding(nil), p.coding...)
	q.quant = append([]quantisation(nil), p.quant...)
	q.roi = append([]uint8(nil), p.roi...)
	q.roiFrom = append([]int(nil), p.roiFrom...)
	return q
}

// marker reads the marker segment at p: its payload and where the next begins.
func marker(b []byte, p int) (m uint16, seg []byte, next int, err error) {
	if p+4 > len(b) {
		return 0, nil, 0, fmt.Errorf("headers cut short: %w", ErrCorrupt)
	}
	m = binary.BigEndian.Uint16(b[p:])
	if m < 0xff00 {
		return 0, nil, 0, fmt.Errorf("no marker at byte %d: %w", p, ErrCorrupt)
	}
	n := int(binary.BigEndian.Uint16(b[p+2:]))
	if n < 2 || p+2+n > len(b) {
		return 0, nil, 0, fmt.Errorf("marker %#x of %d bytes, %d left: %w", m, n, len(b)-p-2, ErrCorrupt)
	}
	return m, b[p+4 : p+2+n], p + 2 + n, nil
}

// bad is the error for a marker segment that lacks bytes or has bad values.
func bad(name string, seg []byte) error {
	return fmt.Errorf("%s segment of %d bytes: %w", name, len(seg), ErrCorrupt)
}

// index reads the number of a component, of one or two bytes.
func (d *decoder) index(seg []byte) (c int, rest []byte, ok bool) {
	n := 1
	if len(d.comps) > 256 {
		n = 2
	}
	if len(seg) < n {
		return 0, nil, false
	}
	for _, v := range seg[:n] {
		c = c<<8 | int(v)
	}
	return c, seg[n:], true
}

// parameter reads a segment that main and tile headers share. ok is false if it
// is none of those.
func (d *decoder) parameter(p *params, m uint16, seg []byte, tile bool) (ok bool, err error) {
	all, one := fromMain, fromMainComponent
	if tile {
		all, one = fromTile, fromTileComponent
	}
	switch m {
	case mCOD:
		return true, d.readCOD(p, seg, all)
	case mCOC:
		c, rest, ok := d.index(seg)
		if !ok || c >= len(d.comps) || len(rest) < 1 {
			return true, bad("COC", seg)
		}
		k, err := readCoding(rest[1:], rest[0]&1 != 0, one)
		if err == nil && k.from >= p.coding[c].from {
			p.coding[c] = k
		}
		return true, err
	case mQCD:
		q, err := readQuantisation(seg, all)
		for c := range p.quant {
			if err == nil && q.from >= p.quant[c].from {
				p.quant[c] = q
			}
		}
		return true, err
	case mQCC:
		c, rest, ok := d.index(seg)
		if !ok || c >= len(d.comps) {
			return true, bad("QCC", seg)
		}
		q, err := readQuantisation(rest, one)
		if err == nil && q.from >= p.quant[c].from {
			p.quant[c] = q
		}
		return true, err
	case mRGN:
		c, rest, ok := d.index(seg)
		if !ok || c >= len(d.comps) || len(rest) < 2 || rest[0] != 0 {
			return true, bad("RGN", seg)
		}
		if one >= p.roiFrom[c] {
			p.roi[c], p.roiFrom[c] = rest[1], one
		}
		return true, nil
	case mPOC:
		return true, d.readPOC(p, seg, tile)
	case mCOM, mPLT:
		return true, nil
	}
	return false, nil
}

// readCOD reads the coding style of all components.
func (d *decoder) readCOD(p *params, seg []byte, from int) error {
	if len(seg) < 10 {
		return bad("COD", seg)
	}
	p.order, p.layers, p.mct = seg[1], int(binary.BigEndian.Uint16(seg[2:])), seg[4] != 0
	if p.order > orderCPRL || p.layers == 0 || seg[4] > 1 {
		return fmt.Errorf("progression %d, %d layers, transform %d: %w", p.order, p.layers, seg[4], ErrCorrupt)
	}
	k, err := readCoding(seg[5:], seg[0]&1 != 0, from)
	if err != nil {
		return err
	}
	for c := range p.coding {
		if k.from >= p.coding[c].from {
			p.coding[c] = k
		}
	}
	return nil
}

// readCoding reads levels, code blocks, wavelet and precincts.
func readCoding(seg []byte, precincts bool, from int) (coding, error) {
	if len(seg) < 5 {
		return coding{}, bad("coding style", seg)
	}
	k := coding{from: from, levels: int(seg[0]), blockW: uint(seg[1]) + 2, blockH: uint(seg[2]) + 2, style: seg[3], reversible: seg[4] == 1}
	if k.levels > maxLevels || k.blockW > 10 || k.blockH > 10 || k.blockW+k.blockH > 12 || seg[4] > 1 {
		return k, fmt.Errorf("%d levels, code blocks of 2^%d x 2^%d, wavelet %d: %w", k.levels, k.blockW, k.blockH, seg[4], ErrCorrupt)
	}
	if k.style > 0x3f {
		return k, fmt.Errorf("code blocks of style %#x (high throughput): %w", k.style, ErrUnsupported)
	}
	for r := range k.levels + 1 {
		k.precinctW[r], k.precinctH[r] = 15, 15
		if !precincts {
			continue
		}
		if len(seg) < 6+r {
			return k, bad("coding style", seg)
		}
		k.precinctW[r], k.precinctH[r] = seg[5+r]&15, seg[5+r]>>4
		if r > 0 && (k.precinctW[r] == 0 || k.precinctH[r] == 0) {
			return k, fmt.Errorf("precinct of 2^%d x 2^%d at resolution %d: %w", k.precinctW[r], k.precinctH[r], r, ErrCorrupt)
		}
	}
	return k, nil
}

// readQuantisation reads the step sizes.
func readQuantisation(seg []byte, from int) (quantisation, error) {
	if len(seg) < 1 || seg[0]&31 > 2 {
		return quantisation{}, bad("quantisation", seg)
	}
	q := quantisation{from: from, style: seg[0] & 31, guard: int(seg[0] >> 5)}
	size := 2
	if q.style == 0 {
		size = 1
	}
	seg = seg[1:]
	q.n = min(len(seg)/size, len(q.steps))
	for i := range q.n {
		if size == 1 {
			q.steps[i] = uint16(seg[i]>>3) << 11
		} else {
			q.steps[i] = binary.BigEndian.Uint16(seg[2*i:])
		}
	}
	if q.n == 0 {
		return q, bad("quantisation", seg)
	}
	return q, nil
}

// readPOC reads changes of the progression. Those of a tile replace those of
// the main header.
func (d *decoder) readPOC(p *params, seg []byte, tile bool) error {
	wide := 1
	if len(d.comps) > 256 {
		wide = 2
	}
	n := 5 + 2*wide
	if len(seg) == 0 || len(seg)%n != 0 {
		return bad("POC", seg)
	}
	if tile && !p.changesIn {
		p.changes, p.changesIn = nil, true
	}
	for ; len(seg) > 0; seg = seg[n:] {
		c := change{res0: int(seg[0]), layers: int(binary.BigEndian.Uint16(seg[1+wide:])), res1: int(seg[3+wide]), order: seg[4+2*wide]}
		c.comp0, _, _ = d.index(seg[1:])
		c.comp1, _, _ = d.index(seg[4+wide:])
		if c.comp1 == 0 { // 256 in one byte
			c.comp1 = len(d.comps)
		}
		if c.order > orderCPRL || c.res1 <= c.res0 || c.comp1 <= c.comp0 || len(p.changes) >= maxChanges {
			return bad("POC", seg)
		}
		p.changes = append(p.changes, c)
	}
	return nil
}
