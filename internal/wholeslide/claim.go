package wholeslide

import (
	"image"
	"slices"
)

// A scale whose finder gives maps has one map of the whole slide, stitched of
// those of its tiles. Each pixel has one tile, its claimant: the one in whose
// core it lies; or, if that is left out for want of tissue or the pixel lies
// outside the area, the first one, by index, whose window shows it.

// reach is how many rows and columns of tiles apart two windows may overlap:
// one, but at the slide's edges, where they are shifted inward.
const reach = 3

// around hands on the planned tiles whose windows may meet that of a tile, by
// index, until each returns false.
func (p *scalePlan) around(col, row int, each func(Tile) bool) {
	for r := max(row-reach, 0); r <= min(row+reach, p.rows-1); r++ {
		for c := max(col-reach, 0); c <= min(col+reach, p.cols-1); c++ {
			i := r*p.cols + c
			if _, planned := slices.BinarySearch(p.tiles, i); planned && !each(p.at(i)) {
				return
			}
		}
	}
}

// claim returns the pixels of tile i's window that are its own, as rectangles
// that do not overlap.
func (p *scalePlan) claim(t Tile) []image.Rectangle {
	rest := without([]image.Rectangle{t.Window}, t.Core)
	p.around(t.Col, t.Row, func(o Tile) bool {
		if o.Index != t.Index {
			rest = without(rest, o.Core)
		}
		if o.Index < t.Index {
			rest = without(rest, o.Window)
		}
		return true
	})
	return append(rest, t.Core)
}

// without takes a rectangle from a set of them.
func without(set []image.Rectangle, r image.Rectangle) []image.Rectangle {
	var out []image.Rectangle
	for _, s := range set {
		both := s.Intersect(r)
		if both.Empty() {
			out = append(out, s)
			continue
		}
		for _, p := range [4]image.Rectangle{
			image.Rect(s.Min.X, s.Min.Y, s.Max.X, both.Min.Y), image.Rect(s.Min.X, both.Max.Y, s.Max.X, s.Max.Y),
			image.Rect(s.Min.X, both.Min.Y, both.Min.X, both.Max.Y), image.Rect(both.Max.X, both.Min.Y, s.Max.X, both.Max.Y),
		} {
			if !p.Empty() {
				out = append(out, p)
			}
		}
	}
	return out
}

// claimant returns the tile whose claim holds px, false if none does.
func (p *scalePlan) claimant(px image.Point) (Tile, bool) {
	if i, ok := p.owner(px); ok {
		if _, planned := slices.BinarySearch(p.tiles, i); planned {
			return p.at(i), true
		}
	}
	at := px.Sub(p.area.Min).Sub(p.lead)
	col, row := min(max(at.X/p.step(), 0), p.cols-1), min(max(at.Y/p.step(), 0), p.rows-1)
	var out Tile
	found := false
	p.around(col, row, func(t Tile) bool {
		out, found = t, px.In(t.Window)
		return !found
	})
	return out, found
}
