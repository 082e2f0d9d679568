package sam

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"math"
	"reflect"
	"slices"
	"time"

	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/wholeslide"
)

// ErrOtherRun is wrapped by the error for a folder that holds the tiles of a
// run with another slide, model or options.
var ErrOtherRun = wholeslide.ErrOtherRun

// ErrUnfinished is wrapped by the error of MergeSlide when tiles are missing.
var ErrUnfinished = wholeslide.ErrUnfinished

// Names of the outputs in a run's folder. A run of several scales has a file
// of labels for each, see ScaleResult.
const (
	GeoJSONFile = wholeslide.GeoJSONFile
	CSVFile     = wholeslide.CSVFile
	LabelsFile  = wholeslide.LabelsFile
	OverlayFile = wholeslide.OverlayFile
	SummaryFile = wholeslide.SummaryFile // what became of the prompts, as JSON
)

// SegmentOptions changes how SegmentSlide works. The zero value looks for all
// objects on the slide's tissue at its finest level.
type SegmentOptions struct {
	// MPP is the resolution to work at, in micrometres per pixel; 0 means the
	// model's own, see [Model.Defaults], or else that of level 0, and is the
	// only choice if the slide has none.
	MPP float64
	// Scales looks at several resolutions in one run, from nuclei to glands to
	// regions of tumour; MPP, Everything, Find, FindName, MinArea, MaxArea,
	// Disjoint, Class and Enlarge are then each scale's own and must be zero here. The order of the
	// list does not matter, resolutions must differ.
	Scales []SegmentScale
	// Region restricts the work to a rectangle of level 0; zero means all.
	Region image.Rectangle
	// Tile is the side of a tile; 0 means the model's input (1024).
	Tile int
	// Halo is how far neighbouring tiles overlap on each side of a seam; 0
	// means an eighth of the tile. Objects up to about twice as wide are whole
	// in one tile; larger ones are put together, if they are prompted in each
	// tile that they reach, as by the points of a grid.
	Halo int
	// Tissue says where to look, as a mask of the slide at any size; nil
	// means TissueMask. Tiles whose core has no tissue are left out.
	Tissue *Mask
	// AllTiles looks everywhere.
	AllTiles bool
	// Everything says how a tile is searched. Its Prompts must be nil. A grid
	// of PointsPerSide has the spacing it would have in one tile, but its
	// points are the slide's, so that each is decoded by one tile.
	Everything EverythingOptions
	// Find gives the prompts of a tile instead of a grid of points, for
	// instance FindNuclei; those more than an eighth of a halo outside the
	// tile's core are a neighbour's and not decoded. FindName names it, and
	// must be given with it: tiles that were searched by a finder of another
	// name are told apart by it.
	Find     func(ctx context.Context, tile *image.RGBA, mpp float64) ([]Prompt, error)
	FindName string
	// MinArea and MaxArea bound objects, in pixels of the working
	// resolution; MaxArea 0 means no bound.
	MinArea, MaxArea int
	// Disjoint says that objects do not overlap, as nuclei do not: of two of
	// which one lies in the other by more than half, the one of higher
	// predicted IoU stays; else that one keeps the pixels that both have, and
	// the other's largest part is what is left of it. No pixel belongs to two.
	Disjoint bool
	// Shard of Shards takes every Shards-th tile; Shards 0 or 1 means all.
	// A run with more than one shard leaves the outputs to MergeSlide.
	Shard, Shards int
	// Class names the objects in GeoJSON; empty: none.
	Class string
	// Enlarge brings pictures and tiles that are smaller than the model's input
	// to its size, as the original does with all pictures; by default they are
	// padded if the pixel size is known, so that the model sees the resolution
	// that was asked for.
	Enlarge bool
	// Progress, if set, is told after each tile. It is called by one
	// goroutine at a time.
	Progress func(SegmentProgress)
}

// SegmentScale is one resolution of several to look for objects at. The
// fields mean what they mean in SegmentOptions.
//
// MinArea and MaxArea keep a scale to the objects it is for, in its own
// pixels: a nucleus of 50 square micrometres has 200 at 0.5 micrometres per
// pixel, and 3 at 4.
type SegmentScale struct {
	MPP              float64
	Everything       EverythingOptions
	Find             func(ctx context.Context, tile *image.RGBA, mpp float64) ([]Prompt, error)
	FindName         string
	MinArea, MaxArea int
	Disjoint         bool
	Class            string
	Enlarge          bool
}

// SegmentProgress says how far a run is.
type SegmentProgress struct {
	Done, Total int           // tiles of this run, those of earlier runs included
	Resumed     int           // tiles that an earlier run had finished
	Objects     int           // found so far, before seams are merged
	Elapsed     time.Duration // of this run
	Left        time.Duration // what remains at this pace, 0 if unknown
}

// SegmentResult says what a run did.
type SegmentResult struct {
	Dir     string
	Tiles   int // with tissue, of all shards
	Resumed int // that an earlier run had finished
	Objects int // after the seams are merged; 0 if other shards are missing
	Merged  bool
	Tally   SegmentTally  // what became of the prompts, once merged
	Missing []string      // tiles of the slide that could not be read and were left out, once merged
	Scales  []ScaleResult // the coarsest first
}

// Describe says in one line what became of the prompts.
func (r *SegmentResult) Describe() string { return wholeslide.Tally(r.Tally).Describe(r.Objects) }

// Hint says what to try if most masks were dropped for one reason, or nothing
// was prompted; it is empty if there is nothing to say.
func (r *SegmentResult) Hint() string { return wholeslide.Tally(r.Tally).Hint(r.Objects) }

// SegmentTally counts what became of prompts and masks on the way to objects.
type SegmentTally struct {
	Prompts      int // that the model was given
	Clipped      int // prompts just outside the picture that were brought to its edge
	Masks        int // that it answered with
	LowIoU       int // dropped by predicted IoU
	LowStability int // dropped by stability
	Edge         int // dropped at the edge of a crop
	Duplicates   int // dropped for a better one of nearly the same box, within a tile
	Size         int // dropped because they are too small, too large or empty
	Seen         int // objects that tiles kept; seams and overlaps leave SegmentResult.Objects of them
}

// ScaleResult says what a run did at one scale.
type ScaleResult struct {
	MPP     float64 // 0: unknown
	Class   string
	Tiles   int    // with tissue, of all shards
	Objects int    // as SegmentResult.Objects
	Labels  string // name of the file of labels
}

func newSegmentResult(r *wholeslide.Result) *SegmentResult {
	out := &SegmentResult{Dir: r.Dir, Tiles: r.Tiles, Resumed: r.Resumed, Objects: r.Objects, Merged: r.Merged, Tally: SegmentTally(r.Tally), Missing: r.Missing}
	for _, s := range r.Scales {
		out.Scales = append(out.Scales, ScaleResult(s))
	}
	return out
}

// SlideTile is one rectangle of a slide that is searched, in pixels of the
// scale.
type SlideTile struct {
	Core   image.Rectangle // the tile's own; cores fill the slide
	Window image.Rectangle // what is read: the core and a halo around it
	MPP    float64         // micrometres per pixel; 0: unknown
	// Prompts is what to look for, in the frame of the window: the points of
	// the slide's grid that lie in the core, or what SegmentScale.Find gave.
	Prompts []Prompt
}

// SlideFinder finds the objects of a tile: a model of another kind, a server,
// a test. Find gets the tile's window on white, which it must not keep, and
// returns regions in its frame. Name tells the runs of different finders apart.
type SlideFinder struct {
	Name string
	Find func(ctx context.Context, img *image.RGBA, t SlideTile) ([]Region, error)
}

// SegmentSlide finds the objects of a slide, tile by tile, and writes them to
// the folder dir: objects.geojson for QuPath, objects.csv, labels.tif and
// overlay.png. With several scales, the objects of all are in one file, and
// each scale has its own labels, labels-0.5.tif and so on.
//
// An object that two scales found, masks of an IoU above 0.5, stays once: as
// the finer scale saw it, unless that scale had to put it together from
// tiles none of which saw it whole. A nucleus in a gland in a tumour is three
// objects.
//
// Memory does not grow with the slide: tiles are read, searched and written
// one by one, and merged along their seams in a second pass. Each finished
// tile is a file in dir, so that a run that was killed continues where it
// was; the outputs do not depend on how often that happened, on the number of
// goroutines or on shards, bit for bit.
//
// The error wraps ErrOtherRun if dir holds a run of something else, and
// ctx's error soon after ctx is done. When SegmentSlide returns nothing reads
// the slide any more.
func (m *Model) SegmentSlide(ctx context.Context, s *Slide, dir string, o SegmentOptions) (*SegmentResult, error) {
	return segmentSlide(ctx, s, dir, m.slideRun(), o)
}

// MergeSlide writes the outputs of a run whose shards are all done, and
// changes nothing else. The options must be those of the run, but for Shard,
// Shards and Progress. The error wraps ErrUnfinished if tiles are missing,
// ErrOtherRun if dir holds a run of something else, and os.ErrNotExist if it
// holds none.
func (m *Model) MergeSlide(ctx context.Context, s *Slide, dir string, o SegmentOptions) (*SegmentResult, error) {
	return mergeSlide(ctx, s, dir, m.slideRun(), o)
}

// SegmentSlide is [Model.SegmentSlide] with a finder of objects in the model's
// place. Of Everything only what makes the points of the grid counts.
func SegmentSlide(ctx context.Context, s *Slide, dir string, f SlideFinder, o SegmentOptions) (*SegmentResult, error) {
	return segmentSlide(ctx, s, dir, f.slideRun(), o)
}

// MergeSlide is [Model.MergeSlide] for runs of [SegmentSlide].
func MergeSlide(ctx context.Context, s *Slide, dir string, f SlideFinder, o SegmentOptions) (*SegmentResult, error) {
	return mergeSlide(ctx, s, dir, f.slideRun(), o)
}

// slideRun is who searches the tiles of a run.
type slideRun struct {
	side     int    // of a tile, if the options do not say
	name     string // of the model or the finder
	defaults Defaults
	find     func(ctx context.Context, img *image.RGBA, e EverythingOptions, at tileGrid, mpp float64) ([]Region, wholeslide.Tally, error)
}

func (m *Model) slideRun() slideRun {
	print := m.Fingerprint()
	side := m.encoder.ImageSize()
	return slideRun{side, hex.EncodeToString(print[:]), m.defaults, func(ctx context.Context, img *image.RGBA, e EverythingOptions, at tileGrid, mpp float64) ([]Region, wholeslide.Tally, error) {
		window := img.Rect.Size()
		if mpp > 0 && !at.enlarge {
			img = padded(img, side)
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

// padded returns a picture that is smaller than the model's frame on a canvas
// of that size, so that the model sees it at its resolution and not enlarged.
// The canvas has the picture's median colour, which is no object.
func padded(img *image.RGBA, side int) *image.RGBA {
	w, h := img.Rect.Dx(), img.Rect.Dy()
	if max(w, h) >= side || w == 0 || h == 0 {
		return img
	}
	var median [3]byte
	for c := range median {
		var n [256]int
		for y := range h {
			row := img.Pix[y*img.Stride:][:4*w]
			for x := c; x < len(row); x += 4 {
				n[row[x]]++
			}
		}
		for left := w * h / 2; left >= n[median[c]]; median[c]++ {
			left -= n[median[c]]
		}
	}
	out := image.NewRGBA(image.Rect(0, 0, side, side))
	draw.Draw(out, out.Rect, image.NewUniform(color.RGBA{median[0], median[1], median[2], 255}), image.Point{}, draw.Src)
	draw.Draw(out, image.Rect(0, 0, w, h), img, img.Rect.Min, draw.Src)
	return out
}

// finderSide is the side of a tile for a finder that is no model.
const finderSide = 1024

func (f SlideFinder) slideRun() slideRun {
	return slideRun{finderSide, f.Name, publishedDefaults, func(ctx context.Context, img *image.RGBA, e EverythingOptions, at tileGrid, mpp float64) ([]Region, wholeslide.Tally, error) {
		g, err := newGenerator(Size{H: img.Rect.Dy(), W: img.Rect.Dx()}, e, &at)
		if err != nil {
			return nil, wholeslide.Tally{}, err
		}
		t := SlideTile{Core: at.core, Window: at.window, MPP: mpp}
		for _, c := range g.crops() {
			for _, p := range g.prompts(c) {
				t.Prompts = append(t.Prompts, p.prompt)
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
		sc.Everything = r.defaults.fill(sc.Everything)
		if sc.MPP == 0 {
			sc.MPP = r.defaults.resolution(math.Sqrt(mx * my))
		}
		q, err := r.scale(sc)
		if err != nil {
			return nil, err
		}
		w.Scales = append(w.Scales, q)
	}
	if !o.AllTiles {
		tissue := o.Tissue
		if tissue == nil {
			if tissue, err = tissueMask(ctx, s); err != nil {
				return nil, err
			}
		}
		w.Tissue = tissue.pixels()
	}
	return wholeslide.New(ctx, s.w, w)
}

// scales returns the scales to work at: those of the list, or the one that
// the other fields stand for.
func (o SegmentOptions) scales() ([]SegmentScale, error) {
	one := SegmentScale{
		MPP: o.MPP, Everything: o.Everything, Find: o.Find, FindName: o.FindName,
		MinArea: o.MinArea, MaxArea: o.MaxArea, Disjoint: o.Disjoint, Class: o.Class, Enlarge: o.Enlarge,
	}
	if len(o.Scales) == 0 {
		return []SegmentScale{one}, nil
	}
	if !reflect.ValueOf(one).IsZero() {
		return nil, errors.New("both Scales and one of MPP, Everything, Find, FindName, MinArea, MaxArea, Disjoint, Class, Enlarge are given: set these in each scale")
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
		MPP: sc.MPP, MinArea: sc.MinArea, MaxArea: sc.MaxArea, Disjoint: sc.Disjoint, Class: sc.Class, Finder: id,
		Find: func(ctx context.Context, img *image.RGBA, t wholeslide.Tile) ([]wholeslide.Object, wholeslide.Tally, error) {
			return r.search(ctx, img, t, sc)
		},
	}, nil
}

// finderIdentity is what the objects of a tile depend on besides its pixels.
// The names of its fields are part of a run's identity and must not change.
type finderIdentity struct {
	Model                      string    `json:"model"`
	Find                       string    `json:"find,omitempty"`
	PointsPerSide              int       `json:"points_per_side"`
	PointGrids                 [][]Point `json:"point_grids,omitempty"`
	SingleMask                 bool      `json:"single_mask"`
	PredIoUThresh              float64   `json:"pred_iou_thresh"`
	StabilityScoreThresh       float64   `json:"stability_score_thresh"`
	StabilityScoreOffset       float64   `json:"stability_score_offset"`
	MaskThreshold              float64   `json:"mask_threshold"`
	BoxNMSThresh               float64   `json:"box_nms_thresh"`
	CropNMSThresh              float64   `json:"crop_nms_thresh"`
	CropNLayers                int       `json:"crop_n_layers"`
	CropOverlapRatio           float64   `json:"crop_overlap_ratio"`
	CropNPointsDownscaleFactor int       `json:"crop_n_points_downscale_factor"`
	MinMaskRegionArea          int       `json:"min_mask_region_area"`
	Local                      bool      `json:"local"`
	Enlarge                    bool      `json:"enlarge"`
}

func newFinderIdentity(model string, sc SegmentScale) finderIdentity {
	e := sc.Everything
	return finderIdentity{
		Model: model, Find: sc.FindName, PointsPerSide: e.PointsPerSide, PointGrids: e.PointGrids, SingleMask: e.SingleMask,
		PredIoUThresh: e.PredIoUThresh, StabilityScoreThresh: e.StabilityScoreThresh, StabilityScoreOffset: e.StabilityScoreOffset,
		MaskThreshold: e.MaskThreshold, BoxNMSThresh: e.BoxNMSThresh, CropNMSThresh: e.CropNMSThresh, CropNLayers: e.CropNLayers,
		CropOverlapRatio: e.CropOverlapRatio, CropNPointsDownscaleFactor: e.CropNPointsDownscaleFactor,
		MinMaskRegionArea: e.MinMaskRegionArea, Local: e.Local, Enlarge: sc.Enlarge,
	}
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
	rs, tally, err := r.find(ctx, img, e, tileGrid{t.Window, t.Core, sc.Enlarge}, t.MPP)
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
