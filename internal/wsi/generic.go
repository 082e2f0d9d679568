package wsi

import (
	"fmt"
	"math"

	"github.com/slidesam/sam/internal/tiff"
)

// maxPrinterMPP is where a resolution tag stops being one of a scanner:
// values such as 72 dots per inch (353) are a printer's.
const maxPrinterMPP = 30

// openGeneric reads a plain TIFF or pyramid: the page of most pixels, whatever
// its place, and every smaller one of the same shape and samples, among its
// SubIFDs or the other pages. Masks are no levels.
//
// Of a stack of pages of one size the first is read, and a warning says so.
// Three gray pages that ImageJ calls a composite are one picture in colour;
// other channels in pages are refused.
func (s *Slide) openGeneric() error {
	s.meta.Format = "tiff"
	pages, err := pagesOf(s.file.Dirs())
	if err != nil {
		return err
	}
	top := largest(pages)
	var same []page // of the slide's size
	for _, p := range pages {
		if p.im.W == top.im.W && p.im.H == top.im.H && p.im.SameSamples(top.im) {
			same = append(same, p)
		}
	}
	j, isJ := parseImageJ(s.meta.Description)
	if isJ && j.unit != "" {
		if um := imageJUnits[j.unit]; um > 0 {
			x, y := top.dir.Float(tiff.XResolution), top.dir.Float(tiff.YResolution)
			if x > 0 && y > 0 {
				s.setMPP(um/x, um/y)
			}
		}
	} else {
		s.setMPP(resolution(top.dir))
	}
	gray := top.im.Gray()
	switch {
	case isJ && j.channels > 1 && gray:
		if j.channels != 3 || !j.composite || len(same) < 3 {
			return refuse("ImageJ stack of %d channels, composite %v, in %d pages: only a composite of red, green and blue is read: save it as RGB Color", j.channels, j.composite, len(same))
		}
		if j.slices*j.frames > 1 {
			s.warn("stack of %d slices and %d frames: only the first is read", j.slices, j.frames)
		}
		if err := s.addPlanes(same[:3]); err != nil {
			return err
		}
		return s.checkLevels()
	case isJ && j.slices*j.frames > 1:
		s.warn("stack of %d slices and %d frames: only the first is read", j.slices, j.frames)
	case len(same) == 3 && gray && !isJ:
		return refuse("three gray pages of one size, channels perhaps: the file does not say; save it as RGB")
	case len(same) > 1:
		s.warn("%d pages of one size: only the first is read", len(same))
	}
	if err := s.addPyramid(top.dir, s.file.Dirs()); err != nil {
		return err
	}
	for _, p := range pages {
		if sub, err := p.dir.Uint(tiff.NewSubfileType, 0); err == nil && sub == 9 {
			s.associate("macro", p.dir)
		}
	}
	return s.checkLevels()
}

// addPyramid adds d, its SubIFDs and those of the others that are reduced
// copies of it.
func (s *Slide) addPyramid(d *tiff.Dir, others []*tiff.Dir) error {
	im, err := d.Image()
	if err != nil {
		return err
	}
	s.addLevel(tiffRaster{im}, im.W, im.H)
	pages, _ := pagesOf(append(append([]*tiff.Dir{}, d.Sub...), reduced(others)...)) // without any there is one level
	for _, p := range levelsOf(page{d, im}, pages) {
		s.addLevel(tiffRaster{p.im}, p.im.W, p.im.H)
	}
	return nil
}

// reduced returns the directories that may be levels: tiled or marked as
// reduced.
func reduced(dirs []*tiff.Dir) []*tiff.Dir {
	var out []*tiff.Dir
	for _, d := range dirs {
		sub, err := d.Uint(tiff.NewSubfileType, 0)
		if err == nil && (sub&subReduced != 0 || d.Has(tiff.TileWidth)) {
			out = append(out, d)
		}
	}
	return out
}

// sameShape reports whether w x h can be W x H divided by one number and
// rounded either way.
func sameShape(zw, zh, w, h int) bool {
	dx, dy := float64(zw)/float64(w), float64(zh)/float64(h)
	return math.Abs(float64(zw)/dy-float64(w)) < 2 || math.Abs(float64(zh)/dx-float64(h)) < 2
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

// overrideMPP takes the pixel size that the options give.
func (s *Slide) overrideMPP(o Options) {
	s.setMPP(o.MPP, o.MPP)
	s.meta.MPPNote = o.MPPNote
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
