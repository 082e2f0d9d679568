package sam

import (
	"context"
	"fmt"
	"image"

	"github.com/slidesam/sam/internal/wholeslide"
	"github.com/slidesam/sam/internal/wsi"
)

// ErrSlideFormat is wrapped by the error of OpenSlide for a file that is not
// a slide it reads. The message names the format if it is a known one, and
// a way to convert it.
var ErrSlideFormat = wsi.ErrFormat

// ErrNoMPP is wrapped by errors about a slide whose pixel size is needed and
// unknown. SlideOptions.MPP sets it.
var ErrNoMPP = wsi.ErrNoMPP

// TileError reports a tile of a slide that is missing or corrupt: its level,
// column and row, its place in pixels of the level, and the cause.
type TileError = wsi.TileError

// SlideLevel is one resolution of a slide's pyramid.
type SlideLevel struct {
	W, H         int     // size in pixels
	TileW, TileH int     // size of the tiles it is stored in
	Downsample   float64 // level-0 pixels per pixel, the mean of both axes
}

// SlideOptions changes how a slide is read. The zero value reads the file as
// it says, keeps 64 MiB of decoded tiles and stops at the first bad tile.
type SlideOptions struct {
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
	// MPPNote says how MPP was come by, for instance an MPPEstimate in words;
	// summary.json of a run repeats it.
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

// SlideSource is where the pixels of a Slide come from when it is not a
// file: a synthetic slide, another library, a server. All methods must be
// safe for many goroutines.
type SlideSource interface {
	// Levels returns the levels, finest first, at least one.
	Levels() []SlideLevel
	// ReadRegion fills dst with the pixels of a level from origin on and
	// leaves dst as it is outside the level.
	ReadRegion(ctx context.Context, level int, origin image.Point, dst *image.RGBA) error
}

// Slide is an open whole-slide image: a pyramid of levels, of which any
// rectangle can be read. It is safe for any number of goroutines and holds
// no more than its cache of decoded tiles.
type Slide struct{ w *wsi.Slide }

// OpenSlide opens a whole-slide image or a picture: Aperio SVS, DICOM (a
// folder or one of its files), Hamamatsu NDPI, 3DHISTECH MRXS, Leica SCN,
// Ventana BIF, Akoya QPTIFF of brightfield, OME-TIFF, OME-Zarr (a folder),
// Philips TIFF, generic tiled or stripped TIFF and BigTIFF, PNG, JPEG. Built with the tag
// openslide, on Linux and macOS, it reads what else the OpenSlide library
// knows through that library, which is loaded when the first such file is
// opened.
//
// With the package remote imported, path may be an address of http, https,
// s3 or gs.
//
// The error wraps ErrSlideFormat if the format is not read, and names the
// format and a way to convert it if it is a known one.
func OpenSlide(path string) (*Slide, error) { return OpenSlideWith(path, SlideOptions{}) }

// OpenSlideWith is OpenSlide with options.
func OpenSlideWith(path string, o SlideOptions) (*Slide, error) {
	w, err := wsi.Open(path, wsi.Options(o))
	if err != nil {
		return nil, fmt.Errorf("sam: open slide: %w", err)
	}
	return &Slide{w}, nil
}

// NewSlide returns a slide over a source of the caller's, with mpp
// micrometres per pixel of level 0, 0 if that is unknown.
func NewSlide(src SlideSource, mpp float64) (*Slide, error) {
	w, err := wsi.FromSource(slideSource{src}, mpp)
	if err != nil {
		return nil, fmt.Errorf("sam: new slide: %w", err)
	}
	return &Slide{w}, nil
}

// slideSource gives a SlideSource the types of package wsi.
type slideSource struct{ SlideSource }

func (s slideSource) Levels() []wsi.Level {
	var out []wsi.Level
	for _, l := range s.SlideSource.Levels() {
		out = append(out, wsi.Level(l))
	}
	return out
}

// SlideFromImage returns a slide of one level over a picture, with mpp
// micrometres per pixel, 0 if that is unknown. An *image.RGBA is used as it
// is and must not change; other pictures are copied.
func SlideFromImage(img image.Image, mpp float64) *Slide {
	return &Slide{wsi.FromImage(img, mpp, mpp)}
}

// Levels returns the resolutions of the slide, finest first.
func (s *Slide) Levels() []SlideLevel {
	var out []SlideLevel
	for _, l := range s.w.Levels() {
		out = append(out, SlideLevel(l))
	}
	return out
}

// Size returns the size of level 0 in pixels.
func (s *Slide) Size() Size {
	l := s.w.Levels()[0]
	return Size{H: l.H, W: l.W}
}

// MPP returns the micrometres per pixel of level 0 along x and y, 0 if the
// file does not say. Resolution tags coarser than 30 are a printer's and do
// not count.
func (s *Slide) MPP() (x, y float64) { m := s.w.Meta(); return m.MPPX, m.MPPY }

// Objective returns the magnification of the objective, 0 if unknown.
func (s *Slide) Objective() float64 { return s.w.Meta().Objective }

// Format names the file's format: "aperio", "dicom", "leica", "mirax",
// "ndpi", "ome-tiff", "ome-zarr", "philips", "qptiff", "tiff", "ventana",
// "png", "jpeg", "picture" or "source", or OpenSlide's name of the vendor.
func (s *Slide) Format() string { return s.w.Meta().Format }

// Description returns the text that the scanner wrote, as it stands.
func (s *Slide) Description() string { return s.w.Meta().Description }

// ICC returns the colour profile, nil if there is none. It is not applied.
func (s *Slide) ICC() []byte { return s.w.Meta().ICC }

// Warnings returns what is odd about the file and was passed over, for people
// to read: what the slide shows may not be all that was meant. Programs should
// print it.
func (s *Slide) Warnings() []string { return s.w.Warnings() }

// Skipped returns the tiles that were left out so far because they are missing
// or corrupt, see [SlideOptions.SkipBadTiles]: each once, at most 65,536. What
// was found on such a slide may lack what lies there.
func (s *Slide) Skipped() []*TileError { return s.w.Skipped() }

// AssociatedNames returns the names of the associated pictures: "label",
// "macro", "thumbnail".
func (s *Slide) AssociatedNames() []string { return s.w.AssociatedNames() }

// Associated decodes an associated picture.
func (s *Slide) Associated(name string) (image.Image, error) {
	img, err := s.w.Associated(name)
	if err != nil {
		return nil, fmt.Errorf("sam: slide: %w", err)
	}
	return img, nil
}

// ReadRegion returns rectangle r of a level, in pixels of that level, as a
// picture with its corner at (0, 0). Pixels outside the slide, and tiles that
// were skipped, are transparent.
//
// A tile that is missing or corrupt gives an error that holds a *TileError.
// ctx is looked at between tiles.
func (s *Slide) ReadRegion(ctx context.Context, level int, r image.Rectangle) (*image.RGBA, error) {
	dst, err := newRegion(r)
	if err != nil {
		return nil, err
	}
	if err := s.w.ReadRegion(ctx, level, r.Min, dst); err != nil {
		return nil, fmt.Errorf("sam: slide: %w", err)
	}
	return dst, nil
}

// ReadAt returns rectangle r of the slide as it is at mpp micrometres per
// pixel, r in such pixels. It is read from the next finer level and reduced
// with a triangle filter; a pixel depends on its place in the slide alone.
//
// The error wraps ErrNoMPP if the slide's pixel size is unknown.
func (s *Slide) ReadAt(ctx context.Context, mpp float64, r image.Rectangle) (*image.RGBA, error) {
	dst, err := newRegion(r)
	if err != nil {
		return nil, err
	}
	if err := s.w.ReadAt(ctx, mpp, r.Min, dst); err != nil {
		return nil, fmt.Errorf("sam: slide: %w", err)
	}
	return dst, nil
}

// MPPEstimate is the pixel size of a slide that does not say it.
type MPPEstimate struct {
	MPP       float64 // micrometres per pixel of level 0
	Low, High float64 // it lies between them in nine of ten slides
	By        string  // "objective" or "nuclei"
}

// String says the estimate in words.
func (e MPPEstimate) String() string { return wholeslide.Estimate(e).String() }

// EstimateMPP estimates the pixel size of a slide that does not say it: by the
// magnification of the objective, 10 micrometres over that, or else by the
// size of the nuclei on an H&E slide of up to about 1.5 micrometres per pixel,
// to a factor of 1.5. To use it, open the slide with it as SlideOptions.MPP.
//
// The error wraps ErrNoMPP if it cannot be told.
func (s *Slide) EstimateMPP(ctx context.Context) (MPPEstimate, error) {
	e, err := wholeslide.EstimateMPP(ctx, s.w)
	if err != nil {
		return MPPEstimate{}, fmt.Errorf("sam: estimate mpp: %w", err)
	}
	return MPPEstimate(e), nil
}

// SizeAt returns the size of the slide in pixels of mpp micrometres.
//
// The error wraps ErrNoMPP if the slide's pixel size is unknown.
func (s *Slide) SizeAt(mpp float64) (Size, error) {
	w, h, err := s.w.SizeAt(mpp)
	if err != nil {
		return Size{}, fmt.Errorf("sam: slide: %w", err)
	}
	return Size{H: h, W: w}, nil
}

// Close closes the file. Reads under way must have ended.
func (s *Slide) Close() error { return s.w.Close() }

// maxRegion is the most pixels that one read returns: 1 GiB.
const maxRegion = 1 << 28

func newRegion(r image.Rectangle) (*image.RGBA, error) {
	if r.Empty() {
		return nil, fmt.Errorf("sam: slide: read %v: empty", r)
	}
	if int64(r.Dx()) > maxRegion || int64(r.Dy()) > maxRegion || int64(r.Dx())*int64(r.Dy()) > maxRegion {
		return nil, fmt.Errorf("sam: slide: read %v: over %d pixels; read it in parts", r, maxRegion)
	}
	return image.NewRGBA(image.Rect(0, 0, r.Dx(), r.Dy())), nil
}
