package sam

import (
	"image"
	"sort"
)

// node is an object that a tile saw, among those that may be one.
type node struct {
	tileObject
	tile, index int // order of all objects
	row         int
	parent      *node
	members     []*node // of a root
}

func (n *node) root() *node {
	for n.parent != n {
		n.parent = n.parent.parent
		n = n.parent
	}
	return n
}

// before is the order of objects: by tile, then as the tile found them.
func (n *node) before(o *node) bool {
	return n.tile < o.tile || n.tile == o.tile && n.index < o.index
}

func join(a, b *node) {
	a, b = a.root(), b.root()
	if a == b {
		return
	}
	if b.before(a) {
		a, b = b, a
	}
	b.parent = a
	a.members = append(a.members, b.members...)
	b.members = nil
}

// sameIoU is how well two tiles must agree, on what both saw, for two objects
// to be one; and how well two objects of different tiles must agree to be one
// found twice.
const sameIoU = 0.5

// mergedObject is an object of the slide.
type mergedObject struct {
	tileObject
	tile, index int
	parts       int  // tiles that saw it
	whole       bool // one of them saw all of it
}

// seamMerger joins the objects of neighbouring tiles. Tiles come row by row;
// it holds the objects near the last two rows of tiles and gives each object
// on as soon as no later tile can change it.
//
// Objects of two tiles that agree on the part both windows show are one. Of
// such a set the object stays that is whole and has its centroid in the core
// of its tile, the one of highest predicted IoU if there are several; else
// the best whole one; else the union of all. An object that one tile alone
// saw is the tile's whose core holds the point that found it.
type seamMerger struct {
	plan    *scalePlan
	emit    func(mergedObject) error
	above   map[int][]*node // by column, the row above
	here    map[int][]*node
	row     int
	open    []*node // roots that the next row can still join
	waiting []mergedObject
}

func newSeamMerger(p *scalePlan, emit func(mergedObject) error) *seamMerger {
	return &seamMerger{plan: p, emit: emit, here: map[int][]*node{}, row: -1}
}

// add takes the objects of the next tile.
func (s *seamMerger) add(t slideTile, objects []tileObject) error {
	if t.row != s.row {
		if err := s.endRow(t.row); err != nil {
			return err
		}
	}
	nodes := make([]*node, len(objects))
	for i, o := range objects {
		n := &node{tileObject: o, tile: t.index, index: i, row: t.row}
		n.parent, n.members = n, []*node{n}
		nodes[i] = n
		s.open = append(s.open, n)
	}
	s.match(nodes, s.here[t.col-1], t.window)
	for c := t.col - 1; c <= t.col+1; c++ {
		s.match(nodes, s.above[c], t.window)
	}
	// At the slide's edge windows are shifted inward and reach further back.
	s.match(nodes, s.here[t.col-2], t.window)
	s.here[t.col] = nodes
	return nil
}

// match joins the objects of two tiles, best pairs first, each object once.
func (s *seamMerger) match(a, b []*node, window image.Rectangle) {
	if len(a) == 0 || len(b) == 0 {
		return
	}
	both := window.Intersect(s.plan.tile(b[0].tile).window)
	type pair struct {
		x, y *node
		iou  float64
	}
	var pairs []pair
	for _, x := range a {
		if !x.mask.Bounds().Overlaps(both) {
			continue
		}
		for _, y := range b {
			if !x.mask.Bounds().Overlaps(y.mask.Bounds()) {
				continue
			}
			n := x.mask.Intersection(y.mask)
			if n == 0 {
				continue
			}
			if iou := float64(n) / float64(x.mask.pixels().AreaIn(both)+y.mask.pixels().AreaIn(both)-n); iou >= sameIoU {
				pairs = append(pairs, pair{x, y, iou})
			}
		}
	}
	sort.SliceStable(pairs, func(i, j int) bool { return pairs[i].iou > pairs[j].iou })
	used := map[*node]bool{}
	for _, p := range pairs {
		if !used[p.x] && !used[p.y] {
			used[p.x], used[p.y] = true, true
			join(p.x, p.y)
		}
	}
}

// endRow settles the sets that no tile of the new row can join and gives on
// the objects that no later tile can touch.
func (s *seamMerger) endRow(row int) error {
	s.above = s.here
	if row != s.row+1 {
		s.above = nil // rows without tissue lie between
	}
	s.here, s.row = map[int][]*node{}, row
	var open []*node
	var held []image.Rectangle
	for _, n := range s.open {
		if n.parent != n {
			continue
		}
		last := n.row
		var r image.Rectangle
		for _, m := range n.members {
			last = max(last, m.row)
			r = r.Union(m.mask.Bounds())
		}
		if last >= row-1 && s.above != nil {
			open, held = append(open, n), append(held, r)
			continue
		}
		if err := s.settle(n); err != nil {
			return err
		}
	}
	s.open = open
	top := s.plan.H + 1 // of what is still to come
	if row >= 0 && row < s.plan.Rows {
		// The last window is shifted inward, perhaps above the one before.
		last := (s.plan.Rows - 1) * s.plan.Cols
		top = min(s.plan.tile(row*s.plan.Cols).window.Min.Y, s.plan.tile(last).window.Min.Y)
	}
	return s.flush(top, held)
}

// settle chooses what a set of joined objects becomes.
func (s *seamMerger) settle(root *node) error {
	ms := root.members
	sort.Slice(ms, func(i, j int) bool { return ms[i].before(ms[j]) })
	var own, whole *node
	for _, m := range ms {
		if !m.cut && s.owns(m) && (own == nil || m.iou > own.iou) {
			own = m
		}
		if !m.cut && (whole == nil || m.iou > whole.iou) {
			whole = m
		}
	}
	out := mergedObject{tile: ms[0].tile, index: ms[0].index, parts: len(ms), whole: whole != nil}
	switch {
	case len(ms) == 1:
		if n := ms[0]; !s.plan.holds(n.tile, s.plan.pixel(n.point)) {
			return nil // found by a neighbour's point, where the neighbour saw something else
		}
		out.tileObject = ms[0].tileObject
	case own != nil:
		out.tileObject = own.tileObject
	case whole != nil:
		out.tileObject = whole.tileObject
	default:
		var err error
		if out.tileObject, err = unite(ms); err != nil {
			return err
		}
		if most := s.plan.scale.MaxArea; most > 0 && out.mask.Area() > most {
			return nil // no tile saw how large it is
		}
	}
	s.waiting = append(s.waiting, out)
	return nil
}

// owns reports whether the object's centroid lies in its tile's core, or in
// that of a tile that is left out for want of tissue.
func (s *seamMerger) owns(n *node) bool {
	x, y := n.mask.pixels().Centroid()
	return s.plan.holds(n.tile, image.Pt(int(x), int(y)))
}

// unite returns the union of an object's parts. Scores are means by area.
func unite(ms []*node) (tileObject, error) {
	out := ms[0].tileObject
	iou, stability, area := 0.0, 0.0, 0.0
	for i, m := range ms {
		a := float64(m.mask.Area())
		iou, stability, area = iou+a*float64(m.iou), stability+a*float64(m.stability), area+a
		if i > 0 {
			u, err := out.mask.Union(m.mask)
			if err != nil {
				return out, err
			}
			out.mask = u
		}
	}
	out.iou, out.stability, out.cut = float32(iou/area), float32(stability/area), false
	return out, nil
}

// flush gives on the objects that end above top and meet none of the held
// rectangles, in order, and drops those that another tile found as well, or
// that lie in another if objects are disjoint. What a better object stands for
// waits until that one's own fate is known.
func (s *seamMerger) flush(top int, held []image.Rectangle) error {
	w := s.waiting
	sort.SliceStable(w, func(i, j int) bool {
		return w[i].tile < w[j].tile || w[i].tile == w[j].tile && w[i].index < w[j].index
	})
	free := make([]bool, len(w))
	for i, o := range w {
		b := o.mask.Bounds()
		free[i] = b.Max.Y <= top
		for _, h := range held {
			free[i] = free[i] && !h.Overlaps(b)
		}
	}
	fates := s.judge(w, free)
	var keep []mergedObject
	for i, o := range w {
		switch fates[i] {
		case fateOpen:
			keep = append(keep, o)
		case fateStays:
			if err := s.emit(o); err != nil {
				return err
			}
		}
	}
	s.waiting = keep
	return nil
}

// end settles everything that is left.
func (s *seamMerger) end() error {
	if err := s.endRow(s.row + 1); err != nil { // the last row becomes the one above
		return err
	}
	s.here = map[int][]*node{}
	return s.endRow(s.plan.Rows + 2)
}

// settled returns a row above which no further object of the merger lies.
func (s *seamMerger) settled() int {
	top := 0 // before the first tile
	if s.row >= 0 {
		last := (s.plan.Rows - 1) * s.plan.Cols
		top = min(s.plan.tile(s.row*s.plan.Cols).window.Min.Y, s.plan.tile(last).window.Min.Y)
	}
	lower := func(r image.Rectangle) { top = min(top, r.Min.Y) }
	for _, n := range s.open {
		lower(n.mask.Bounds())
	}
	for _, m := range s.waiting {
		lower(m.mask.Bounds())
	}
	return top
}
