package wsi

import (
	"fmt"
	"math"
	"sort"

	"github.com/slidesam/sam/internal/tiff"
)

// maxPrinterMPP is where a resolution tag stops being one of a scanner:
// values such as 72 dots per inch (353) are a printer's.
const maxPrinterMPP = 30

// openGeneric reads a plain TIFF or pyramid: the first directory and every
// smaller one of the same shape, among its SubIFDs or after it.
func (s *Slide) openGeneric() error {
	s.meta.Format = "tiff"
	d := s.file.Dirs()[0]
	if err := s.addPyramid(d, s.file.Dirs()[1:]); err != nil {
		return err
	}
	s.setMPP(resolution(d))
	return s.checkLevels()
}

// addPyramid adds d, its SubIFDs and those of the others that are reduced
// copies of it: tiled or marked as reduced, and of d's shape.
func (s *Slide) addPyramid(d *tiff.Dir, others []*tiff.Dir) error {
	if err := s.addDir(d); err != nil {
		return err
	}
	z := s.levels[0]
	sub := append([]*tiff.Dir{}, d.Sub...)
	for _, o := range others {
		typ, err := o.Uint(tiff.NewSubfileType, 0)
		if err == nil && (typ&1 != 0 || o.Has(tiff.TileWidth)) {
			sub = append(sub, o)
		}
	}
	var levels []*tiff.Image
	for _, o := range sub {
		im, err := o.Image()
		if err != nil || im.W >= z.W || im.H >= z.H || !sameShape(z.W, z.H, im.W, im.H) {
			continue // a thumbnail in another coding, a mask, another page
		}
		levels = append(levels, im)
	}
	sort.SliceStable(levels, func(i, j int) bool { return levels[i].W > levels[j].W })
	for i, im := range levels {
		if i > 0 && im.W == levels[i-1].W {
			continue
		}
		s.addLevel(tiffRaster{im}, im.W, im.H)
	}
	return nil
}

// sameShape reports whether w x h can be W x H divided by one number and
// rounded either way.
func sameShape(zw, zh, w, h int) bool {
	dx, dy := float64(zw)/float64(w), float64(zh)/float64(h)
	return math.Abs(float64(zw)/dy-float64(w)) < 2 || math.Abs(float64(zh)/dx-float64(h)) < 2
}

// addDir adds a directory as the next level.
func (s *Slide) addDir(d *tiff.Dir) error {
	im, err := d.Image()
	if err != nil {
		return err
	}
	s.addLevel(tiffRaster{im}, im.W, im.H)
	return nil
}

// checkLevels makes sure that the levels shrink.
func (s *Slide) checkLevels() error {
	if len(s.levels) == 0 {
		return fmt.Errorf("no tiled picture in the file: %w", ErrFormat)
	}
	for i := 1; i < len(s.levels); i++ {
		if s.levels[i].W > s.levels[i-1].W || s.levels[i].H > s.levels[i-1].H {
			return fmt.Errorf("level %d is larger than level %d: %w", i, i-1, tiff.ErrCorrupt)
		}
	}
	return nil
}

// setMPP keeps a pixel size that can be one.
func (s *Slide) setMPP(x, y float64) {
	if x > 0 && y > 0 && x < 1e4 && y < 1e4 {
		s.meta.MPPX, s.meta.MPPY = x, y
	}
}

// resolution reads the resolution tags as micrometres per pixel, 0 if they
// are absent or too coarse for a scanner.
func resolution(d *tiff.Dir) (x, y float64) {
	unit, err := d.Uint(tiff.ResolutionUnit, 2)
	if err != nil {
		return 0, 0
	}
	um := map[uint64]float64{2: 25400, 3: 10000}[unit]
	rx, ry := d.Float(tiff.XResolution), d.Float(tiff.YResolution)
	if um == 0 || !(rx > 0) || !(ry > 0) || um/rx > maxPrinterMPP || um/ry > maxPrinterMPP {
		return 0, 0
	}
	return um / rx, um / ry
}
