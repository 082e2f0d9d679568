package sam

import (
	"context"
	"image"
)

// SegmentSlideWith is SegmentSlide with a finder of objects in the model's
// place. It is given the points that the model would decode.
func SegmentSlideWith(ctx context.Context, s *Slide, dir string, o SegmentOptions, find func(ctx context.Context, img *image.RGBA, points []Point) ([]Region, error)) (*SegmentResult, error) {
	return segmentSlide(ctx, s, dir, 1024, "test", o, func(ctx context.Context, img *image.RGBA, e EverythingOptions) ([]Region, error) {
		g, err := newGenerator(Size{H: img.Rect.Dy(), W: img.Rect.Dx()}, e)
		if err != nil {
			return nil, err
		}
		var points []Point
		for _, c := range g.crops() {
			for _, p := range g.prompts(c) {
				points = append(points, p.point)
			}
		}
		return find(ctx, img, points)
	})
}

// MergeSlideWith is MergeSlide for runs of SegmentSlideWith.
func MergeSlideWith(ctx context.Context, s *Slide, dir string, o SegmentOptions) (*SegmentResult, error) {
	p, err := newSlidePlan(ctx, s, 1024, "test", o)
	if err != nil {
		return nil, err
	}
	r := newSegmentResult(dir, p)
	return r, writeSlide(ctx, s, dir, p, r)
}

// TilesOf lays out the tiles of a slide and returns core and window of each.
func TilesOf(ctx context.Context, s *Slide, o SegmentOptions) (cores, windows []image.Rectangle, err error) {
	p, err := newSlidePlan(ctx, s, 1024, "test", o)
	if err != nil {
		return nil, nil, err
	}
	for _, q := range p.Scales {
		for _, i := range q.Tiles {
			t := q.tile(i)
			cores, windows = append(cores, t.core), append(windows, t.window)
		}
	}
	return cores, windows, nil
}

// ParseTile reads the bytes of a tile's file of a slide of w x h with one tile.
func ParseTile(b []byte, w, h int) (int, error) {
	p := &scalePlan{W: w, H: h, Tile: max(w, h), Cols: 1, Rows: 1, Area: image.Rect(0, 0, w, h), run: "x"}
	o, err := parseTile(b, p, 0)
	return len(o), err
}
