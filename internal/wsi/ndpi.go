package wsi

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"io"

	"github.com/slidesam/sam/internal/ndpi"
	"github.com/slidesam/sam/internal/tiff"
)

// ndpiRaster is a level of an NDPI slide.
type ndpiRaster struct{ *ndpi.Picture }

func (r ndpiRaster) grid() (cols, rows, tileW, tileH int) {
	return r.Cols, r.Rows, r.TileW, r.TileH
}

func (r ndpiRaster) tile(col, row int) (*tiff.Segment, error) { return r.Tile(col, row) }

// openNDPI reads an NDPI slide; known is false for other files.
func (s *Slide) openNDPI(r io.ReaderAt, size int64) (known bool, err error) {
	n, err := ndpi.New(r, size)
	if errors.Is(err, ndpi.ErrNotNDPI) {
		return false, nil
	}
	if err != nil {
		if errors.Is(err, tiff.ErrUnsupported) {
			err = fmt.Errorf("%w: %w", err, ErrFormat)
		}
		return true, err
	}
	s.meta = Meta{Format: "ndpi", Objective: n.Objective, Description: n.Properties}
	for _, p := range n.Levels {
		s.addLevel(ndpiRaster{p}, p.W, p.H)
	}
	if m := n.Macro; m != nil {
		s.addAssociated("macro", func() (image.Image, error) { return wholeRaster(ndpiRaster{m}, m.W, m.H) })
	}
	s.setMPP(n.MPPX, n.MPPY)
	if n.Planes > 1 {
		s.warn("%d focal planes: the nominal one is shown", n.Planes)
	}
	h := sha256.New()
	if err := digestFile(h, r, size); err != nil {
		return true, err
	}
	s.identity = fmt.Sprintf(" %x", h.Sum(nil))
	return true, s.checkLevels()
}
