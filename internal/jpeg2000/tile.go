package jpeg2000

import (
	"fmt"
	"math"
)

// maxPrecincts is the most precincts of a tile.
const maxPrecincts = 1 << 18

// tile is a tile that is being decoded.
type tile struct {
	d *decoder
	*tileData
	x0, y0, x1, y1 int // on the reference grid
	comps          []tileComponent
}

// tileComponent is a component of a tile.
type tileComponent struct {
	x0, y0, x1, y1 int // on the component's grid
	coding         *coding
	res            []resolution
	out            plane // when it is decoded
}

// resolution is what one more wavelet level brings.
type resolution struct {
	x0, y0, x1, y1       int
	precinctW, precinctH uint // log2
	px0, py0             int  // first precinct, in units of precincts
	across, down         int
	bands                []band
	precincts            []*precinct // as packets come
}

// band is a subband.
type band struct {
	kind           int
	x0, y0, x1, y1 int
	planes         int     // most bit planes of a coefficient, Mb
	step           float64 // what a coefficient's unit stands for, if it is not reversible
	pix            plane
}

// plane is a raster: whole numbers of a reversible component, the bits of
// float32 of others.
type plane struct {
	w, h int
	pix  []int32 // [h, w]
}

// tiles decodes tile after tile and hands it to f.
func (d *decoder) tiles(f func(*tile) error) error {
	for i := range d.parts {
		if err := d.tile(i, f); err != nil {
			return fmt.Errorf("tile %d: %w", i, err)
		}
	}
	return nil
}

func (d *decoder) tile(i int, f func(*tile) error) error {
	data, err := d.readTile(i)
	if err != nil {
		return err
	}
	col, row := i%d.across, i/d.across
	t := &tile{d: d, tileData: data,
		x0: max(d.tileX+col*d.tileW, d.x0), y0: max(d.tileY+row*d.tileH, d.y0),
		x1: min(d.tileX+(col+1)*d.tileW, d.x1), y1: min(d.tileY+(row+1)*d.tileH, d.y1)}
	d.work.used = 0
	n := 0
	t.comps = make([]tileComponent, len(d.comps))
	for c := range t.comps {
		if err := t.layOut(c, &n); err != nil {
			return fmt.Errorf("component %d: %w", c, err)
		}
	}
	if err := t.checkTransform(); err != nil {
		return err
	}
	if err := t.readPackets(); err != nil {
		return err
	}
	if err := t.decodeBlocks(); err != nil {
		return err
	}
	for c := range t.comps {
		t.synthesise(c)
	}
	return f(t)
}

// layOut computes the places of resolutions, subbands and precincts. n counts
// precincts.
func (t *tile) layOut(c int, n *int) error {
	k, q := t.p.coding[c], &t.p.quant[c]
	dx, dy := t.d.comps[c].DX, t.d.comps[c].DY
	tc := &t.comps[c]
	*tc = tileComponent{x0: ceilDiv(t.x0, dx), y0: ceilDiv(t.y0, dy), x1: ceilDiv(t.x1, dx), y1: ceilDiv(t.y1, dy), coding: &t.p.coding[c]}
	if t.d.reduce > k.levels {
		return fmt.Errorf("%d of %d wavelet levels left out: %w", t.d.reduce, k.levels, ErrUnsupported)
	}
	if t.p.roi[c] > maxPlanes {
		return fmt.Errorf("region of interest shifted by %d bits: %w", t.p.roi[c], ErrUnsupported)
	}
	tc.res = make([]resolution, k.levels+1)
	bands := make([]band, 3*k.levels+1)
	for r := range tc.res {
		n0 := uint(k.levels - r)
		s := &tc.res[r]
		s.x0, s.y0, s.x1, s.y1 = ceilShift(tc.x0, n0), ceilShift(tc.y0, n0), ceilShift(tc.x1, n0), ceilShift(tc.y1, n0)
		s.precinctW, s.precinctH = uint(k.precinctW[r]), uint(k.precinctH[r])
		s.px0, s.py0 = s.x0>>s.precinctW, s.y0>>s.precinctH
		if s.x1 > s.x0 && s.y1 > s.y0 {
			s.across, s.down = ceilShift(s.x1, s.precinctW)-s.px0, ceilShift(s.y1, s.precinctH)-s.py0
		}
		if int64(s.across)*int64(s.down) > maxPrecincts {
			return fmt.Errorf("%d x %d precincts, over %d in a tile: %w", s.across, s.down, maxPrecincts, ErrUnsupported)
		}
		if *n += s.across * s.down; *n > maxPrecincts {
			return fmt.Errorf("over %d precincts in a tile: %w", maxPrecincts, ErrUnsupported)
		}
		s.precincts = make([]*precinct, s.across*s.down)
		first, kinds, level := 0, 1, n0
		if r > 0 {
			first, kinds, level = 3*r-2, 3, n0+1
		}
		s.bands = bands[first : first+kinds]
		for i := range s.bands {
			b := &s.bands[i]
			if r > 0 {
				b.kind = i + 1
			}
			// Of two samples of the level the second is of high frequency.
			ox, oy := 0, 0
			if level > 0 {
				ox, oy = (b.kind&1)<<(level-1), (b.kind>>1)<<(level-1)
			}
			b.x0, b.x1 = ceilShift(tc.x0-ox, level), ceilShift(tc.x1-ox, level)
			b.y0, b.y1 = ceilShift(tc.y0-oy, level), ceilShift(tc.y1-oy, level)
			if err := q.of(first+i, r, b, t.d.comps[c].Bits); err != nil {
				return err
			}
		}
	}
	tc.scale(t.d.reduce)
	return nil
}

// of sets the bit planes and the step size of subband i of resolution r in a
// component of bits (T.800, annex E).
func (q *quantisation) of(i, r int, b *band, bits int) error {
	s := i
	if q.style == 1 {
		s = 0
	}
	if s >= q.n {
		return fmt.Errorf("%d step sizes, none for subband %d: %w", q.n, i, ErrCorrupt)
	}
	e, m := int(q.steps[s]>>11), int(q.steps[s]&0x7ff)
	if q.style == 1 && r > 1 { // one less for each level
		e = max(0, e-(r-1))
	}
	b.planes = q.guard + e - 1
	gain := b.kind&1 + b.kind>>1
	b.step = math.Ldexp(1+float64(m)/(1<<11), bits+gain-e)
	return nil
}

// checkTransform checks that the colour transform fits the components.
func (t *tile) checkTransform() error {
	if !t.p.mct {
		return nil
	}
	if len(t.comps) < 3 {
		return fmt.Errorf("colour transform of %d components: %w", len(t.comps), ErrCorrupt)
	}
	a := &t.comps[0]
	for c := 1; c < 3; c++ {
		b := &t.comps[c]
		if a.x0 != b.x0 || a.y0 != b.y0 || a.x1 != b.x1 || a.y1 != b.y1 || a.coding.reversible != b.coding.reversible {
			return fmt.Errorf("colour transform of components that differ in size or wavelet: %w", ErrCorrupt)
		}
	}
	return nil
}
