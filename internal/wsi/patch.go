package wsi

import (
	"cmp"
	"errors"
	"image"
	"slices"

	"github.com/slidesam/sam/internal/tiff"
)

// patch is a part of a tile and where it lies on its level.
type patch struct {
	col, row           int32 // of the tile
	sx, sy, w, h, x, y int32
}

// patchRaster is a level whose tiles are cut into patches that lie anywhere.
// Where they overlap the lower and the right one is seen.
type patchRaster struct {
	src     raster
	w, h    int
	level   int
	cache   *tileCache
	patches []patch
	bins    map[image.Point][]int32 // by tile of the raster
}

func (r *patchRaster) grid() (cols, rows, tileW, tileH int) {
	return (r.w-1)/mosaicSide + 1, (r.h-1)/mosaicSide + 1, mosaicSide, mosaicSide
}

// index sorts the patches into tiles. A patch is no larger than a tile of a
// TIFF, which bounds their number.
func (r *patchRaster) index() {
	slices.SortStableFunc(r.patches, func(a, b patch) int {
		return cmp.Or(cmp.Compare(a.row, b.row), cmp.Compare(a.sy, b.sy), cmp.Compare(a.col, b.col), cmp.Compare(a.sx, b.sx))
	})
	r.bins = map[image.Point][]int32{}
	for i, p := range r.patches {
		in := image.Rect(int(p.x), int(p.y), int(p.x+p.w), int(p.y+p.h)).Intersect(image.Rect(0, 0, r.w, r.h))
		if in.Empty() {
			continue
		}
		for y := in.Min.Y / mosaicSide; y <= (in.Max.Y-1)/mosaicSide; y++ {
			for x := in.Min.X / mosaicSide; x <= (in.Max.X-1)/mosaicSide; x++ {
				r.bins[image.Pt(x, y)] = append(r.bins[image.Pt(x, y)], int32(i))
			}
		}
	}
}

// tile puts a tile together. The tiles of the file lie in the slide's cache
// under negative columns.
func (r *patchRaster) tile(col, row int) (*tiff.Segment, error) {
	at := image.Rect(col*mosaicSide, row*mosaicSide, (col+1)*mosaicSide, (row+1)*mosaicSide).Intersect(image.Rect(0, 0, r.w, r.h))
	dst := image.NewRGBA(image.Rect(0, 0, at.Dx(), at.Dy()))
	seen := false
	for _, i := range r.bins[image.Pt(col, row)] {
		p := r.patches[i]
		cols, _, _, _ := r.src.grid()
		seg, err := r.cache.get(tileKey{level: r.level, col: -1, row: int(p.row)*cols + int(p.col)}, func() (*tiff.Segment, error) { return r.src.tile(int(p.col), int(p.row)) })
		if errors.Is(err, tiff.ErrMissing) {
			continue
		}
		if err != nil {
			return nil, err
		}
		seen = true
		want := image.Rect(int(p.x), int(p.y), int(p.x+p.w), int(p.y+p.h)).Intersect(at)
		blit(dst, at.Min, seg, image.Pt(int(p.x-p.sx), int(p.y-p.sy)), want)
	}
	if !seen {
		return nil, tiff.ErrMissing
	}
	return &tiff.Segment{W: at.Dx(), H: at.Dy(), Pix: dst.Pix}, nil
}
