package wsi

import (
	"context"
	"errors"
	"fmt"
	"image"

	"github.com/slidesam/sam/internal/tiff"
)

// ReadRegion fills dst with the pixels of a level from origin on. Pixels
// outside the level stay as they are in dst, so that a new picture is
// transparent there.
//
// A tile that cannot be read gives a *TileError, unless Options say to skip
// it. ctx is looked at between tiles.
func (s *Slide) ReadRegion(ctx context.Context, level int, origin image.Point, dst *image.RGBA) error {
	if level < 0 || level >= len(s.levels) {
		return fmt.Errorf("wsi: read region: level %d of %d", level, len(s.levels))
	}
	return s.read(ctx, s.viewOf(level, 0), origin, dst)
}

// read is ReadRegion of a view.
func (s *Slide) read(ctx context.Context, v view, origin image.Point, dst *image.RGBA) error {
	if s.src != nil {
		return s.src.ReadRegion(ctx, v.level, origin, dst)
	}
	want := image.Rectangle{Min: origin, Max: origin.Add(dst.Rect.Size())}.Intersect(image.Rect(0, 0, v.w, v.h))
	if want.Empty() {
		return nil
	}
	cols, rows, tw, th := s.rasts[v.level].grid()
	tw, th = tw>>v.halved, th>>v.halved
	c1, r1 := min((want.Max.X-1)/tw+1, cols), min((want.Max.Y-1)/th+1, rows)
	for row := want.Min.Y / th; row < r1; row++ {
		for col := want.Min.X / tw; col < c1; col++ {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("wsi: read region: %w", err)
			}
			seg, err := s.tileOf(ctx, v, col, row)
			if err != nil {
				return fmt.Errorf("wsi: read region: %w", err)
			}
			if seg != nil {
				blit(dst, origin, seg, image.Pt(col*tw, row*th), want)
			}
		}
	}
	return nil
}

// blank reports whether the format left all tiles of a rectangle out because
// nothing is there.
func (s *Slide) blank(level int, r image.Rectangle) bool {
	if !s.sparse {
		return false
	}
	im, ok := s.rasts[level].(tiffRaster)
	if !ok {
		return false
	}
	cols, rows, tw, th := im.grid()
	for row := r.Min.Y / th; row < min((r.Max.Y-1)/th+1, rows); row++ {
		for col := r.Min.X / tw; col < min((r.Max.X-1)/tw+1, cols); col++ {
			if !im.Missing(col, row) {
				return false
			}
		}
	}
	return true
}

// blit copies the part of seg, which lies at pos of the level, that falls
// into want; origin is the level's point at dst's corner.
func blit(dst *image.RGBA, origin image.Point, seg *tiff.Segment, pos image.Point, want image.Rectangle) {
	in := image.Rectangle{Min: pos, Max: pos.Add(image.Pt(seg.W, seg.H))}.Intersect(want)
	if in.Empty() {
		return
	}
	for y := in.Min.Y; y < in.Max.Y; y++ {
		from := seg.Pix[((y-pos.Y)*seg.W+in.Min.X-pos.X)*4:]
		to := dst.PixOffset(dst.Rect.Min.X+in.Min.X-origin.X, dst.Rect.Min.Y+y-origin.Y)
		copy(dst.Pix[to:to+4*in.Dx()], from)
	}
}

// tile returns a decoded tile, nil for one that is skipped.
func (s *Slide) tile(ctx context.Context, level, col, row int) (*tiff.Segment, error) {
	_, _, tw, th := s.rasts[level].grid()
	seg, err := s.cache.getWithin(ctx, tileKey{level: level, col: col, row: row}, 4*int64(tw)*int64(th), func() (*tiff.Segment, error) {
		seg, err := s.rasts[level].tile(col, row)
		if errors.Is(err, tiff.ErrMissing) && !s.sparse && level > 0 {
			return s.fromFiner(context.WithoutCancel(ctx), level, col, row) // others may wait for it
		}
		return seg, err
	})
	if err == nil {
		return seg, nil
	}
	if s.sparse && errors.Is(err, tiff.ErrMissing) {
		return nil, nil
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	l := s.levels[level]
	te := &TileError{Level: level, Col: col, Row: row, Err: err,
		Rect: image.Rect(col*tw, row*th, (col+1)*tw, (row+1)*th).Intersect(image.Rect(0, 0, l.W, l.H))}
	if !s.opt.SkipBadTiles {
		return nil, te
	}
	s.skip(te)
	if s.opt.OnBadTile != nil {
		s.opt.OnBadTile(te)
	}
	return nil, nil
}

// fromFiner makes a tile that the file leaves out of the next finer level:
// scanners that were interrupted write such files.
func (s *Slide) fromFiner(ctx context.Context, level, col, row int) (*tiff.Segment, error) {
	_, _, tw, th := s.rasts[level].grid()
	l, f := s.levels[level], s.levels[level-1]
	r := image.Rect(col*tw, row*th, (col+1)*tw, (row+1)*th).Intersect(image.Rect(0, 0, l.W, l.H))
	part := image.NewRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	if err := s.resample(ctx, s.viewOf(level-1, 0), float64(f.W)/float64(l.W), float64(f.H)/float64(l.H), r.Min, r, part); err != nil {
		return nil, err
	}
	return &tiff.Segment{W: r.Dx(), H: r.Dy(), Pix: part.Pix}, nil
}

// OnWhite puts a picture that was read on white: where nothing was scanned is
// glass.
func OnWhite(img *image.RGBA) {
	for i := 0; i < len(img.Pix); i += 4 {
		q := img.Pix[i : i+4 : i+4]
		if a := q[3]; a != 255 { // premultiplied: the rest of the light is white
			q[0], q[1], q[2], q[3] = q[0]+255-a, q[1]+255-a, q[2]+255-a, 255
		}
	}
}
