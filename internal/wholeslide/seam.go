package wholeslide

import (
	"image"
	"sort"

	"github.com/slidesam/sam/internal/mask"
)

// node is an object that a tile saw, among those that may be one.
type node struct {
	sighting
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

// found is an object of the slide, put together from what tiles saw of it.
type found struct {
	sighting
	tile, index int
	tiles       int  // that saw it
	whole       bool // one of them saw all of it

	left *mask.Mask // what better objects left of it; nil: all
}

// seamMerger joins the objects of neighbouring tiles. Tiles come row by row;
// it holds the objects near the last two rows of tiles and hands each object to
// emit as soon as no later tile can change it.
//
// Objects of two tiles that agree on the part both windows show are one. Of
// such a set the object stays that is whole and has its centroid in the core
// of its tile, the one of highest predicted IoU if there are several; else
// the best whole one; else all are put together, see [seamMerger.unite]. An
// object that one tile alone saw is the tile's whose core holds the point that
// found it. One that ends at a side of a window where another tile saw nothing
// of it is dropped, see [seamMerger.severed].
type seamMerger struct {
	plan    *scalePlan
	emit    func(found) error
	cut     int             // sightings of objects that were dropped because they are severed
	blind   map[int]bool    // tiles that could not see all of their window
	above   map[int][]*node // by column, the row above
	here    map[int][]*node
	row     int
	open    []*node // roots that the next row can still join
	waiting []found
}

func newSeamMerger(p *scalePlan, emit func(found) error) *seamMerger {
	return &seamMerger{plan: p, emit: emit, here: map[int][]*node{}, blind: map[int]bool{}, row: -1}
}

// add takes the objects of the next tile. blind says that parts of the slide
// were missing in its window, so that what it did not see says nothing.
func (s *seamMerger) add(t Tile, objects []sighting, blind bool) error {
	if t.Row != s.row {
		if err := s.endRow(t.Row); err != nil {
			return err
		}
	}
	if blind {
		s.blind[t.Index] = true
	}
	nodes := make([]*node, len(objects))
	for i, o := range objects {
		n := &node{sighting: o, tile: t.Index, index: i, row: t.Row}
		n.parent, n.members = n, []*node{n}
		nodes[i] = n
		s.open = append(s.open, n)
	}
	s.match(nodes, s.here[t.Col-1], t.Window)
	for c := t.Col - 1; c <= t.Col+1; c++ {
		s.match(nodes, s.above[c], t.Window)
	}
	// At the slide's edge windows are shifted inward and reach further back.
	s.match(nodes, s.here[t.Col-2], t.Window)
	s.here[t.Col] = nodes
	return nil
}

// match joins the objects of two tiles, best pairs first, each object once.
func (s *seamMerger) match(a, b []*node, window image.Rectangle) {
	if len(a) == 0 || len(b) == 0 {
		return
	}
	both := window.Intersect(s.plan.at(b[0].tile).Window)
	type pair struct {
		x, y *node
		iou  float64
	}
	var pairs []pair
	for _, x := range a {
		if !x.Mask.Bounds().Overlaps(both) {
			continue
		}
		for _, y := range b {
			if !x.Mask.Bounds().Overlaps(y.Mask.Bounds()) {
				continue
			}
			n := x.Mask.Intersection(y.Mask)
			if n == 0 {
				continue
			}
			if iou := float64(n) / float64(x.Mask.AreaIn(both)+y.Mask.AreaIn(both)-n); iou >= sameIoU {
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

// endRow settles the sets that no tile of the new row can join and hands on the
// objects that no later tile can touch.
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
			r = r.Union(m.Mask.Bounds())
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
	top := s.plan.size.H + 1 // of what is still to come
	if row >= 0 && row < s.plan.rows {
		// The last window is shifted inward, perhaps above the one before.
		last := (s.plan.rows - 1) * s.plan.cols
		top = min(s.plan.at(row*s.plan.cols).Window.Min.Y, s.plan.at(last).Window.Min.Y)
	}
	return s.flush(top, held)
}

// settle chooses what a set of joined objects becomes.
func (s *seamMerger) settle(root *node) error {
	ms := root.members
	sort.Slice(ms, func(i, j int) bool { return ms[i].before(ms[j]) })
	var own, whole *node
	for _, m := range ms {
		if !m.cut && s.owns(m) && (own == nil || m.IoUPred > own.IoUPred) {
			own = m
		}
		if !m.cut && (whole == nil || m.IoUPred > whole.IoUPred) {
			whole = m
		}
	}
	out := found{tile: ms[0].tile, index: ms[0].index, tiles: len(ms), whole: whole != nil}
	switch {
	case len(ms) == 1 && !s.plan.holds(ms[0].tile, s.plan.pixel(ms[0].Pt)):
		return nil // found by a neighbour's point, where the neighbour saw something else
	case own != nil:
		out.sighting = own.sighting
	case whole != nil:
		out.sighting = whole.sighting
	case s.severed(ms):
		s.cut += len(ms)
		return nil
	case len(ms) == 1:
		out.sighting = ms[0].sighting
	default:
		var err error
		if out.sighting, err = s.unite(ms); err != nil {
			return err
		}
		a := out.Mask.Area()
		if a < max(s.plan.MinArea, 1) || s.plan.MaxArea > 0 && a > s.plan.MaxArea {
			return nil // no tile saw how large it is
		}
	}
	s.waiting = append(s.waiting, out)
	return nil
}

// owns reports whether the object's centroid lies in its tile's core, or in
// that of a tile that is left out for want of tissue.
func (s *seamMerger) owns(n *node) bool {
	x, y := n.Mask.Centroid()
	return s.plan.holds(n.tile, image.Pt(int(x), int(y)))
}

// flush hands on the objects that end above top and meet none of the held
// rectangles, in order, and drops those that another tile found as well, or
// that lie in another if objects are disjoint. An object that a better one
// would replace waits until it is known whether that one stays.
func (s *seamMerger) flush(top int, held []image.Rectangle) error {
	w := s.waiting
	sort.SliceStable(w, func(i, j int) bool {
		return w[i].tile < w[j].tile || w[i].tile == w[j].tile && w[i].index < w[j].index
	})
	free := make([]bool, len(w))
	for i, o := range w {
		b := o.Mask.Bounds()
		free[i] = b.Max.Y <= top
		for _, h := range held {
			free[i] = free[i] && !h.Overlaps(b)
		}
	}
	verdicts, err := s.judge(w, free)
	if err != nil {
		return err
	}
	var keep []found
	for i, o := range w {
		switch verdicts[i] {
		case undecided:
			keep = append(keep, o)
		case stays:
			ok, err := o.trim(s.plan.MinArea)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
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
	return s.endRow(s.plan.rows + 2)
}

// settled returns a row above which no further object of the merger lies.
func (s *seamMerger) settled() int {
	top := 0 // before the first tile
	if s.row >= 0 {
		last := (s.plan.rows - 1) * s.plan.cols
		top = min(s.plan.at(s.row*s.plan.cols).Window.Min.Y, s.plan.at(last).Window.Min.Y)
	}
	lower := func(r image.Rectangle) { top = min(top, r.Min.Y) }
	for _, n := range s.open {
		lower(n.Mask.Bounds())
	}
	for _, m := range s.waiting {
		lower(m.Mask.Bounds())
	}
	return top
}
