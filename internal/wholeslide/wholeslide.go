// Package wholeslide finds the objects of a whole slide: it cuts the slide into
// tiles, has each searched, joins what neighbouring tiles and scales saw of one
// object, and writes the outputs.
//
// It knows a model only as a [Finder] of objects in a tile, and works in three
// steps that may run in different processes: [New] lays out the tiles, [Plan.Run]
// searches those of one shard and keeps each as a file, [Plan.Merge] writes the
// outputs. Memory does not grow with the slide.
//
// Rectangles, masks and places are in pixels of a scale, those of its
// resolution, unless a name says tile or level 0. Errors carry no package's
// name: whoever hands them to a user adds its own.
//
//	p, err := wholeslide.New(ctx, slide, wholeslide.Options{Scales: []wholeslide.Scale{{Find: find, Finder: id}}})
//	err = p.Run(ctx, slide, dir, nil)
//	result, err := p.Merge(ctx, slide, dir)
package wholeslide

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"time"

	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/histology"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/mask"
)

// ErrOtherRun is wrapped by the error for a folder that holds the tiles of a
// run with another slide, model or options.
var ErrOtherRun = errors.New("folder holds another run")

// ErrUnfinished is wrapped by the error of Merge when tiles are missing.
var ErrUnfinished = errors.New("run is not finished")

// Point is a place in pixels: x right, y down.
type Point struct{ X, Y float64 }

// Object is an object of a slide. A finder gives it in the frame of its tile;
// from then on it is in the frame of its scale.
type Object struct {
	Mask      *mask.Mask
	IoUPred   float32 // the model's guess
	Stability float32
	Pt        Point // what it was found by

	stain histology.Stain // of its pixels, as the tile shows them
}

// Finder returns the objects of a tile, and counts of what it dropped. img is
// the tile's window on white; it must not be kept. Objects are in the frame of
// the window.
type Finder func(ctx context.Context, img *image.RGBA, t Tile) ([]Object, Tally, error)

// MapFinder takes the place of a scale's [Finder] if its Find is set: that
// returns the maps of an instance decoder for a tile's window. They are stitched,
// and objects are made of the map of the whole slide as if it had been one tile,
// see [instance.Bands]: they do not overlap and have no seams. A scale's Finder
// must tell the options apart, too.
type MapFinder struct {
	Find    func(ctx context.Context, img *image.RGBA, t Tile) (instance.Maps, error)
	Options instance.Options
}

// Scale is one resolution to look for objects at.
type Scale struct {
	MPP  float64 // micrometres per pixel; 0: those of level 0
	Find Finder
	Maps MapFinder // in Find's place, which is not looked at then
	// Finder is what the objects of a tile depend on besides its pixels, as
	// JSON: it tells runs apart.
	Finder           json.RawMessage
	MinArea, MaxArea int // in pixels of the scale; MaxArea 0: no bound
	// Disjoint says that objects do not overlap: of two of which one lies in
	// the other by more than half, the one of higher predicted IoU stays; else
	// that one keeps the pixels of both, and of the other its largest part.
	Disjoint bool
	Class    string
	// Sharpen undoes the blur of a slide that is enlarged, see [histology.Sharpen].
	// Finder must tell such runs apart.
	Sharpen bool
	// Normalise shows the finder the slide in the stains of the bundled model's
	// training set, see [histology.NormaliseStains]: those of the slide are found
	// once, and the plan's ID tells such runs apart. Stains near those of the training
	// set are left as they are, and so are those that are not haematoxylin and eosin,
	// which Result.Doubts say.
	Normalise bool
	Nuclei    bool               // objects are nuclei: outlines of other sizes are doubted
	Type      geojson.ObjectType // of the objects; empty: Detection
}

// Options changes how a slide is cut into tiles.
type Options struct {
	Scales     []Scale
	Region     image.Rectangle // of level 0; zero: all
	Tile, Halo int             // pixels of the scale; Halo 0: an eighth of the tile
	// Tissue is where to look, as a mask of the slide at any size; nil:
	// everywhere.
	Tissue        *mask.Mask
	Shard, Shards int // Run does every Shards-th tile
}

// Progress says how far a run is.
type Progress struct {
	Done, Total int           // tiles of this run, those of earlier runs included
	Resumed     int           // tiles that an earlier run had finished
	Objects     int           // found so far, before seams are merged
	Elapsed     time.Duration // of this run
	Left        time.Duration // what remains at this pace, 0 if unknown
}

// Result says what a run did.
type Result struct {
	Dir     string
	Tiles   int // with tissue, of all shards
	Resumed int // that an earlier run had finished
	Objects int // after the seams are merged; 0 if other shards are missing
	Merged  bool
	Tally   Tally         // what became of the prompts of all tiles, once merged
	Missing []string      // tiles of the slide that could not be read and were left out, once merged
	Notes   []string      // what was done to the slide before it was searched
	Doubts  []string      // why the outlines may be wrong, once merged
	Scales  []ScaleResult // the coarsest first
}

// ScaleResult says what a run did at one scale.
type ScaleResult struct {
	MPP     float64 // 0: unknown
	Class   string
	Tiles   int    // with tissue, of all shards
	Objects int    // as Result.Objects
	Labels  string // name of the file of labels
}
