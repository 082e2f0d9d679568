package wholeslide

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/wsi"
)

// Run searches the tiles of the plan's shard that are not done, and keeps what
// is found of each as a file in dir. One tile is read ahead while another is
// searched. progress, if not nil, is told after each tile.
//
// The error wraps ErrOtherRun if dir holds a run of something else, and ctx's
// error soon after ctx is done. When Run returns nothing reads the slide any
// more.
func (p *Plan) Run(ctx context.Context, s *wsi.Slide, dir string, progress func(Progress)) (*Result, error) {
	if err := p.claim(dir); err != nil {
		return nil, err
	}
	res := p.result(dir)
	ctx, stop := context.WithCancel(ctx)
	todo, total, err := p.unfinished(ctx, dir, res)
	if err != nil {
		stop()
		return nil, err
	}
	ahead := make(chan tilePicture, 1)
	go readAhead(ctx, s, todo, ahead)
	defer func() {
		stop()
		for range ahead { // until the reader is gone
		}
	}()
	begun, done, objects := time.Now(), 0, 0
	report := func() {
		if progress == nil {
			return
		}
		r := Progress{Done: res.Resumed + done, Total: total, Resumed: res.Resumed, Objects: objects, Elapsed: time.Since(begun)}
		if done > 0 {
			r.Left = r.Elapsed / time.Duration(done) * time.Duration(len(todo)-done)
		}
		progress(r)
	}
	report()
	for t := range ahead {
		n, err := 0, t.err
		if err == nil {
			n, err = t.search(ctx, dir)
		}
		if err != nil {
			return nil, fmt.Errorf("tile %d at %v of the slide at %g micrometres per pixel: %w", t.tile.Index, t.tile.Window, t.plan.mpp, err)
		}
		done, objects = done+1, objects+n
		report()
	}
	if err := ctx.Err(); err != nil || p.shards == 1 {
		return res, err
	}
	return res, p.describeShard(dir)
}

func (p *Plan) result(dir string) *Result {
	r := &Result{Dir: dir, Tiles: p.Tiles(), Notes: p.notes}
	for _, q := range p.scales {
		r.Scales = append(r.Scales, ScaleResult{MPP: q.mpp, Class: q.Class, Tiles: len(q.tiles), Labels: p.labelsName(q)})
	}
	return r
}

// tilePicture is a tile on its way to the finder.
type tilePicture struct {
	plan *scalePlan
	tile Tile
	img  *image.RGBA // as it was scanned
	seen *image.RGBA // as the finder is shown it; img itself if nothing is done to it
	err  error

	missing []string // tiles of the slide that were left out of img
}

// unfinished returns the tiles of the shard that have to be done, and how many
// the shard has.
func (p *Plan) unfinished(ctx context.Context, dir string, res *Result) (todo []tilePicture, total int, err error) {
	k, swept := -1, ""
	for _, q := range p.scales {
		for _, i := range q.tiles {
			if k++; k%p.shards != p.shard {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, 0, err
			}
			if folder := filepath.Dir(tilePath(dir, q, i)); folder != swept {
				if err := atomicfile.Sweep(folder); err != nil {
					return nil, 0, err
				}
				swept = folder
			}
			total++
			switch _, err := readTile(dir, q, i); {
			case err == nil:
				res.Resumed++
			case errors.Is(err, errNoTile):
				todo = append(todo, tilePicture{plan: q, tile: q.at(i)})
			default:
				return nil, 0, err
			}
		}
	}
	return todo, total, nil
}

// readAhead reads the tiles' pictures until one cannot be read or ctx is done.
func readAhead(ctx context.Context, s *wsi.Slide, todo []tilePicture, ahead chan<- tilePicture) {
	defer close(ahead)
	for _, t := range todo {
		if t.img, t.err = readWindow(ctx, s, t.plan, t.tile.Window); t.err == nil {
			t.seen, t.err = t.plan.prepare(t.img)
		}
		t.missing = t.plan.missing(s, t.tile.Window)
		select {
		case ahead <- t:
		case <-ctx.Done():
			return
		}
		if t.err != nil {
			return
		}
	}
}

// search finds the tile's objects and writes its file; it returns how many
// there are.
func (t tilePicture) search(ctx context.Context, dir string) (int, error) {
	if t.plan.Maps.Find != nil {
		return t.chart(ctx, dir)
	}
	found, tally, err := t.plan.Find(ctx, t.seen, t.tile)
	if err != nil {
		return 0, err
	}
	seen, err := t.plan.keep(t.tile, t.img, found)
	if err != nil {
		return 0, err
	}
	tally.Size += len(found) - len(seen)
	tally.Seen = len(seen)
	return len(seen), writeTile(dir, t.plan, t.tile, tileContent{seen: seen, tally: tally, missing: t.missing})
}

// chart has the tile's maps made and writes its file; it returns how many
// objects they show by themselves.
func (t tilePicture) chart(ctx context.Context, dir string) (int, error) {
	maps, err := t.plan.Maps.Find(ctx, t.seen, t.tile)
	if err != nil {
		return 0, err
	}
	if w := t.tile.Window; maps.H != w.Dy() || maps.W != w.Dx() {
		return 0, fmt.Errorf("maps of %d x %d pixels for a window of %d x %d", maps.W, maps.H, w.Dx(), w.Dy())
	}
	if err := maps.Check(); err != nil { // rounding would hide what is no number
		return 0, err
	}
	maps = roundMaps(maps)
	found, err := instance.Find(ctx, maps, t.plan.Maps.Options)
	if err != nil {
		return 0, err
	}
	h, strips, err := t.plan.encodeMaps(t.tile, maps)
	if err != nil {
		return 0, err
	}
	for _, k := range found {
		at := t.tile.Window.Min
		if owner, ok := t.plan.claimant(k.Seed.Add(at)); ok && owner.Index == t.tile.Index && k.Deep.Add(at).In(t.plan.area) && t.plan.fits(k.Mask.Area()) {
			h.Count++
		}
	}
	return h.Count, writeTile(dir, t.plan, t.tile, tileContent{missing: t.missing, maps: h, strips: strips})
}

// fits reports whether an object's area lies within the bounds.
func (p *scalePlan) fits(area int) bool {
	return area >= p.MinArea && (p.MaxArea == 0 || area <= p.MaxArea)
}

// keep brings what was found in a tile's window to the frame of the scale,
// measures its stain, and leaves out what is too small or too large.
func (p *scalePlan) keep(t Tile, img *image.RGBA, found []Object) ([]sighting, error) {
	var out []sighting
	w := t.Window
	for _, o := range found {
		a := o.Mask.Area()
		if a == 0 || !p.fits(a) {
			continue
		}
		m, err := o.Mask.Place(p.size, w.Min)
		if err != nil {
			return nil, err
		}
		o.stain = histology.MeanStain(img, o.Mask)
		b := m.Bounds()
		cut := b.Min.X == w.Min.X && w.Min.X > 0 || b.Min.Y == w.Min.Y && w.Min.Y > 0 ||
			b.Max.X == w.Max.X && w.Max.X < p.size.W || b.Max.Y == w.Max.Y && w.Max.Y < p.size.H
		o.Mask, o.Pt = m, Point{o.Pt.X + float64(w.Min.X), o.Pt.Y + float64(w.Min.Y)}
		out = append(out, sighting{o, cut})
	}
	return out, nil
}

// Enlarged is how much a slide is enlarged, at least, for that to be seen.
const Enlarged = 1.2

// readWindow reads a rectangle of the scale, on white where nothing was
// scanned.
func readWindow(ctx context.Context, s *wsi.Slide, p *scalePlan, r image.Rectangle) (*image.RGBA, error) {
	img := image.NewRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	var err error
	if p.fx == 1 && p.fy == 1 {
		err = s.ReadRegion(ctx, 0, r.Min, img)
	} else {
		err = s.ReadAt(ctx, p.mpp, r.Min, img)
	}
	if err != nil {
		return nil, err
	}
	wsi.OnWhite(img)
	return img, nil
}

// prepare returns a window's picture as the finder is shown it: its stains
// normalised, sharpened, or as it is.
func (p *scalePlan) prepare(img *image.RGBA) (*image.RGBA, error) {
	enlarged := 1 / math.Sqrt(p.fx*p.fy)
	sharpen := p.Sharpen && enlarged >= Enlarged
	if p.stains == nil && !sharpen {
		return img, nil
	}
	out := &image.RGBA{Pix: slices.Clone(img.Pix), Stride: img.Stride, Rect: img.Rect}
	if p.stains != nil {
		if err := histology.NormaliseStains(out, *p.stains, histology.TrainingStains); err != nil {
			return nil, err
		}
	}
	if sharpen {
		histology.Sharpen(out, enlarged)
	}
	return out, nil
}

// missing names the tiles of the slide that were left out and that lie in a
// rectangle of the scale.
func (p *scalePlan) missing(s *wsi.Slide, r image.Rectangle) []string {
	var out []string
	x0, y0, x1, y1 := p.level0(r)
	for _, e := range s.Skipped() {
		f := s.Levels()[e.Level].Downsample
		if float64(e.Rect.Min.X)*f < x1 && float64(e.Rect.Max.X)*f > x0 && float64(e.Rect.Min.Y)*f < y1 && float64(e.Rect.Max.Y)*f > y0 {
			out = append(out, e.Error())
		}
	}
	return out
}
