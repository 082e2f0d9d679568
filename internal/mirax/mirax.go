// Package mirax reads 3DHISTECH MIRAX slides: a file NAME.mrxs and the
// folder NAME with Slidedat.ini, an index and data files.
//
// The camera takes photos that overlap; each is cut into images, which the
// index lists and a table places. Levels above the first join images of
// several photos, and are cut apart again. Where images overlap the lower
// and the right one is seen, as in OpenSlide. The frame is the bounds of
// what was scanned, as QuPath shows it. Images of a level other than the
// first may lie between two pixels; they are moved to the nearest.
//
// The index is held in memory, and 40 bytes for each part of an image.
//
//	s, err := mirax.Open(os.DirFS("slides"), "a.mrxs")
//	seg, err := s.Levels[0].Tile(3, 5, nil)
//
// Source: the structure is as OpenSlide's documentation of the format tells
// it.
package mirax

import (
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/slidesam/sam/internal/tiff"
)

const (
	maxFiles  = 1 << 16
	maxLevels = 32
	maxImage  = 1 << 13 // side in pixels
	maxSide   = 1 << 30
	maxIndex  = 1 << 30
)

// Slide is an open slide. It is safe for use by many goroutines.
type Slide struct {
	Levels     []*Level
	Pictures   map[string][]byte // JPEG files of label, macro and thumbnail
	MPPX, MPPY float64           // micrometres per pixel of level 0
	Objective  float64           // magnification, 0 if unknown
	ID         string            // the scanner's identifier
	Bounds     image.Rectangle   // of level 0 in the whole frame of the scanner

	fsys  fs.FS
	dir   string
	names []string // of the data files

	mu    sync.Mutex
	files map[int]*dataFile
}

type dataFile struct {
	io.ReaderAt
	io.Closer
	size int64
}

// section is what Slidedat.ini says about a level.
type section struct {
	overlapX, overlapY float64
	w, h               int // of an image
	format             string
	concat             int // images of the camera joined along one side
}

// Open opens the slide of the .mrxs file name.
func Open(fsys fs.FS, name string) (*Slide, error) {
	s := &Slide{fsys: fsys, dir: strings.TrimSuffix(name, path.Ext(name)), files: map[int]*dataFile{}, Pictures: map[string][]byte{}}
	if err := s.open(); err != nil {
		s.Close()
		return nil, fmt.Errorf("mirax: open: %w", err)
	}
	return s, nil
}

// Close closes the data files.
func (s *Slide) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	clear(s.files)
	return errors.Join(errs...)
}

// Files returns the names of Slidedat.ini, the index and the data files.
func (s *Slide) Files() []string { return s.names }

func (s *Slide) open() error {
	b, err := s.readWhole("Slidedat.ini", maxINI)
	if err != nil {
		return err
	}
	f := parseINI(b)
	const g, h = "GENERAL", "HIERARCHICAL"
	if s.ID, err = f.text(g, "SLIDE_ID"); err != nil {
		return err
	}
	m := &mosaic{divisions: 1}
	if m.across, err = f.whole(g, "IMAGENUMBER_X", 1, 1<<20); err != nil {
		return err
	}
	if m.down, err = f.whole(g, "IMAGENUMBER_Y", 1, 1<<20); err != nil {
		return err
	}
	if _, ok := f[g]["CameraImageDivisionsPerSide"]; ok {
		if m.divisions, err = f.whole(g, "CameraImageDivisionsPerSide", 1, 1<<10); err != nil {
			return err
		}
	}
	s.Objective, _ = strconv.ParseFloat(strings.TrimSuffix(f[g]["OBJECTIVE_MAGNIFICATION"], "x"), 64)
	if !(s.Objective > 0 && s.Objective < 1e4) {
		s.Objective = 0
	}
	if name := f[h]["HIER_0_NAME"]; name != "Slide zoom level" {
		return fmt.Errorf("first hierarchy %q, want the zoom levels: %w", name, tiff.ErrUnsupported)
	}
	if n, err := f.whole(h, "HIER_1_COUNT", 1, 1<<10); err == nil && n > 1 && f[h]["HIER_1_NAME"] == "Slide filter level" {
		return fmt.Errorf("%d filter levels (fluorescence): only brightfield is read: %w", n, tiff.ErrUnsupported)
	}
	levels, err := f.whole(h, "HIER_0_COUNT", 1, maxLevels)
	if err != nil {
		return err
	}
	if err := s.readSections(f, levels, m); err != nil {
		return err
	}
	return s.readIndex(f, m)
}

// readSections reads the levels' sections and the names of the data files.
func (s *Slide) readSections(f ini, levels int, m *mosaic) error {
	const h = "HIERARCHICAL"
	concat := 0
	for i := range levels {
		name, err := f.text(h, fmt.Sprintf("HIER_0_VAL_%d_SECTION", i))
		if err != nil {
			return err
		}
		var c section
		if c.w, err = f.whole(name, "DIGITIZER_WIDTH", 1, maxImage); err != nil {
			return err
		}
		if c.h, err = f.whole(name, "DIGITIZER_HEIGHT", 1, maxImage); err != nil {
			return err
		}
		step, err := f.whole(name, "IMAGE_CONCAT_FACTOR", min(i, 1), 20)
		if err != nil {
			return err
		}
		if concat += step; concat > 20 {
			return fmt.Errorf("level %d joins 2^%d images: %w", i, concat, tiff.ErrUnsupported)
		}
		c.concat = 1 << concat
		if c.overlapX, err = f.number(name, "OVERLAP_X"); err != nil {
			return err
		}
		if c.overlapY, err = f.number(name, "OVERLAP_Y"); err != nil {
			return err
		}
		if c.format, err = f.text(name, "IMAGE_FORMAT"); err != nil {
			return err
		}
		if c.format != "JPEG" && c.format != "PNG" && c.format != "BMP24" {
			return fmt.Errorf("images of format %q, want JPEG, PNG or BMP24: %w", c.format, tiff.ErrUnsupported)
		}
		if i == 0 {
			if s.MPPX, err = f.number(name, "MICROMETER_PER_PIXEL_X"); err != nil {
				return err
			}
			if s.MPPY, err = f.number(name, "MICROMETER_PER_PIXEL_Y"); err != nil {
				return err
			}
		}
		m.sections = append(m.sections, c)
	}
	n, err := f.whole("DATAFILE", "FILE_COUNT", 1, maxFiles)
	if err != nil {
		return err
	}
	index, err := f.text(h, "INDEXFILE")
	if err != nil {
		return err
	}
	s.names = []string{path.Join(s.dir, "Slidedat.ini"), path.Join(s.dir, index)}
	for i := range n {
		name, err := f.text("DATAFILE", fmt.Sprintf("FILE_%d", i))
		if err != nil {
			return err
		}
		s.names = append(s.names, path.Join(s.dir, name))
	}
	for _, name := range s.names {
		if path.Dir(name) != path.Clean(s.dir) || strings.ContainsAny(name, `\`) {
			return fmt.Errorf("file %s is outside of the slide's folder: %w", name, tiff.ErrCorrupt)
		}
	}
	return nil
}

// readIndex reads the places of the camera, the images and the associated
// pictures.
func (s *Slide) readIndex(f ini, m *mosaic) error {
	b, err := s.readWhole(path.Base(s.names[1]), maxIndex)
	if err != nil {
		return err
	}
	x := index{b: b, files: len(s.names) - 2}
	if head := "01.02" + s.ID; !strings.HasPrefix(string(b[:min(len(b), len(head))]), head) {
		return fmt.Errorf("the index is not of this slide: %w", tiff.ErrCorrupt)
	}
	hier := 5 + len(s.ID)
	layers, err := f.whole("HIERARCHICAL", "NONHIER_COUNT", 0, 1<<12)
	if err != nil {
		return err
	}
	table, packed := -1, false
	if table, _ = f.record(layers, "VIMSLIDE_POSITION_BUFFER", ""); table < 0 {
		table, _ = f.record(layers, "StitchingIntensityLayer", "")
		packed = table >= 0
	}
	if table >= 0 {
		rec, err := x.record(hier+4, table)
		if err != nil {
			return fmt.Errorf("camera positions: %w", err)
		}
		raw, err := s.read(rec)
		if err != nil {
			return fmt.Errorf("camera positions: %w", err)
		}
		if err := m.readPositions(raw, packed); err != nil {
			return fmt.Errorf("camera positions: %w", err)
		}
	}
	for _, p := range [][3]string{
		{"label", "ScanDataLayer_SlideBarcode", "BARCODE_IMAGE_TYPE"}, {"macro", "ScanDataLayer_SlideThumbnail", "THUMBNAIL_IMAGE_TYPE"},
		{"thumbnail", "ScanDataLayer_SlidePreview", "PREVIEW_IMAGE_TYPE"},
	} {
		n, sec := f.record(layers, "Scan data layer", p[1])
		if n < 0 || f[sec][p[2]] != "JPEG" {
			continue
		}
		rec, err := x.record(hier+4, n)
		if err != nil {
			return fmt.Errorf("%s: %w", p[0], err)
		}
		if s.Pictures[p[0]], err = s.read(rec); err != nil {
			return fmt.Errorf("%s: %w", p[0], err)
		}
	}
	root, err := x.int(hier)
	if err != nil {
		return err
	}
	if err := m.place(x, root); err != nil {
		return err
	}
	return s.layOut(m)
}

// layOut makes the levels, cut to the bounds of what was scanned.
func (s *Slide) layOut(m *mosaic) error {
	if len(m.parts[0]) == 0 {
		return fmt.Errorf("no image in the index: %w", tiff.ErrCorrupt)
	}
	c := m.sections[0]
	minX, minY, maxX, maxY := math.Inf(1), math.Inf(1), math.Inf(-1), math.Inf(-1)
	w, h := m.size()
	for _, p := range m.parts[0] {
		x, y := float64(p.x), float64(p.y)
		minX, minY = min(minX, x), min(minY, y)
		maxX, maxY = max(maxX, x+float64(p.w)), max(maxY, y+float64(p.h))
	}
	maxX, maxY = min(maxX, w), min(maxY, h)
	s.Bounds = image.Rect(int(math.Floor(minX)), int(math.Floor(minY)), int(math.Ceil(maxX)), int(math.Ceil(maxY)))
	if s.Bounds.Empty() || s.Bounds.Dx() > maxSide || s.Bounds.Dy() > maxSide {
		return fmt.Errorf("bounds %v: %w", s.Bounds, tiff.ErrCorrupt)
	}
	for i, sec := range m.sections {
		f := sec.concat / c.concat
		l := &Level{slide: s, W: max(s.Bounds.Dx()/f, 1), H: max(s.Bounds.Dy()/f, 1), section: sec, records: m.records[i], parts: m.parts[i]}
		if err := l.index(float64(s.Bounds.Min.X)/float64(f), float64(s.Bounds.Min.Y)/float64(f)); err != nil {
			return fmt.Errorf("level %d: %w", i, err)
		}
		s.Levels = append(s.Levels, l)
	}
	return nil
}

// readWhole reads a file of the slide's folder.
func (s *Slide) readWhole(name string, limit int64) ([]byte, error) {
	f, err := s.fsys.Open(path.Join(s.dir, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > limit {
		return nil, fmt.Errorf("%s of %d bytes, over %d or no file: %w", name, st.Size(), limit, tiff.ErrUnsupported)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

// read reads a record of a data file.
func (s *Slide) read(r record) ([]byte, error) {
	f, err := s.file(int(r.file))
	if err != nil {
		return nil, err
	}
	if int64(r.off) > f.size || int64(r.size) > f.size-int64(r.off) {
		return nil, fmt.Errorf("%s: %d bytes at %d beyond the end (%d bytes): %w", s.names[2+r.file], r.size, r.off, f.size, tiff.ErrCorrupt)
	}
	b := make([]byte, r.size)
	if n, err := f.ReadAt(b, int64(r.off)); n < len(b) {
		return nil, fmt.Errorf("%s: %w", s.names[2+r.file], err)
	}
	return b, nil
}

// file opens a data file when it is first needed.
func (s *Slide) file(i int) (*dataFile, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[i]; f != nil {
		return f, nil
	}
	f, err := s.fsys.Open(s.names[2+i])
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	r, ok := f.(io.ReaderAt)
	if err == nil && (!ok || !st.Mode().IsRegular()) {
		err = fmt.Errorf("%s is no regular file: %w", s.names[2+i], tiff.ErrCorrupt)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	d := &dataFile{r, f, st.Size()}
	s.files[i] = d
	return d, nil
}
