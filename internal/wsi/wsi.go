// Package wsi turns files into whole slides: the levels of a pyramid, what
// the scanner wrote about them, the associated pictures, and pixels of any
// rectangle of any level through a bounded cache of decoded tiles.
//
// It knows Aperio SVS, OME-TIFF, Philips TIFF, Leica SCN, Ventana BIF, QPTIFF
// and generic pyramids over package tiff, DICOM, NDPI, MIRAX and OME-Zarr over packages
// of their own, and PNG and JPEG pictures as slides of one level. Formats it
// recognises but does not read give an error that names a way to convert.
// Slides of several files are read through an fs.FS that ends at their
// folder, be it on this machine or, after RegisterRemote, on a server.
//
//	s, err := wsi.Open("slide.svs", wsi.Options{})
//	dst := image.NewRGBA(image.Rect(0, 0, 1024, 1024))
//	err = s.ReadRegion(ctx, 0, image.Pt(2048, 4096), dst)
package wsi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"sync"

	"github.com/slidesam/sam/internal/tiff"
)

// ErrFormat is wrapped by the error for a file that is not a slide this
// package reads.
var ErrFormat = errors.New("not a slide format that is read")

// ErrDark is wrapped by the error for a slide of 16 bits whose samples use only the
// lowest 12 or fewer: of the 8 that are shown all would be black.
var ErrDark = errors.New("samples of 16 bits that reach no further than 12 bits do: the slide would be black; bring them to 8 bits first, or open a small one as a picture, with a window (slidesam segment -window)")

// Level is one resolution of the pyramid.
type Level struct {
	W, H         int     // size in pixels
	TileW, TileH int     // size of the tiles it is stored in
	Downsample   float64 // level 0 pixels per pixel, the mean of both axes
}

// Meta is what the file says about the slide. Zero means unknown.
type Meta struct {
	Format      string  // "aperio", "dicom", "leica", "mirax", "ndpi", "ome-tiff", "ome-zarr", "philips", "qptiff", "tiff", "ventana", "png", "jpeg"
	MPPX, MPPY  float64 // micrometres per pixel of level 0
	MPPNote     string  // Options.MPPNote
	Objective   float64 // magnification of the objective
	Description string  // the file's own text, as it stands
	ICC         []byte  // colour profile, as it stands
}

// TileError reports a tile that could not be read.
type TileError struct {
	Level    int
	Col, Row int
	Rect     image.Rectangle // in pixels of the level
	Err      error
}

// Error returns the place of the tile and the cause.
func (e *TileError) Error() string {
	return fmt.Sprintf("level %d tile (%d, %d): %v", e.Level, e.Col, e.Row, e.Err)
}

// Unwrap returns the cause.
func (e *TileError) Unwrap() error { return e.Err }

// Options changes how a slide is read. The zero value is the default.
type Options struct {
	// CacheBytes bounds the decoded tiles that are kept; 0 means 64 MiB. Of
	// tiles that are large for it up to four stay, of at most 256 MiB.
	CacheBytes int64
	// SkipBadTiles leaves tiles that are missing or corrupt transparent
	// and goes on; the default is to return a *TileError.
	SkipBadTiles bool
	// OnBadTile, if set, is told of each bad tile that was skipped, each
	// time it is met. It may be called from many goroutines at once.
	OnBadTile func(*TileError)
	// MPP overrides the file's micrometres per pixel of level 0.
	MPP float64
	// MPPNote says how MPP was come by; it goes to the outputs of a run.
	MPPNote string
	// MaxPixels bounds the pixels that are decoded at once: one tile or strip
	// of a TIFF, a quarter of that for JPEG 2000, or all of a PNG or JPEG. 0
	// means 1<<26, 8192 x 8192, which takes up to 1.5 GiB. It is looked
	// at before anything is allocated.
	MaxPixels int64
	// MaxBytes bounds the metadata of a TIFF, which are tags, texts and lists
	// of tiles; 0 means 1<<28.
	MaxBytes int64
}

// Slide is an open slide. It is safe for use by many goroutines.
type Slide struct {
	meta   Meta
	levels []Level
	rasts  []raster
	assoc  map[string]func() (image.Image, error)
	names  []string
	opt    Options
	cache  *tileCache
	file   *tiff.File
	sparse bool // the format leaves blank tiles out
	src    Source
	path   string

	warnings []string

	// Of a slide that the OpenSlide library reads.
	identity string
	close    func() error

	mu      sync.Mutex
	skipped map[tileKey]*TileError
}

// Source is where the pixels of a slide come from when it is not a file.
type Source interface {
	Levels() []Level
	ReadRegion(ctx context.Context, level int, origin image.Point, dst *image.RGBA) error
}

// FromSource returns a slide over a source, with mpp micrometres per pixel
// of level 0, 0 if unknown.
func FromSource(src Source, mpp float64) (*Slide, error) {
	s := &Slide{src: src, levels: src.Levels(), meta: Meta{Format: "source"}}
	for i, l := range s.levels {
		if l.W <= 0 || l.H <= 0 || !(l.Downsample >= 1) {
			return nil, fmt.Errorf("wsi: from source: level %d of %d x %d, downsample %v", i, l.W, l.H, l.Downsample)
		}
	}
	s.setMPP(mpp, mpp)
	return s, s.checkLevels()
}

// raster is one level as a grid of tiles that are decoded one by one.
type raster interface {
	grid() (cols, rows, tileW, tileH int)
	tile(col, row int) (*tiff.Segment, error)
}

type tiffRaster struct{ *tiff.Image }

func (r tiffRaster) grid() (cols, rows, tileW, tileH int) { return r.Cols, r.Rows, r.SegW, r.SegH }

func (r tiffRaster) tile(col, row int) (*tiff.Segment, error) { return r.Segment(col, row) }

// Levels returns the levels, finest first.
func (s *Slide) Levels() []Level { return s.levels }

// Meta returns what the file says about the slide.
func (s *Slide) Meta() Meta { return s.meta }

// Warnings returns what is odd about the file and was passed over, for people
// to read: what the slide shows may not be all that was meant.
func (s *Slide) Warnings() []string {
	var out []string
	if s.file != nil {
		out = append(out, s.file.Warnings()...)
	}
	return append(out, s.warnings...)
}

func (s *Slide) warn(format string, args ...any) {
	s.warnings = append(s.warnings, fmt.Sprintf(format, args...))
}

// maxSkipped bounds the tiles that are remembered.
const maxSkipped = 1 << 16

// Skipped returns the tiles that were left out because they are missing or
// corrupt, each once, in the order of levels, rows and columns.
func (s *Slide) Skipped() []*TileError {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*TileError, 0, len(s.skipped))
	for _, e := range s.skipped {
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b *TileError) int { return cmp.Or(a.Level-b.Level, a.Row-b.Row, a.Col-b.Col) })
	return out
}

// skip remembers a tile that is left out.
func (s *Slide) skip(e *TileError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.skipped == nil {
		s.skipped = map[tileKey]*TileError{}
	}
	if len(s.skipped) < maxSkipped {
		s.skipped[tileKey{level: e.Level, col: e.Col, row: e.Row}] = e
	}
}

// AssociatedNames returns the names of the associated pictures ("label",
// "macro", "thumbnail"), in the file's order.
func (s *Slide) AssociatedNames() []string { return s.names }

// Associated decodes an associated picture.
func (s *Slide) Associated(name string) (image.Image, error) {
	f := s.assoc[name]
	if f == nil {
		return nil, fmt.Errorf("wsi: associated picture %q: not in the file", name)
	}
	return f()
}

// Close closes the file.
func (s *Slide) Close() error {
	if s.close != nil {
		return s.close()
	}
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// addLevel appends a level of w x h pixels stored in im.
func (s *Slide) addLevel(r raster, w, h int) {
	_, _, tw, th := r.grid()
	l := Level{W: w, H: h, TileW: tw, TileH: th, Downsample: 1}
	if len(s.levels) > 0 {
		z := s.levels[0]
		l.Downsample = (float64(z.W)/float64(w) + float64(z.H)/float64(h)) / 2
	}
	s.levels = append(s.levels, l)
	s.rasts = append(s.rasts, r)
}

// addAssociated names a picture; the first of a name wins.
func (s *Slide) addAssociated(name string, f func() (image.Image, error)) {
	if name == "" || s.assoc[name] != nil {
		return
	}
	s.assoc[name] = f
	s.names = append(s.names, name)
}

// wholeImage decodes all of a small TIFF picture.
func wholeImage(d *tiff.Dir) (image.Image, error) {
	im, err := d.Image()
	if err != nil {
		return nil, err
	}
	const limit = 1 << 26
	if int64(im.W)*int64(im.H) > limit {
		return nil, fmt.Errorf("wsi: associated picture of %d x %d, over %d pixels", im.W, im.H, limit)
	}
	dst := image.NewRGBA(image.Rect(0, 0, im.W, im.H))
	for row := range im.Rows {
		for col := range im.Cols {
			seg, err := im.Segment(col, row)
			if err != nil {
				return nil, err
			}
			blit(dst, image.Point{}, seg, image.Pt(col*im.SegW, row*im.SegH), dst.Rect)
		}
	}
	return dst, nil
}
