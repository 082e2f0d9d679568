package sam

import (
	"context"
	"fmt"
	"image"
	"iter"
	"path/filepath"
	"time"

	"github.com/slidesam/sam/internal/geojson"
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
	// Disjoint, Class, Enlarge, Sharpen and Normalise are then each scale's own and must be zero here. The order of the
	// list does not matter, resolutions must differ.
	Scales []SegmentScale
	// Region restricts the work to a rectangle of level 0; zero means all.
	Region image.Rectangle
	// Tile is the side of a tile; 0 means the model's input (1024).
	Tile int
	// Halo is how far neighbouring tiles overlap on each side of a seam; 0
	// means an eighth of the tile. Objects up to about twice as wide are whole
	// in one tile; larger ones are put together, if they are prompted in each
	// tile that they reach, as by the points of a grid, and else dropped.
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
	// Class names the objects in GeoJSON; empty: none. Type is what QuPath makes of
	// them; empty: Detection, as they may be many.
	Class string
	Type  ObjectType
	// Enlarge brings pictures and tiles that are smaller than the model's input
	// to its size, as the original does with all pictures; by default they are
	// padded if the pixel size is known, so that the model sees the resolution
	// that was asked for.
	Enlarge bool
	// Sharpen undoes some of the blur of a slide that is coarser than the
	// resolution to work at, and so is enlarged, by an unsharp mask. The bundled
	// model is more sure of nuclei then.
	Sharpen bool
	// Normalise shows the model the slide in the stains of the bundled model's
	// training set. Those of the slide are found once, in fields all over its tissue
	// (Macenko et al., ISBI 2009); amounts stay, and outputs measure the slide as it
	// is. Stains near those of the training set are left as they are; so are those that
	// are not H&E, which SegmentResult.Doubts say.
	Normalise bool
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
	Type             ObjectType
	Enlarge, Sharpen bool
	Normalise        bool
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
	Notes   []string      // what was done to the slide before it was searched
	Doubts  []string      // why the outlines may be wrong: areas that nuclei do not have, a model that is not sure; once merged
	Scales  []ScaleResult // the coarsest first
}

// Describe says in one line what became of the prompts.
func (r *SegmentResult) Describe() string { return wholeslide.Tally(r.Tally).Describe(r.Objects) }

// Hint says what to try if most masks were dropped for one reason, or nothing
// was prompted; it is empty if there is nothing to say.
func (r *SegmentResult) Hint() string { return wholeslide.Tally(r.Tally).Hint(r.Objects) }

// Features yields the objects of a run that was merged, one by one, as they are in
// its GeoJSON file.
func (r *SegmentResult) Features() iter.Seq2[Feature, error] {
	return func(yield func(Feature, error) bool) {
		for o, err := range geojson.ReadFile(filepath.Join(r.Dir, GeoJSONFile), geojson.Options{}) {
			var f Feature
			if err != nil {
				err = fmt.Errorf("sam: objects of %s: %w", r.Dir, err)
			} else {
				f = newFeature(o)
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

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
	Severed      int // of these, dropped because they end at a tile's side where its neighbour saw nothing of them
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
	out := &SegmentResult{Dir: r.Dir, Tiles: r.Tiles, Resumed: r.Resumed, Objects: r.Objects, Merged: r.Merged, Tally: SegmentTally(r.Tally), Missing: r.Missing, Notes: r.Notes, Doubts: r.Doubts}
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
	Name       string
	Find       func(ctx context.Context, img *image.RGBA, t SlideTile) ([]Region, error)
	Unprompted bool // Find looks at no prompts: it is given none, and none are counted
	maps       wholeslide.MapFinder
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
