package wsi

import (
	"errors"
	"fmt"
	"image"
	"io/fs"

	"github.com/slidesam/sam/internal/dicom"
	"github.com/slidesam/sam/internal/tiff"
)

// dicomRaster is a level of a DICOM series.
type dicomRaster struct{ *dicom.Picture }

func (r dicomRaster) grid() (cols, rows, tileW, tileH int) {
	return r.Cols, r.Rows, r.TileW, r.TileH
}

func (r dicomRaster) tile(col, row int) (*tiff.Segment, error) { return r.Tile(col, row) }

// openDICOM reads the series of a file, or the one series of a folder.
// Tiles that a sparse level leaves out stay transparent.
func (s *Slide) openDICOM(fsys fs.FS, name string) error {
	d, err := dicom.Open(fsys, name)
	if errors.Is(err, tiff.ErrUnsupported) {
		err = fmt.Errorf("%w: %w", err, ErrFormat)
	}
	if err != nil {
		return err
	}
	s.close = d.Close
	s.meta = Meta{Format: "dicom", Objective: max(d.Objective, 0), Description: d.Scanner, ICC: d.ICC}
	s.sparse = true
	for _, p := range d.Levels {
		s.addLevel(dicomRaster{p}, p.W, p.H)
	}
	for _, p := range d.Associated {
		s.addAssociated(p.Name, func() (image.Image, error) {
			if p.Err != nil {
				return nil, fmt.Errorf("wsi: associated picture %q: %w", p.Name, p.Err)
			}
			return wholeRaster(dicomRaster{p}, p.W, p.H)
		})
	}
	s.setMPP(d.MPPX, d.MPPY)
	if d.Planes > 1 || d.Paths > 1 {
		s.warn("%d focal planes, %d optical paths: the first of each is shown", max(d.Planes, 1), max(d.Paths, 1))
	}
	digest, err := digestFiles(fsys, d.Files())
	if err != nil {
		return err
	}
	s.identity = fmt.Sprint(" ", d.UIDs(), digest)
	return s.checkLevels()
}
