package sam

import (
	"context"
	"errors"
	"image"
	"reflect"
	"slices"
	"time"
)

// SegmentOptions changes how SegmentSlide works. The zero value looks for all
// objects on the slide's tissue at its finest level.
type SegmentOptions struct {
	// MPP is the resolution to work at, in micrometres per pixel; 0 means
	// that of level 0, and is the only choice if the slide has none.
	MPP float64
	// Scales looks at several resolutions in one run, from nuclei to glands to
	// regions of tumour; MPP, Everything, Find, FindName, MinArea, MaxArea,
	// Disjoint and Class are then each scale's own and must be zero here. The order of the
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
	// tile's core are a neighbour's and not decoded. FindName names it: runs
	// of another name in the same folder are told apart by it.
	Find     func(ctx context.Context, tile *image.RGBA, mpp float64) ([]Prompt, error)
	FindName string
	// MinArea and MaxArea bound objects, in pixels of the working
	// resolution; MaxArea 0 means no bound.
	MinArea, MaxArea int
	// Disjoint says that objects do not overlap, as nuclei do not: of two of
	// which one lies in the other by more than half, the one of higher
	// predicted IoU stays.
	Disjoint bool
	// Shard of Shards takes every Shards-th tile; Shards 0 or 1 means all.
	// A run with more than one shard leaves the outputs to MergeSlide.
	Shard, Shards int
	// Class names the objects in GeoJSON; empty: none.
	Class string
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
}

// SegmentProgress says how far a run is.
type SegmentProgress struct {
	Done, Total int           // tiles of this run, those of earlier runs included
	Resumed     int           // tiles that an earlier run had finished
	Objects     int           // found so far, before seams are merged
	Elapsed     time.Duration // of this run
	Left        time.Duration // what remains at this pace, 0 if unknown
}

// scales returns the scales to work at: those of the list, or the one that
// the other fields stand for.
func (o SegmentOptions) scales() ([]SegmentScale, error) {
	short := SegmentScale{o.MPP, o.Everything, o.Find, o.FindName, o.MinArea, o.MaxArea, o.Disjoint, o.Class}
	if len(o.Scales) == 0 {
		return []SegmentScale{short}, nil
	}
	if !reflect.ValueOf(short).IsZero() {
		return nil, errors.New("both Scales and one of MPP, Everything, Find, FindName, MinArea, MaxArea, Disjoint, Class are given: set these in each scale")
	}
	return slices.Clone(o.Scales), nil
}
