package sam

import (
	"context"
	"fmt"
	"image"
)

// doTile searches one tile and writes its file.
func doTile(ctx context.Context, dir string, t tilePicture, find tileFinder) (int, error) {
	p, e := t.plan, t.plan.scale.Everything
	e.Progress = nil
	e.tile = &tileGrid{t.tile.window, t.tile.core}
	if f := p.scale.Find; f != nil {
		ps, err := f(ctx, t.img, p.MPP)
		if err != nil {
			return 0, fmt.Errorf("find prompts: %w", err)
		}
		if ps = nearCore(p, t.tile, ps); len(ps) == 0 {
			return 0, writeTile(dir, p, t.tile, nil)
		}
		e.Prompts, e.PointsPerSide, e.PointGrids = ps, 0, nil
	}
	rs, err := find(ctx, t.img, e)
	if err != nil {
		return 0, err
	}
	for i, r := range rs {
		if r.Prompt < 0 || r.Prompt >= len(e.Prompts) {
			continue
		}
		if _, ok := e.Prompts[r.Prompt].place(); !ok && r.Mask.Area() > 0 {
			x, y := r.Mask.pixels().Centroid()
			rs[i].Point = Point{X: x, Y: y, Label: Foreground}
		}
	}
	objects, err := keepRegions(p, t.tile, rs)
	if err != nil {
		return 0, err
	}
	return len(objects), writeTile(dir, p, t.tile, objects)
}

// place returns where a prompt is: its first point or the middle of its box.
// A mask alone has no place.
func (p Prompt) place() (Point, bool) {
	switch {
	case len(p.Points) > 0:
		return p.Points[0], true
	case p.Box != nil:
		return Point{X: (p.Box.X0 + p.Box.X1) / 2, Y: (p.Box.Y0 + p.Box.Y1) / 2}, true
	}
	return Point{}, false
}

// nearCore returns the prompts in the core and an eighth of a halo around it:
// finders of neighbouring tiles need not agree to the pixel on which side of
// the seam an object is. Farther ones are a neighbour's.
func nearCore(p *scalePlan, t slideTile, ps []Prompt) []Prompt {
	core := t.core.Sub(t.window.Min).Inset(-p.Halo / 8)
	var out []Prompt
	for _, q := range ps {
		if at, ok := q.place(); !ok || image.Pt(int(at.X), int(at.Y)).In(core) {
			out = append(out, q)
		}
	}
	return out
}

// readWindow reads a tile at the working resolution, on white where nothing
// was scanned.
func readWindow(ctx context.Context, s *Slide, p *scalePlan, r image.Rectangle) (*image.RGBA, error) {
	var img *image.RGBA
	var err error
	if p.FX == 1 && p.FY == 1 {
		img, err = s.ReadRegion(ctx, 0, r)
	} else {
		img, err = s.ReadAt(ctx, p.MPP, r)
	}
	if err != nil {
		return nil, err
	}
	whiten(img)
	return img, nil
}

// whiten puts a picture on white: where nothing was scanned is glass.
func whiten(img *image.RGBA) {
	for i := 0; i < len(img.Pix); i += 4 {
		q := img.Pix[i : i+4 : i+4]
		if a := q[3]; a != 255 { // premultiplied: the rest of the light is white
			q[0], q[1], q[2], q[3] = q[0]+255-a, q[1]+255-a, q[2]+255-a, 255
		}
	}
}

// keepRegions turns what was found in a tile's window into objects of the
// slide.
func keepRegions(p *scalePlan, t slideTile, rs []Region) ([]tileObject, error) {
	size := Size{H: p.H, W: p.W}
	var out []tileObject
	for _, r := range rs {
		a := r.Mask.Area()
		if a == 0 || a < p.scale.MinArea || p.scale.MaxArea > 0 && a > p.scale.MaxArea {
			continue
		}
		m, err := r.Mask.Place(size, t.window.Min)
		if err != nil {
			return nil, err
		}
		b, w := m.Bounds(), t.window
		cut := b.Min.X == w.Min.X && w.Min.X > 0 || b.Min.Y == w.Min.Y && w.Min.Y > 0 ||
			b.Max.X == w.Max.X && w.Max.X < p.W || b.Max.Y == w.Max.Y && w.Max.Y < p.H
		pt := Point{X: r.Point.X + float64(w.Min.X), Y: r.Point.Y + float64(w.Min.Y), Label: Foreground}
		out = append(out, tileObject{m, r.IoUPred, r.Stability, pt, cut})
	}
	return out, nil
}
