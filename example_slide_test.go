package sam_test

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"os"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam"
)

// spots is a white slide with three dark squares.
func spots() *sam.Slide {
	img := image.NewRGBA(image.Rect(0, 0, 700, 300))
	draw.Draw(img, img.Rect, image.White, image.Point{}, draw.Src)
	for _, at := range []image.Point{{40, 50}, {240, 120}, {600, 200}} {
		dark := image.NewUniform(color.RGBA{60, 30, 110, 255})
		draw.Draw(img, image.Rectangle{Min: at, Max: at.Add(image.Pt(20, 20))}, dark, image.Point{}, draw.Src)
	}
	return sam.SlideFromImage(img, 0.5)
}

// darkSpots finds the dark parts of a tile. A model's method SegmentSlide needs
// no finder: it looks with points of a grid, or at what SegmentOptions.Find gave.
var darkSpots = sam.SlideFinder{Name: "dark spots", Find: func(_ context.Context, img *image.RGBA, _ sam.SlideTile) ([]sam.Region, error) {
	size := sam.Size{H: img.Rect.Dy(), W: img.Rect.Dx()}
	dark, err := sam.NewMask(size, func(x, y int) bool { return img.RGBAAt(x, y).R < 128 })
	if err != nil {
		return nil, err
	}
	var out []sam.Region
	for _, p := range dark.Polygons() {
		m, err := sam.MaskFromPolygons(size, orb.MultiPolygon{p})
		if err != nil {
			return nil, err
		}
		b := m.Bounds()
		middle := sam.Point{X: float64(b.Min.X+b.Max.X) / 2, Y: float64(b.Min.Y+b.Max.Y) / 2}
		out = append(out, sam.Region{Mask: m, IoUPred: 1, Stability: 1, Point: middle})
	}
	return out, nil
}}

// The objects of a slide are in files for QuPath and for tables, and can be
// looked at one by one.
func ExampleSegmentSlide() {
	dir, err := os.MkdirTemp("", "sam")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	o := sam.SegmentOptions{Tile: 256, AllTiles: true, Class: "spot"}
	res, err := sam.SegmentSlide(context.Background(), spots(), dir, darkSpots, o)
	if err != nil {
		panic(err)
	}
	fmt.Println(res.Objects, "objects in", res.Tiles, "tiles")
	for f, err := range res.Features() {
		if err != nil {
			panic(err)
		}
		fmt.Println(f.Class.Name, f.Geometry.Bound().Min)
	}
	// Output:
	// 3 objects in 8 tiles
	// spot [40 50]
	// spot [240 120]
	// spot [600 200]
}

// Two processes may take a half of the tiles each, and a third one puts together
// what they found.
func ExampleMergeSlide() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "sam")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	o := sam.SegmentOptions{Tile: 256, AllTiles: true, Shards: 2}
	for o.Shard = range o.Shards {
		res, err := sam.SegmentSlide(ctx, spots(), dir, darkSpots, o)
		if err != nil {
			panic(err)
		}
		fmt.Println("shard", o.Shard, "merged:", res.Merged)
	}
	res, err := sam.MergeSlide(ctx, spots(), dir, darkSpots, o)
	if err != nil {
		panic(err)
	}
	fmt.Println(res.Objects, "objects, merged:", res.Merged)
	// Output:
	// shard 0 merged: false
	// shard 1 merged: false
	// 3 objects, merged: true
}
