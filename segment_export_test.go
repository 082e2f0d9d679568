package sam

import (
	"context"
	"image"
)

// SegmentSlideWith is SegmentSlide with a finder of objects in the model's
// place.
func SegmentSlideWith(ctx context.Context, s *Slide, dir string, o SegmentOptions, find func(ctx context.Context, img *image.RGBA) ([]Region, error)) (*SegmentResult, error) {
	return segmentSlide(ctx, s, dir, 1024, "test", o, func(ctx context.Context, img *image.RGBA, _ EverythingOptions) ([]Region, error) {
		return find(ctx, img)
	})
}

// MergeSlideWith is MergeSlide for runs of SegmentSlideWith.
func MergeSlideWith(ctx context.Context, s *Slide, dir string, o SegmentOptions) (int, error) {
	p, err := newSlidePlan(ctx, s, 1024, "test", o)
	if err != nil {
		return 0, err
	}
	return writeSlide(ctx, s, dir, p, o)
}

// TilesOf lays out the tiles of a slide and returns core and window of each.
func TilesOf(ctx context.Context, s *Slide, o SegmentOptions) (cores, windows []image.Rectangle, err error) {
	p, err := newSlidePlan(ctx, s, 1024, "test", o)
	if err != nil {
		return nil, nil, err
	}
	for _, i := range p.Tiles {
		t := p.tile(i)
		cores, windows = append(cores, t.core), append(windows, t.window)
	}
	return cores, windows, nil
}

// ParseTile reads the bytes of a tile's file of a slide of w x h with one tile.
func ParseTile(b []byte, w, h int) (int, error) {
	p := &slidePlan{W: w, H: h, Tile: max(w, h), Cols: 1, Rows: 1, Area: image.Rect(0, 0, w, h), ID: "x"}
	o, err := parseTile(b, p, 0)
	return len(o), err
}
