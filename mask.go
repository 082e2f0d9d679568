package sam

import (
	"fmt"
	"image"
	"io"
	"iter"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/mask"
)

// ErrMask is wrapped by every error about data that is not a mask: a size out
// of range, runs that do not fill the picture, polygons that are not finite.
var ErrMask = mask.ErrMask

// Size is a picture's height and width in pixels.
type Size struct{ H, W int }

// String writes the size as people do, width first.
func (s Size) String() string { return mask.Size(s).String() }

// Run is a run of a mask's pixels within one row: columns X0 to X1-1.
type Run struct{ Y, X0, X1 int }

// Mask is a set of pixels of one picture: what belongs to an object.
//
// A Mask is immutable and safe for any number of goroutines. Pixels are
// (x, y), x right, y down, from (0, 0). Only the rectangle around its pixels
// is stored, one bit a pixel, so that thousands of small objects on a large
// picture cost little. The nil Mask has no pixels and no size.
//
// Masks of pictures of different sizes are compared pixel by pixel from the
// common corner (0, 0).
type Mask mask.Mask

// pixels is the mask as the machinery below knows it.
func (m *Mask) pixels() *mask.Mask { return (*mask.Mask)(m) }

// NewMask returns the mask of the pixels for which in is true. in is called
// once for each pixel of the picture, row by row. NewMask returns an error
// that wraps [ErrMask] if a side is not in 1 to 1<<24, or in is nil.
func NewMask(size Size, in func(x, y int) bool) (*Mask, error) {
	return faceMask("new mask")(mask.New(mask.Size(size), in))
}

// MaskFromImage returns the mask of the pixels that are nearer to white than
// to black: those whose grey value, as image/color.GrayModel computes it
// without the alpha, is at least 128. That is the rule for masks stored as
// JPEG, which are not exactly 0 and 255. Where no value is above 1, of 8 bits
// or of 16, those of 1 are the mask. It begins at the top left of img's bounds.
func MaskFromImage(img image.Image) (*Mask, error) {
	return faceMask("mask from image")(mask.FromImage(img))
}

// MaskFromPolygons returns the mask of the pixels whose centre lies in any of
// the polygons, whose coordinates are pixel corners as those of
// [Mask.Polygons]: pixel (x, y) has its centre at (x+0.5, y+0.5).
//
// Within one polygon the even-odd rule decides, so that inner rings are holes
// whatever their direction. A centre on an edge belongs to the side with the
// greater x, or on a horizontal edge the greater y, so that polygons that
// share an edge share no pixel. Rings need not be closed and may reach beyond
// the picture. The error wraps [ErrMask] if a coordinate is NaN, infinite or
// beyond 1e9, or if the size is out of range.
func MaskFromPolygons(size Size, polygons orb.MultiPolygon) (*Mask, error) {
	return faceMask("mask from polygons")(mask.FromPolygons(mask.Size(size), polygons))
}

// Mask returns the mask of the values above threshold, at the size of the
// logits. It returns an error that wraps [ErrMask] if Data does not hold H*W
// values.
func (l Logits) Mask(threshold float32) (*Mask, error) {
	return faceMask("mask from logits")(mask.FromLogits(mask.Size{H: l.H, W: l.W}, l.Data, threshold))
}

// faceMask returns a function that hands a mask of package mask to a user: its
// error says what was tried.
func faceMask(action string) func(*mask.Mask, error) (*Mask, error) {
	return func(m *mask.Mask, err error) (*Mask, error) {
		if err != nil {
			return nil, fmt.Errorf("sam: %s: %w", action, err)
		}
		return (*Mask)(m), nil
	}
}

// Size returns the size of the picture that the mask belongs to.
func (m *Mask) Size() Size { return Size(m.pixels().Size()) }

// Area returns the number of pixels.
func (m *Mask) Area() int { return m.pixels().Area() }

// Bounds returns the smallest rectangle that holds all pixels, half-open as
// in package image: Max is one beyond the last pixel. It is the zero rectangle
// if there are none.
func (m *Mask) Bounds() image.Rectangle { return m.pixels().Bounds() }

// At reports whether the pixel belongs to the mask. It is false outside the
// picture.
func (m *Mask) At(x, y int) bool { return m.pixels().At(x, y) }

// Runs yields the mask's pixels as runs of greatest length, row by row from
// the top, from left to right.
func (m *Mask) Runs() iter.Seq[Run] {
	return func(yield func(Run) bool) {
		for r := range m.pixels().Runs() {
			if !yield(Run(r)) {
				return
			}
		}
	}
}

// Image returns the mask as a grey picture of the picture's size: 255 where
// the mask has a pixel, else 0. It is a view and holds no pixels of its own.
func (m *Mask) Image() image.Image { return m.pixels().Image() }

// WritePNG writes the mask as an 8-bit grey PNG of the picture's size, 255
// where the mask has a pixel, else 0. [MaskFromImage] reads it back. It
// returns an error that wraps [ErrMask] for the nil mask, and w's errors.
func (m *Mask) WritePNG(w io.Writer) error {
	if err := m.pixels().WritePNG(w); err != nil {
		return fmt.Errorf("sam: %w", err)
	}
	return nil
}

// Polygons returns the mask's outlines along the edges of its pixels: exactly
// the mask's area, no corner cut. [MaskFromPolygons] gives the mask back.
//
// Coordinates are pixel corners: pixel (x, y) is the square from (x, y) to
// (x+1, y+1). Each polygon is one 4-connected part of the mask, its first ring
// the outline, the others the holes, which are 8-connected parts of the rest;
// pixels that touch at a corner only belong to different polygons. Rings are
// closed, simple and have a vertex only where they turn; where the mask
// touches itself at a corner, rings share that point. So every polygon is
// valid in the sense of OGC and JTS.
//
// Outlines have a positive and holes a negative area by the shoelace formula
// on the numbers as they are: RFC 7946's right-hand rule. On a screen, where y
// points down, outlines therefore run clockwise. Polygons are ordered by their
// topmost, then leftmost pixel, and so are the holes of each by their own. The
// same mask gives the same rings.
//
// The result is empty if the mask is. Time and memory grow with the number of
// runs, not with the area.
func (m *Mask) Polygons() orb.MultiPolygon { return m.pixels().Polygons() }

// Equal reports whether both masks have the same pixels on pictures of the
// same size.
func (m *Mask) Equal(o *Mask) bool { return m.pixels().Equal(o.pixels()) }

// Intersection returns the number of pixels that both masks have.
func (m *Mask) Intersection(o *Mask) int { return m.pixels().Intersection(o.pixels()) }

// IoU returns the intersection over union, in 0 to 1. It is NaN if neither
// mask has a pixel.
func (m *Mask) IoU(o *Mask) float64 { return m.pixels().IoU(o.pixels()) }

// Union returns the pixels that either mask has, on a picture that holds both
// pictures.
func (m *Mask) Union(o *Mask) (*Mask, error) {
	return faceMask("union masks")(m.pixels().Union(o.pixels()))
}

// Intersect returns the pixels that both masks have, on a picture that holds
// both pictures.
func (m *Mask) Intersect(o *Mask) (*Mask, error) {
	return faceMask("intersect masks")(m.pixels().Intersect(o.pixels()))
}

// Subtract returns the pixels of m that o does not have, on a picture that
// holds both pictures.
func (m *Mask) Subtract(o *Mask) (*Mask, error) {
	return faceMask("subtract masks")(m.pixels().Subtract(o.pixels()))
}

// Place returns the mask moved by offset onto a picture of the given size;
// pixels that fall outside it are cut off. It turns a tile's mask into a
// slide's, or cuts a tile's part out of a slide's mask with a negative
// offset. It returns an error that wraps [ErrMask] if the size is out of
// range.
func (m *Mask) Place(size Size, offset image.Point) (*Mask, error) {
	return faceMask("place mask")(m.pixels().Place(mask.Size(size), offset))
}

// Clip returns the mask's pixels that lie in r, half-open, on a picture of the
// same size. It returns an error that wraps [ErrMask] if m is nil.
func (m *Mask) Clip(r image.Rectangle) (*Mask, error) {
	return faceMask("clip mask")(m.pixels().Clip(r))
}
