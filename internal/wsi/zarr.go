package wsi

import (
	"crypto/sha256"
	"fmt"
	"image"
	"io/fs"
	"maps"
	"slices"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/zarr"
)

// zarrRaster is a level of an OME-Zarr.
type zarrRaster struct{ *zarr.Level }

func (r zarrRaster) grid() (cols, rows, tileW, tileH int) {
	return r.Cols, r.Rows, r.TileW, r.TileH
}

func (r zarrRaster) tile(col, row int) (*tiff.Segment, error) { return r.Tile(col, row) }

// openZarr reads the OME-Zarr image of a folder. Label and macro are the
// images of these names beside it.
func (s *Slide) openZarr(fsys fs.FS, name string) error {
	z, err := zarr.Open(fsys, name)
	if err != nil {
		return err
	}
	s.close = func() error { return nil }
	s.meta = Meta{Format: "ome-zarr", Description: z.Name}
	for _, l := range z.Levels {
		s.addLevel(zarrRaster{l}, l.W, l.H)
	}
	s.setMPP(z.MPPX, z.MPPY)
	others := z.Others(fsys)
	for _, dir := range slices.Sorted(maps.Keys(others)) {
		if n := omeAssociated(others[dir]); n != "" {
			s.addAssociated(n, func() (image.Image, error) { return zarrPicture(fsys, dir) })
		}
	}
	if err := s.checkLevels(); err != nil {
		return err
	}
	// The store has no length; the coarsest level's first tiles stand for it.
	h := sha256.New()
	l := z.Levels[len(z.Levels)-1]
	for i := range min(l.Rows, 4) {
		for k := range min(l.Cols, 4) {
			if seg, err := l.Tile(k, i); err == nil {
				h.Write(seg.Pix)
			}
		}
	}
	s.identity = fmt.Sprintf(" %x", h.Sum(nil))
	return nil
}

// zarrPicture decodes the finest level of a small image.
func zarrPicture(fsys fs.FS, dir string) (image.Image, error) {
	z, err := zarr.Open(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("wsi: associated picture: %w", err)
	}
	return wholeRaster(zarrRaster{z.Levels[0]}, z.Levels[0].W, z.Levels[0].H)
}
