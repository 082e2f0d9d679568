package wsi

import (
	"errors"
	"fmt"
	"image"

	"github.com/slidesam/sam/internal/tiff"
)

// mosaicSide is the side of the tiles that a mosaic is put together in.
const mosaicSide = 512

// mosaicRaster is a level that several pictures make up. Where they overlap
// the first is seen; between them it is transparent.
type mosaicRaster struct {
	w, h  int
	level int
	cache *tileCache
	areas []mosaicArea
}

// mosaicArea is a picture of w x h pixels whose corner lies at `at`.
type mosaicArea struct {
	r    raster
	at   image.Point
	w, h int
}

func (m *mosaicRaster) grid() (cols, rows, tileW, tileH int) {
	return (m.w-1)/mosaicSide + 1, (m.h-1)/mosaicSide + 1, mosaicSide, mosaicSide
}

// tile puts a tile together. The pictures' own tiles lie in the slide's
// cache under negative columns.
func (m *mosaicRaster) tile(col, row int) (*tiff.Segment, error) {
	r := image.Rect(col*mosaicSide, row*mosaicSide, (col+1)*mosaicSide, (row+1)*mosaicSide).Intersect(image.Rect(0, 0, m.w, m.h))
	dst := image.NewRGBA(image.Rect(0, 0, r.Dx(), r.Dy()))
	seen := false
	base := 0
	for i := len(m.areas) - 1; i >= 0; i-- {
		a := m.areas[i]
		cols, rows, tw, th := a.r.grid()
		from := base
		base += cols * rows
		want := image.Rectangle{Min: a.at, Max: a.at.Add(image.Pt(a.w, a.h))}.Intersect(r)
		if want.Empty() {
			continue
		}
		in := want.Sub(a.at)
		for y := in.Min.Y / th; y <= (in.Max.Y-1)/th && y < rows; y++ {
			for x := in.Min.X / tw; x <= (in.Max.X-1)/tw && x < cols; x++ {
				seg, err := m.cache.get(tileKey{level: m.level, col: -1, row: from + y*cols + x}, func() (*tiff.Segment, error) { return a.r.tile(x, y) })
				if errors.Is(err, tiff.ErrMissing) {
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("area %d: %w", i, err)
				}
				seen = true
				blit(dst, r.Min, seg, a.at.Add(image.Pt(x*tw, y*th)), want)
			}
		}
	}
	if !seen {
		return nil, tiff.ErrMissing
	}
	return &tiff.Segment{W: r.Dx(), H: r.Dy(), Pix: dst.Pix}, nil
}

// addMosaic appends a level of w x h pixels; a single picture that fills it
// is taken as it is.
func (s *Slide) addMosaic(w, h int, areas []mosaicArea) {
	if a := areas[0]; len(areas) == 1 && a.at == (image.Point{}) && a.w == w && a.h == h {
		s.addLevel(a.r, w, h)
		return
	}
	s.sparse = true
	s.addLevel(&mosaicRaster{w: w, h: h, level: len(s.levels), cache: s.cache, areas: areas}, w, h)
}
