// Package ndpi reads Hamamatsu NDPI slides: files over 4 GiB included,
// each level one JPEG whose restart markers let parts of it be decoded
// alone.
//
// The memory used is eight bytes a restart interval; the pixels stay in the
// file until a tile is asked for.
//
//	s, err := ndpi.New(r, size)
//	seg, err := s.Levels[0].Tile(3, 5)
//
// Source: the structure is as OpenSlide's documentation of the format tells
// it; 65420 and the tags after it are Hamamatsu's own.
package ndpi

import (
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/slidesam/sam/internal/tiff"
)

// ErrNotNDPI is returned for files of another format, other TIFFs included.
var ErrNotNDPI = errors.New("not an NDPI file")

// Slide is an open file. It is safe for use by many goroutines.
type Slide struct {
	Levels     []*Picture // of the focal plane 0, finest first
	Macro      *Picture   // nil if there is none
	MPPX, MPPY float64    // micrometres per pixel of level 0, 0 if unknown
	Objective  float64    // magnification
	Properties string     // the scanner's own list, "key=value" in lines
	Planes     int        // focal planes of the finest level
}

// New reads the directories and the JPEG headers of the file in r.
func New(r io.ReaderAt, size int64) (*Slide, error) {
	f := file{r: r, size: size}
	first, err := f.detect()
	if err != nil {
		return nil, err
	}
	dirs, err := f.dirs(first)
	if err != nil {
		return nil, fmt.Errorf("ndpi: open: %w", err)
	}
	s := &Slide{}
	widest := 0
	for i, d := range dirs {
		if err := s.add(f, d, &widest); err != nil {
			return nil, fmt.Errorf("ndpi: directory %d: %w", i, err)
		}
	}
	if len(s.Levels) == 0 {
		return nil, fmt.Errorf("ndpi: no level of focal plane 0: %w", tiff.ErrUnsupported)
	}
	sort.SliceStable(s.Levels, func(i, j int) bool { return s.Levels[i].W > s.Levels[j].W })
	return s, nil
}

// add takes a directory: a level if its lens is a magnification, the macro
// picture if it is -1; others (-2 is a map of the tissue) are left out.
func (s *Slide) add(f file, d directory, widest *int) error {
	lens, err := f.float(d, tLens)
	if err != nil || lens != -1 && !(lens > 0) {
		return err
	}
	plane, err := f.uint(d, tFocalPlane)
	if err != nil {
		return err
	}
	w, err := f.uint(d, tWidth)
	if err != nil {
		return err
	}
	if lens > 0 && int(min(w, maxSide)) >= *widest {
		if int(w) > *widest {
			*widest, s.Planes = int(min(w, maxSide)), 0
		}
		s.Planes++
	}
	if plane != 0 {
		return nil
	}
	p, err := f.picture(d)
	if err != nil {
		return err
	}
	if lens < 0 {
		if s.Macro == nil {
			s.Macro = p
		}
		return nil
	}
	if len(s.Levels) == 0 || p.W > s.Levels[0].W {
		if err := s.describe(f, d, lens); err != nil {
			return err
		}
	}
	s.Levels = append(s.Levels, p)
	return nil
}

// describe takes over what the directory of the finest level says.
func (s *Slide) describe(f file, d directory, lens float64) error {
	unit, err := f.uint(d, tUnit)
	if err != nil {
		return err
	}
	x, err := f.float(d, tXResolution)
	if err != nil {
		return err
	}
	y, err := f.float(d, tYResolution)
	if err != nil {
		return err
	}
	if um := map[uint64]float64{2: 25400, 3: 10000}[unit]; um > 0 && x > 0 && y > 0 {
		s.MPPX, s.MPPY = um/x, um/y
	}
	s.Objective = lens
	s.Properties = f.text(d, tProperties)
	return nil
}
