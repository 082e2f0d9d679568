package sam

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"reflect"
	"slices"

	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/pointgrid"
	"github.com/slidesam/sam/internal/wholeslide"
)

// slideRun is who searches the tiles of a run.
type slideRun struct {
	side     int    // of a tile, if the options do not say
	name     string // of the model or the finder
	defaults Defaults
	find     func(ctx context.Context, img *image.RGBA, e EverythingOptions, at tileGrid, mpp float64) ([]Region, wholeslide.Tally, error)
	maps     wholeslide.MapFinder // or, in find's place
}

func (m *Model) slideRun() slideRun {
	print := m.Fingerprint()
	side := m.encoder.ImageSize()
	return slideRun{side: side, name: hex.EncodeToString(print[:]), defaults: m.defaults, find: func(ctx context.Context, img *image.RGBA, e EverythingOptions, at tileGrid, mpp float64) ([]Region, wholeslide.Tally, error) {
		window := img.Rect.Size()
		if mpp > 0 && !at.enlarge {
			img = picture.Padded(img, side)
		}
		src, err := picture.New(img)
		if err != nil {
			return nil, wholeslide.Tally{}, err
		}
		rs, tally, err := everything(ctx, &modelMasks{m: m, src: src}, Size(src.Bounds()), e, &at)
		if err != nil || img.Rect.Size() == window {
			return rs, tally, err
		}
		for i, r := range rs {
			if rs[i].Mask, err = r.Mask.Place(Size{H: window.Y, W: window.X}, image.Point{}); err != nil {
				return nil, tally, err
			}
		}
		return rs, tally, nil
	}}
}

const finderSide = 1024 // of a tile, for a finder that is no model

func (f SlideFinder) slideRun() slideRun {
	return slideRun{side: finderSide, name: f.Name, defaults: publishedDefaults, maps: f.maps, find: func(ctx context.Context, img *image.RGBA, e EverythingOptions, at tileGrid, mpp float64) ([]Region, wholeslide.Tally, error) {
		g, err := newGenerator(Size{H: img.Rect.Dy(), W: img.Rect.Dx()}, e, &at)
		if err != nil {
			return nil, wholeslide.Tally{}, err
		}
		t := SlideTile{Core: at.Core, Window: at.Window, MPP: mpp}
		if !f.Unprompted {
			for _, c := range pointgrid.Crops(g.size.W, g.size.H, g.CropNLayers, g.CropOverlapRatio) {
				for _, p := range g.prompts(c) {
					t.Prompts = append(t.Prompts, p.prompt)
				}
			}
		}
		rs, err := f.Find(ctx, img, t)
		return rs, wholeslide.Tally{Prompts: len(t.Prompts), Masks: len(rs)}, err
	}}
}

func segmentSlide(ctx context.Context, s *Slide, dir string, r slideRun, o SegmentOptions) (*SegmentResult, error) {
	p, err := newSlidePlan(ctx, s, r, o)
	if err != nil {
		return nil, fmt.Errorf("sam: segment slide: %w", err)
	}
	var progress func(wholeslide.Progress)
	if o.Progress != nil {
		progress = func(p wholeslide.Progress) { o.Progress(SegmentProgress(p)) }
	}
	res, err := p.Run(ctx, s.w, dir, progress)
	if err == nil && o.Shards <= 1 {
		resumed := res.Resumed
		if res, err = p.Merge(ctx, s.w, dir); err == nil {
			res.Resumed = resumed
		}
	}
	if err != nil {
		return nil, fmt.Errorf("sam: segment slide: %w", err)
	}
	return newSegmentResult(res), nil
}

func mergeSlide(ctx context.Context, s *Slide, dir string, r slideRun, o SegmentOptions) (*SegmentResult, error) {
	o.Shard, o.Shards = 0, 0
	p, err := newSlidePlan(ctx, s, r, o)
	var res *wholeslide.Result
	if err == nil {
		res, err = p.Merge(ctx, s.w, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("sam: merge slide: %w", err)
	}
	return newSegmentResult(res), nil
}

// newSlidePlan lays out the tiles of a run.
func newSlidePlan(ctx context.Context, s *Slide, r slideRun, o SegmentOptions) (*wholeslide.Plan, error) {
	scales, err := o.scales()
	if err != nil {
		return nil, err
	}
	w := wholeslide.Options{Region: o.Region, Tile: o.Tile, Halo: o.Halo, Shard: o.Shard, Shards: o.Shards}
	if w.Tile == 0 {
		w.Tile = r.side
	}
	mx, my := s.MPP()
	for _, sc := range scales {
		if sc.MPP == 0 {
			sc.MPP = r.defaults.Resolution(math.Sqrt(mx * my))
		}
		sc.Everything = r.defaults.at(sc.MPP, math.Sqrt(mx*my)).fill(sc.Everything)
		q, err := r.scale(sc)
		if err != nil {
			return nil, err
		}
		w.Scales = append(w.Scales, q)
	}
	switch {
	case o.AllTiles:
	case o.Tissue != nil:
		w.Tissue = o.Tissue.pixels()
	default:
		if w.Tissue, err = wholeslide.SearchMask(ctx, s.w); err != nil {
			return nil, err
		}
	}
	return wholeslide.New(ctx, s.w, w)
}

// scales returns the scales to work at: those of the list, or the one that
// the other fields stand for.
func (o SegmentOptions) scales() ([]SegmentScale, error) {
	one := SegmentScale{
		MPP: o.MPP, Everything: o.Everything, Find: o.Find, FindName: o.FindName,
		MinArea: o.MinArea, MaxArea: o.MaxArea, Disjoint: o.Disjoint, Class: o.Class, Type: o.Type, Enlarge: o.Enlarge, Sharpen: o.Sharpen, Normalise: o.Normalise,
	}
	if len(o.Scales) == 0 {
		return []SegmentScale{one}, nil
	}
	if !reflect.ValueOf(one).IsZero() {
		return nil, errors.New("both Scales and one of MPP, Everything, Find, FindName, MinArea, MaxArea, Disjoint, Class, Enlarge, Sharpen, Normalise are given: set these in each scale")
	}
	return slices.Clone(o.Scales), nil
}

// scale returns the scale as the machinery below knows it.
func (r slideRun) scale(sc SegmentScale) (wholeslide.Scale, error) {
	switch {
	case sc.Everything.Prompts != nil || sc.Everything.PromptsOnly:
		return wholeslide.Scale{}, errors.New("prompts in Everything belong to one picture: use Find")
	case sc.Find != nil && sc.FindName == "":
		return wholeslide.Scale{}, errors.New("prompts by Find need a FindName, so that tiles searched by another finder are not taken for its own")
	}
	id, err := json.Marshal(newFinderIdentity(r.name, sc))
	if err != nil {
		return wholeslide.Scale{}, err
	}
	return wholeslide.Scale{
		MPP: sc.MPP, MinArea: sc.MinArea, MaxArea: sc.MaxArea, Disjoint: sc.Disjoint, Class: sc.Class, Type: geojson.ObjectType(sc.Type), Finder: id, Sharpen: sc.Sharpen, Normalise: sc.Normalise, Nuclei: sc.FindName == "nuclei", Maps: r.maps,
		Find: func(ctx context.Context, img *image.RGBA, t wholeslide.Tile) ([]wholeslide.Object, wholeslide.Tally, error) {
			return r.search(ctx, img, t, sc)
		},
	}, nil
}

func newFinderIdentity(model string, sc SegmentScale) wholeslide.SearchIdentity {
	e := sc.Everything
	id := wholeslide.SearchIdentity{
		Model: model, Find: sc.FindName, PointsPerSide: e.PointsPerSide, SingleMask: e.SingleMask,
		PredIoUThresh: e.PredIoUThresh, StabilityScoreThresh: e.StabilityScoreThresh, StabilityScoreOffset: e.StabilityScoreOffset,
		MaskThreshold: e.MaskThreshold, BoxNMSThresh: e.BoxNMSThresh, CropNMSThresh: e.CropNMSThresh, CropNLayers: e.CropNLayers,
		CropOverlapRatio: e.CropOverlapRatio, CropNPointsDownscaleFactor: e.CropNPointsDownscaleFactor,
		MinMaskRegionArea: e.MinMaskRegionArea, Local: e.Local, Enlarge: sc.Enlarge, Sharpen: sc.Sharpen,
	}
	if len(e.PointGrids) > 0 {
		id.PointGrids = e.PointGrids
	}
	return id
}

// search finds the objects of one tile.
func (r slideRun) search(ctx context.Context, img *image.RGBA, t wholeslide.Tile, sc SegmentScale) ([]wholeslide.Object, wholeslide.Tally, error) {
	var none wholeslide.Tally
	e := sc.Everything
	e.Progress = nil
	clipped := 0
	if sc.Find != nil {
		ps, err := sc.Find(ctx, img, t.MPP)
		if err != nil {
			return nil, none, fmt.Errorf("find prompts: %w", err)
		}
		if ps = nearCore(t, ps); len(ps) == 0 {
			return nil, none, nil
		}
		ps, clipped = clipNear(ps, Size{H: img.Rect.Dy(), W: img.Rect.Dx()})
		e.Prompts, e.PointsPerSide, e.PointGrids = ps, 0, nil
	}
	rs, tally, err := r.find(ctx, img, e, tileGrid{pointgrid.Tile{Window: t.Window, Core: t.Core}, sc.Enlarge}, t.MPP)
	if err != nil {
		return nil, none, err
	}
	tally.Clipped = clipped
	out := make([]wholeslide.Object, len(rs))
	for i, g := range rs {
		pt := wholeslide.Point{X: g.Point.X, Y: g.Point.Y}
		if g.Prompt >= 0 && g.Prompt < len(e.Prompts) {
			if _, ok := e.Prompts[g.Prompt].place(); !ok && g.Mask.Area() > 0 {
				pt.X, pt.Y = g.Mask.pixels().Centroid()
			}
		}
		out[i] = wholeslide.Object{Mask: g.Mask.pixels(), IoUPred: g.IoUPred, Stability: g.Stability, Pt: pt}
	}
	return out, tally, nil
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
func nearCore(t wholeslide.Tile, ps []Prompt) []Prompt {
	core := t.Core.Sub(t.Window.Min).Inset(-t.Halo / 8)
	var out []Prompt
	for _, p := range ps {
		if at, ok := p.place(); !ok || image.Pt(int(at.X), int(at.Y)).In(core) {
			out = append(out, p)
		}
	}
	return out
}
