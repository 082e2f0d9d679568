package sam

import (
	"image"
	"math"
)

// scaleMerger joins the objects of all scales into one stream and leaves out
// those that more than one found. Seams are merged within each scale first.
//
// Two objects of different scales are the same if their masks have an IoU
// above sameIoU; of the two the one stays that a tile saw whole, else the
// finer. As in the original's generator, which prefers masks of smaller crops,
// the model's own score does not decide: it is blind to the outline's detail.
//
// The scale that is furthest behind comes next, so that of each scale no more
// than some rows of tiles are held.
type scaleMerger struct {
	lanes []*scaleLane // coarsest first
	emit  func(k int, m mergedObject) error
}

// scaleLane is one scale of a scaleMerger.
type scaleLane struct {
	plan  *scalePlan
	seams *seamMerger
	next  int     // of the plan's tiles
	top   float64 // no further object lies above this row of level 0
	held  []*heldObject
	strip map[int][]*heldObject // held, by column of stripWide
}

// heldObject is an object whose rivals may still come.
type heldObject struct {
	mergedObject
	lane           *scaleLane
	x0, y0, x1, y1 float64 // level 0
	lost           bool
}

// stripWide is the width in level-0 pixels of the columns that objects are
// sorted into.
const stripWide = 2048

func newScaleMerger(p *slidePlan, emit func(k int, m mergedObject) error) *scaleMerger {
	s := &scaleMerger{emit: emit}
	for _, q := range p.Scales {
		l := &scaleLane{plan: q, strip: map[int][]*heldObject{}}
		l.seams = newSeamMerger(q, func(m mergedObject) error {
			s.take(l, m)
			return nil
		})
		s.lanes = append(s.lanes, l)
	}
	return s
}

// advance merges the next row of tiles, which read gives, and reports whether
// there are more.
func (s *scaleMerger) advance(read func(p *scalePlan, tile int) ([]tileObject, error)) (bool, error) {
	l := s.lanes[0]
	for _, c := range s.lanes {
		if c.top < l.top {
			l = c
		}
	}
	if math.IsInf(l.top, 1) {
		return false, nil
	}
	tiles := l.plan.Tiles
	if l.next == len(tiles) {
		if err := l.seams.end(); err != nil {
			return false, err
		}
		l.top = math.Inf(1)
		return true, s.release()
	}
	for row := tiles[l.next] / l.plan.Cols; l.next < len(tiles) && tiles[l.next]/l.plan.Cols == row; l.next++ {
		objects, err := read(l.plan, tiles[l.next])
		if err != nil {
			return false, err
		}
		if err := l.seams.add(l.plan.tile(tiles[l.next]), objects); err != nil {
			return false, err
		}
	}
	l.top = float64(l.seams.settled()) * l.plan.FY
	return true, s.release()
}

// take compares a new object with those of the other scales.
func (s *scaleMerger) take(l *scaleLane, m mergedObject) {
	n := &heldObject{mergedObject: m, lane: l}
	n.x0, n.y0, n.x1, n.y1 = l.plan.rect(m.mask.Bounds())
	l.held = append(l.held, n)
	if len(s.lanes) == 1 {
		return
	}
	for c := int(n.x0) / stripWide; c <= int(n.x1)/stripWide; c++ {
		for _, other := range s.lanes {
			if other == l {
				continue
			}
			for _, h := range other.strip[c] {
				if !h.same(n) {
					continue
				}
				if h.beats(n) {
					n.lost = true
				} else {
					h.lost = true
				}
			}
		}
		l.strip[c] = append(l.strip[c], n)
	}
}

// beats reports whether h stays of two objects that are the same.
func (h *heldObject) beats(n *heldObject) bool {
	if h.whole != n.whole {
		return h.whole
	}
	return h.lane.plan.Index > n.lane.plan.Index
}

// same reports whether two objects of different scales are one.
func (h *heldObject) same(n *heldObject) bool {
	if h.x0 >= n.x1 || n.x0 >= h.x1 || h.y0 >= n.y1 || n.y0 >= h.y1 {
		return false
	}
	if h.lane.plan.Index < n.lane.plan.Index {
		h, n = n, h
	}
	fine, coarse := h.lane.plan, n.lane.plan
	fx, fy := fine.FX/coarse.FX, fine.FY/coarse.FY
	// In pixels of the finer scale.
	a, b := float64(h.mask.Area()), float64(n.mask.Area())/(fx*fy)
	if min(a, b) <= sameIoU*max(a, b) {
		return false
	}
	both := 0.0
	for r := range h.mask.Runs() {
		y := int((float64(r.Y) + 0.5) * fy)
		for x := r.X0; x < r.X1; x++ {
			if n.mask.At(int((float64(x)+0.5)*fx), y) {
				both++
			}
		}
	}
	return both > sameIoU*(a+b-both)
}

// release gives on the objects that no object still to come can meet, and
// that no other scale has better.
func (s *scaleMerger) release() error {
	for k, l := range s.lanes {
		top := math.Inf(1) // of what the others still bring
		for _, other := range s.lanes {
			if other != l {
				top = min(top, other.top)
			}
		}
		keep := l.held[:0]
		for _, h := range l.held {
			if h.y1 > top {
				keep = append(keep, h)
				continue
			}
			if h.lost {
				continue
			}
			if err := s.emit(k, h.mergedObject); err != nil {
				return err
			}
		}
		clear(l.held[len(keep):])
		l.held = keep
		for c, hs := range l.strip {
			left := hs[:0]
			for _, h := range hs {
				if h.y1 > top {
					left = append(left, h)
				}
			}
			clear(hs[len(left):])
			if l.strip[c] = left; len(left) == 0 {
				delete(l.strip, c)
			}
		}
	}
	return nil
}

// settled returns a row of scale k's pixels above which no further object of
// it is given on.
func (s *scaleMerger) settled(k int) int {
	l := s.lanes[k]
	top := l.plan.H
	if !math.IsInf(l.top, 1) {
		top = l.seams.settled()
	}
	for _, h := range l.held {
		top = min(top, h.mask.Bounds().Min.Y)
	}
	return top
}

// rect returns a rectangle of the scale in pixels of level 0.
func (p *scalePlan) rect(b image.Rectangle) (x0, y0, x1, y1 float64) {
	return float64(b.Min.X) * p.FX, float64(b.Min.Y) * p.FY, float64(b.Max.X) * p.FX, float64(b.Max.Y) * p.FY
}
