package wsi

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"io/fs"

	"github.com/slidesam/sam/internal/mirax"
	"github.com/slidesam/sam/internal/tiff"
)

// miraxRaster is a level of a MIRAX slide. The scanner's images lie in the
// slide's cache beside the tiles that are put together of them.
type miraxRaster struct {
	*mirax.Level
	level int
	cache *tileCache
}

func (r miraxRaster) grid() (cols, rows, tileW, tileH int) {
	return r.Cols, r.Rows, mirax.Side, mirax.Side
}

func (r miraxRaster) tile(col, row int) (*tiff.Segment, error) {
	return r.Tile(col, row, func(i int, decode func() (*tiff.Segment, error)) (*tiff.Segment, error) {
		return r.cache.get(tileKey{level: r.level, col: -1, row: i}, decode)
	})
}

// openMIRAX reads the slide of a .mrxs file in the frame of its bounds.
// What was not scanned stays transparent.
func (s *Slide) openMIRAX(fsys fs.FS, name string) error {
	m, err := mirax.Open(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("3DHISTECH MIRAX (MRXS) without its folder of data: %w: %w", err, ErrFormat)
	}
	if err != nil {
		return err
	}
	s.close = m.Close
	s.meta = Meta{Format: "mirax", Objective: m.Objective, Description: m.ID}
	s.sparse = true
	for i, l := range m.Levels {
		s.addLevel(miraxRaster{l, i, s.cache}, l.W, l.H)
	}
	for _, n := range []string{"label", "macro", "thumbnail"} {
		if b := m.Pictures[n]; b != nil {
			s.addAssociated(n, func() (image.Image, error) { return decodeJPEG(bytes.NewReader(b)) })
		}
	}
	s.setMPP(m.MPPX, m.MPPY)
	if s.identity, err = digestFiles(fsys, m.Files()); err != nil {
		return err
	}
	return s.checkLevels()
}
