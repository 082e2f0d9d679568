package wholeslide

import (
	"context"
	"image"
	"math"

	"github.com/slidesam/sam/internal/spatial"
	"github.com/slidesam/sam/internal/wsi"
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
	emit  func(k int, m found) error
}

// scaleLane is one scale of a scaleMerger.
type scaleLane struct {
	plan   *scalePlan
	seams  *seamMerger
	stitch *stitcher // in the place of seams, if the scale's finder gives maps
	next   int       // of the plan's tiles
	top    float64   // no further object lies above this row of level 0
	held   []*rival
	byID   map[int]*rival // held, by their numbers in place
	place  *spatial.Index // of held, in level-0 pixels
	count  int
}

// rival is an object of one scale that an object of another may still be
// compared with.
type rival struct {
	found
	lane           *scaleLane
	id             int
	x0, y0, x1, y1 float64 // level 0
	lost           bool
}

// rivalCell is the side in level-0 pixels of the squares that objects are
// sorted into.
const rivalCell = 2048

// around is the rectangle of level-0 pixels that holds the object.
func (r *rival) around() image.Rectangle {
	return image.Rect(int(math.Floor(r.x0)), int(math.Floor(r.y0)), int(math.Ceil(r.x1)), int(math.Ceil(r.y1)))
}

// newScaleMerger returns a merger of the tiles in dir.
func newScaleMerger(p *Plan, w *wsi.Slide, dir string, emit func(k int, m found) error) *scaleMerger {
	s := &scaleMerger{emit: emit}
	for _, q := range p.scales {
		l := &scaleLane{plan: q, byID: map[int]*rival{}, place: spatial.NewIndex(rivalCell)}
		take := func(m found) error {
			s.take(l, m)
			return nil
		}
		if q.Maps.Find != nil {
			l.stitch = &stitcher{plan: q, slide: w, dir: dir, emit: take}
		} else {
			l.seams = newSeamMerger(q, take)
		}
		s.lanes = append(s.lanes, l)
	}
	return s
}

// advance merges the next row of tiles, which read gives, and reports whether
// there are more.
func (s *scaleMerger) advance(ctx context.Context, read func(p *scalePlan, tile int) (*tileContent, error)) (bool, error) {
	l := s.lanes[0]
	for _, c := range s.lanes {
		if c.top < l.top {
			l = c
		}
	}
	if math.IsInf(l.top, 1) {
		return false, nil
	}
	if l.stitch != nil {
		more, err := l.stitch.advance(ctx, read)
		if err != nil {
			return false, err
		}
		if l.top = math.Inf(1); more {
			l.top = float64(l.settled()) * l.plan.fy
		}
		return true, s.release()
	}
	tiles := l.plan.tiles
	if l.next == len(tiles) {
		if err := l.seams.end(); err != nil {
			return false, err
		}
		l.top = math.Inf(1)
		return true, s.release()
	}
	for row := tiles[l.next] / l.plan.cols; l.next < len(tiles) && tiles[l.next]/l.plan.cols == row; l.next++ {
		c, err := read(l.plan, tiles[l.next])
		if err != nil {
			return false, err
		}
		if err := l.seams.add(l.plan.at(tiles[l.next]), c.seen, len(c.missing) > 0); err != nil {
			return false, err
		}
	}
	l.top = float64(l.settled()) * l.plan.fy
	return true, s.release()
}

// settled returns a row above which no further object of the lane lies.
func (l *scaleLane) settled() int {
	if l.stitch != nil {
		return l.stitch.settled()
	}
	return l.seams.settled()
}

// take compares a new object with those of the other scales.
func (s *scaleMerger) take(l *scaleLane, m found) {
	n := &rival{found: m, lane: l, id: l.count}
	l.count++
	n.x0, n.y0, n.x1, n.y1 = l.plan.level0(m.Mask.Bounds())
	l.held = append(l.held, n)
	if len(s.lanes) == 1 {
		return
	}
	for _, other := range s.lanes {
		if other == l {
			continue
		}
		other.place.Near(n.around(), func(id int) bool {
			h := other.byID[id]
			switch {
			case !h.same(n):
			case h.beats(n):
				n.lost = true
			default:
				h.lost = true
			}
			return true
		})
	}
	l.byID[n.id] = n
	l.place.Add(n.id, n.around())
}

// beats reports whether h stays of two objects that are the same.
func (r *rival) beats(n *rival) bool {
	if r.whole != n.whole {
		return r.whole
	}
	return r.lane.plan.index > n.lane.plan.index
}

// same reports whether two objects of different scales are one.
func (r *rival) same(n *rival) bool {
	if r.x0 >= n.x1 || n.x0 >= r.x1 || r.y0 >= n.y1 || n.y0 >= r.y1 {
		return false
	}
	if r.lane.plan.index < n.lane.plan.index {
		r, n = n, r
	}
	fine, coarse := r.lane.plan, n.lane.plan
	fx, fy := fine.fx/coarse.fx, fine.fy/coarse.fy
	// In pixels of the finer scale.
	a, b := float64(r.Mask.Area()), float64(n.Mask.Area())/(fx*fy)
	if min(a, b) <= sameIoU*max(a, b) {
		return false
	}
	both := 0.0
	for run := range r.Mask.Runs() {
		y := int((float64(run.Y) + 0.5) * fy)
		for x := run.X0; x < run.X1; x++ {
			if n.Mask.At(int((float64(x)+0.5)*fx), y) {
				both++
			}
		}
	}
	return both > sameIoU*(a+b-both)
}

// release hands on the objects that no object still to come can meet, unless
// another scale has a better one.
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
			if len(s.lanes) > 1 {
				l.place.Remove(h.id, h.around())
				delete(l.byID, h.id)
			}
			if h.lost {
				continue
			}
			if err := s.emit(k, h.found); err != nil {
				return err
			}
		}
		clear(l.held[len(keep):])
		l.held = keep
	}
	return nil
}

// settled returns a row of scale k's pixels above which no further object of
// it is handed on.
func (s *scaleMerger) settled(k int) int {
	l := s.lanes[k]
	top := l.plan.size.H
	if !math.IsInf(l.top, 1) {
		top = l.settled()
	}
	for _, h := range l.held {
		top = min(top, h.Mask.Bounds().Min.Y)
	}
	return top
}
