package jpeg2000

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
)

// precinct is the part of a resolution whose blocks' data lie in one packet for
// each layer.
type precinct struct {
	layers int // read so far
	bands  []precinctBand
}

// precinctBand is a precinct in one subband.
type precinctBand struct {
	blocks       []block // across x down
	across, down int
	included     tagTree
	empty        tagTree
}

// place is a precinct in the order of a progression.
type place struct {
	c, r, k int
	x, y    int // on the reference grid
}

// readPackets reads all packets of the tile.
func (t *tile) readPackets() error {
	changes := t.p.changes
	if len(changes) == 0 {
		changes = []change{{res1: maxLevels + 1, comp1: len(t.comps), layers: t.p.layers, order: t.p.order}}
	}
	in := packetReader{t: t, body: t.packets}
	if in.done() {
		return fmt.Errorf("no packets: %w", ErrCorrupt)
	}
	for _, ch := range changes {
		if err := in.progression(ch); err != nil {
			return err
		}
	}
	return nil
}

// places lists the precincts of a progression without regard to layers.
func (t *tile) places(ch change) []place {
	var list []place
	for c := ch.comp0; c < min(ch.comp1, len(t.comps)); c++ {
		tc := &t.comps[c]
		dx, dy := t.d.comps[c].DX, t.d.comps[c].DY
		for r := ch.res0; r < min(ch.res1, len(tc.res)); r++ {
			s := &tc.res[r]
			n := uint(len(tc.res) - 1 - r)
			for k := range s.precincts {
				p := place{c: c, r: r, k: k, x: t.x0, y: t.y0}
				// The first ones may begin before the tile.
				if x := s.px0 + k%s.across; x > s.px0 || s.x0 == x<<s.precinctW {
					p.x = x << s.precinctW << n * dx
				}
				if y := s.py0 + k/s.across; y > s.py0 || s.y0 == y<<s.precinctH {
					p.y = y << s.precinctH << n * dy
				}
				list = append(list, p)
			}
		}
	}
	slices.SortFunc(list, func(a, b place) int {
		switch ch.order {
		case orderLRCP, orderRLCP:
			return cmp.Or(a.r-b.r, a.c-b.c, a.k-b.k)
		case orderRPCL:
			return cmp.Or(a.r-b.r, a.y-b.y, a.x-b.x, a.c-b.c, a.k-b.k)
		case orderPCRL:
			return cmp.Or(a.y-b.y, a.x-b.x, a.c-b.c, a.r-b.r, a.k-b.k)
		}
		return cmp.Or(a.c-b.c, a.y-b.y, a.x-b.x, a.r-b.r, a.k-b.k)
	})
	return list
}

// progression reads the packets of one progression, but for those read before.
func (in *packetReader) progression(ch change) error {
	list := in.t.places(ch)
	layers := min(ch.layers, in.t.p.layers)
	group := func(n int) int { return 1 } // how many precincts one layer goes over
	switch ch.order {
	case orderLRCP:
		group = func(int) int { return len(list) }
	case orderRLCP:
		group = func(i int) int {
			n := 1
			for i+n < len(list) && list[i+n].r == list[i].r {
				n++
			}
			return n
		}
	}
	for i, n := 0, 0; i < len(list); i += n {
		n = group(i)
		for layer := range layers {
			for _, p := range list[i : i+n] {
				if in.done() {
					return nil
				}
				if err := in.packet(p, layer); err != nil {
					return fmt.Errorf("packet of component %d, resolution %d, precinct %d, layer %d: %w", p.c, p.r, p.k, layer, err)
				}
			}
		}
	}
	return nil
}

// precinctAt returns precinct k of a resolution.
func (s *resolution) precinctAt(k int, c *coding, r int) *precinct {
	if p := s.precincts[k]; p != nil {
		return p
	}
	p := &precinct{bands: make([]precinctBand, len(s.bands))}
	s.precincts[k] = p
	px, py := s.px0+k%s.across, s.py0+k/s.across
	w, h := s.precinctW, s.precinctH
	if r > 0 {
		w, h = w-1, h-1 // subbands have half the samples
	}
	bw, bh := min(c.blockW, w), min(c.blockH, h)
	for i := range p.bands {
		b, pb := &s.bands[i], &p.bands[i]
		x0, y0 := max(px<<w, b.x0), max(py<<h, b.y0)
		x1, y1 := min((px+1)<<w, b.x1), min((py+1)<<h, b.y1)
		if x0 >= x1 || y0 >= y1 {
			continue
		}
		bx, by := x0>>bw, y0>>bh
		pb.across, pb.down = ceilShift(x1, bw)-bx, ceilShift(y1, bh)-by
		pb.blocks = make([]block, pb.across*pb.down)
		for j := range pb.blocks {
			x, y := bx+j%pb.across, by+j/pb.across
			pb.blocks[j] = block{x0: max(x<<bw, x0), y0: max(y<<bh, y0), x1: min((x+1)<<bw, x1), y1: min((y+1)<<bh, y1), lengthBits: 3}
		}
		pb.included.grow(pb.across, pb.down)
		pb.empty.grow(pb.across, pb.down)
	}
	return p
}

// packetReader reads packets one after the other.
type packetReader struct {
	t    *tile
	body []byte // what is left
	todo []arrival
}

// arrival is a piece of a block's data that a packet header announces.
type arrival struct {
	b      *block
	length int
	passes int
	fresh  bool // it begins a segment
}

// done reports whether nothing is left: what is missing of the packets then is
// as the encoder left it out.
func (in *packetReader) done() bool {
	if in.t.apart {
		return len(in.t.headers) == 0
	}
	return len(in.body) == 0
}

// packet reads the packet of a layer, unless it was read before.
func (in *packetReader) packet(p place, layer int) error {
	tc := &in.t.comps[p.c]
	s := &tc.res[p.r]
	pr := s.precinctAt(p.k, tc.coding, p.r)
	if layer < pr.layers {
		return nil
	}
	if layer > pr.layers {
		return fmt.Errorf("layer %d follows %d: %w", layer, pr.layers, ErrCorrupt)
	}
	pr.layers++
	if len(in.body) >= 6 && in.body[0] == mSOP>>8 && in.body[1] == mSOP&0xff {
		in.body = in.body[6:]
	}
	head := &in.body
	if in.t.apart {
		head = &in.t.headers
	}
	h := headerBits{b: *head}
	in.todo = in.todo[:0]
	if h.bit() != 0 {
		for i := range pr.bands {
			if err := in.header(&h, &pr.bands[i], s.bands[i].planes+int(in.t.p.roi[p.c]), tc.coding.style, layer); err != nil {
				return err
			}
		}
	}
	if !h.align() {
		return fmt.Errorf("header ends early: %w", ErrCorrupt)
	}
	*head = h.b
	if len(*head) >= 2 && (*head)[0] == mEPH>>8 && (*head)[1] == mEPH&0xff {
		*head = (*head)[2:]
	}
	keep := p.r < len(tc.res)-in.t.d.reduce
	for _, a := range in.todo {
		if a.length > len(in.body) {
			return fmt.Errorf("code block of %d bytes, %d left: %w", a.length, len(in.body), ErrCorrupt)
		}
		data := in.body[:a.length:a.length]
		in.body = in.body[a.length:]
		if !keep {
			continue
		}
		if a.fresh {
			a.b.segs = append(a.b.segs, segment{a.passes, data})
			continue
		}
		g := &a.b.segs[len(a.b.segs)-1]
		g.passes += a.passes
		g.data = append(g.data, data...)
	}
	return nil
}

// header reads what the packet header says of a subband, whose coefficients
// have so many bit planes.
func (in *packetReader) header(h *headerBits, pb *precinctBand, planes int, style uint8, layer int) error {
	for i := range pb.blocks {
		k := &pb.blocks[i]
		x, y := i%pb.across, i/pb.across
		if k.passes == 0 {
			if !pb.included.below(h, x, y, layer+1) {
				continue
			}
			for k.empty = 0; !pb.empty.below(h, x, y, k.empty+1); k.empty++ {
				if k.empty > planes {
					return fmt.Errorf("code block of more than %d empty bit planes: %w", planes, ErrCorrupt)
				}
			}
		} else if h.bit() == 0 {
			continue
		}
		passes := h.passes()
		for h.bit() != 0 {
			k.lengthBits++
		}
		for passes > 0 {
			fresh := k.room == 0
			if fresh {
				k.room = segmentPasses(style, k.passes)
			}
			n := min(passes, k.room)
			size := k.lengthBits + bits.Len(uint(n)) - 1
			if size > 31 {
				return fmt.Errorf("length of %d bits: %w", size, ErrCorrupt)
			}
			in.todo = append(in.todo, arrival{k, h.bits(size), n, fresh})
			k.passes += n
			k.room -= n
			passes -= n
		}
		if h.over {
			return fmt.Errorf("header ends early: %w", ErrCorrupt)
		}
	}
	return nil
}

// headerBits reads the bits of a packet header: after a byte of ones the next
// has seven bits.
type headerBits struct {
	b    []byte
	acc  uint
	n    int
	over bool // read past the end
}

func (h *headerBits) bit() uint {
	if h.n == 0 {
		h.n = 8
		if h.acc == 0xff {
			h.n = 7
		}
		h.acc = 0
		if len(h.b) == 0 {
			h.over = true
		} else {
			h.acc, h.b = uint(h.b[0]), h.b[1:]
		}
	}
	h.n--
	return h.acc >> h.n & 1
}

func (h *headerBits) bits(n int) int {
	v := 0
	for range n {
		v = v<<1 | int(h.bit())
	}
	return v
}

// align goes to the end of the header and reports whether all of it was there.
func (h *headerBits) align() bool {
	if h.acc == 0xff && !h.over { // a stuffed byte ends it
		if len(h.b) == 0 {
			return false
		}
		h.b = h.b[1:]
	}
	h.n, h.acc = 0, 0
	return !h.over
}

// passes reads a number of coding passes (T.800, table B.4).
func (h *headerBits) passes() int {
	if h.bit() == 0 {
		return 1
	}
	if h.bit() == 0 {
		return 2
	}
	if n := h.bits(2); n < 3 {
		return 3 + n
	}
	if n := h.bits(5); n < 31 {
		return 6 + n
	}
	return 37 + h.bits(7)
}

// tagTree is a quadtree of minima (T.800, B.10.2).
type tagTree struct {
	nodes  []tagNode
	levels []tagLevel // finest first
}

type tagLevel struct{ first, across int }

type tagNode struct {
	low   int32 // the value is at least this
	known bool
}

func (t *tagTree) grow(w, h int) {
	n := 0
	for {
		t.levels = append(t.levels, tagLevel{n, w})
		n += w * h
		if w == 1 && h == 1 {
			break
		}
		w, h = (w+1)/2, (h+1)/2
	}
	t.nodes = make([]tagNode, n)
}

// below reads until it is known whether the value of leaf (x, y) is below limit.
func (t *tagTree) below(h *headerBits, x, y, limit int) bool {
	low := int32(0)
	for i := len(t.levels) - 1; i >= 0; i-- {
		l := t.levels[i]
		n := &t.nodes[l.first+(y>>i)*l.across+x>>i]
		n.low = max(n.low, low)
		for !n.known && n.low < int32(limit) && !h.over {
			if h.bit() != 0 {
				n.known = true
			} else {
				n.low++
			}
		}
		low = n.low
		if i == 0 {
			return n.known && n.low < int32(limit)
		}
	}
	return false
}
