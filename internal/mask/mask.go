// Package mask is sets of pixels of a picture: stored as bits, combined,
// measured, cut into parts, turned into run-length codes and outlines and back.
//
// Pixels are (x, y), x right, y down, sizes {H, W}. Errors carry no package's
// name: whoever hands them to a user adds its own.
//
//	m, err := mask.New(mask.Size{H: 3, W: 4}, func(x, y int) bool { return x > y })
//	m.Area(), m.RLE(), m.Polygons()
package mask

import (
	"errors"
	"fmt"
	"image"
	"iter"
	"math/bits"
)

// Size is a picture's height and width in pixels.
type Size struct{ H, W int }

// String writes the size as people do, width first.
func (s Size) String() string { return fmt.Sprintf("%d x %d", s.W, s.H) }

// ErrMask is wrapped by every error about data that is not a mask: a size out
// of range, runs that do not fill the picture, polygons that are not finite.
var ErrMask = errors.New("not a mask")

const (
	// maxSide keeps positions in a mask within 48 bits.
	maxSide = 1 << 24
	// maxBytes bounds what one mask may occupy, 131,072 by 131,072 pixels
	// if they are all set at the far corners: a short run-length code can ask
	// for any amount.
	maxBytes = 1 << 31
)

// Mask is a set of pixels of one picture: what belongs to an object.
//
// A Mask is immutable and safe for any number of goroutines. Pixels are
// (x, y), x right, y down, from (0, 0). Only the rectangle around its pixels
// is stored, one bit a pixel, so that thousands of small objects on a large
// picture cost little. The nil Mask has no pixels and no size.
type Mask struct {
	size Size
	box  image.Rectangle // of the pixels; zero if there are none
	x0   int             // column of bit 0 of each row, a multiple of 64
	wide int             // words of a row
	bits []uint64        // [box.Dy(), wide]; bits outside the box are 0
	area int
}

// Size returns the size of the picture that the mask belongs to.
func (m *Mask) Size() Size {
	if m == nil {
		return Size{}
	}
	return m.size
}

// Area returns the number of pixels.
func (m *Mask) Area() int {
	if m == nil {
		return 0
	}
	return m.area
}

// Bounds returns the smallest rectangle that holds all pixels, half-open as
// in package image: Max is one beyond the last pixel. It is the zero rectangle
// if there are none.
func (m *Mask) Bounds() image.Rectangle {
	if m == nil {
		return image.Rectangle{}
	}
	return m.box
}

// At reports whether the pixel belongs to the mask. It is false outside the
// picture.
func (m *Mask) At(x, y int) bool {
	if m == nil || !(image.Point{X: x, Y: y}).In(m.box) {
		return false
	}
	x -= m.x0
	return m.bits[(y-m.box.Min.Y)*m.wide+x>>6]>>(x&63)&1 != 0
}

// Run is a run of a mask's pixels within one row: columns X0 to X1-1.
type Run struct{ Y, X0, X1 int }

// Runs yields the mask's pixels as runs of greatest length, row by row from
// the top, from left to right.
func (m *Mask) Runs() iter.Seq[Run] {
	if m == nil {
		return func(func(Run) bool) {}
	}
	return m.RunsIn(m.box.Min.Y, m.box.Max.Y)
}

// RunsIn yields the runs of rows y0 to y1-1, as Runs does those of all.
func (m *Mask) RunsIn(y0, y1 int) iter.Seq[Run] {
	return func(yield func(Run) bool) {
		if m == nil {
			return
		}
		for y := max(y0, m.box.Min.Y); y < min(y1, m.box.Max.Y); y++ {
			row := m.row(y)
			for x := 0; ; {
				a := nextBit(row, x, 0)
				if a == len(row)*64 {
					break
				}
				x = nextBit(row, a, ^uint64(0))
				if !yield(Run{Y: y, X0: m.x0 + a, X1: m.x0 + x}) {
					return
				}
			}
		}
	}
}

// nextBit returns the first position at or after x whose bit is set in
// row^flip, or the length of the row in bits.
func nextBit(row []uint64, x int, flip uint64) int {
	i := x >> 6
	if i >= len(row) {
		return len(row) * 64
	}
	w := (row[i] ^ flip) >> (x & 63)
	if w != 0 {
		return x + bits.TrailingZeros64(w)
	}
	for i++; i < len(row); i++ {
		if w := row[i] ^ flip; w != 0 {
			return i*64 + bits.TrailingZeros64(w)
		}
	}
	return len(row) * 64
}

// row returns the words of row y, which lies in the box.
func (m *Mask) row(y int) []uint64 {
	i := (y - m.box.Min.Y) * m.wide
	return m.bits[i : i+m.wide : i+m.wide]
}

// Builder collects the pixels of a Mask. Rows may be written by several
// goroutines, each its own.
type Builder struct {
	size Size
	hull image.Rectangle // where pixels may be set
	x0   int
	wide int
	bits []uint64 // [hull.Dy(), wide]
}

// NewBuilder returns a builder for the pixels of a picture of the given size
// that lie in hull. It returns an error that wraps ErrMask if the size is out
// of range or the part of hull in the picture needs more than 2 GiB.
func NewBuilder(size Size, hull image.Rectangle) (*Builder, error) {
	if err := checkSize(size); err != nil {
		return nil, err
	}
	hull = hull.Intersect(image.Rect(0, 0, size.W, size.H))
	b := &Builder{size: size, hull: hull}
	if hull.Empty() {
		return b, nil
	}
	b.x0 = hull.Min.X &^ 63
	b.wide = (hull.Max.X - b.x0 + 63) / 64
	if hull.Dy() > maxBytes/8/b.wide {
		return nil, fmt.Errorf("%w: the %d x %d pixels around it need more than %d bytes", ErrMask, hull.Dx(), hull.Dy(), maxBytes)
	}
	b.bits = make([]uint64, hull.Dy()*b.wide)
	return b, nil
}

func checkSize(s Size) error {
	if s.H < 1 || s.W < 1 || s.H > maxSide || s.W > maxSide {
		return fmt.Errorf("%w: picture of %v pixels, want sides of 1 to %d", ErrMask, s, maxSide)
	}
	return nil
}

// Row returns the words of row y of the hull. Bit i of word j is column
// Left()+64*j+i. Bits outside the hull must stay 0.
func (b *Builder) Row(y int) []uint64 {
	i := (y - b.hull.Min.Y) * b.wide
	return b.bits[i : i+b.wide : i+b.wide]
}

// Left returns the column of the first bit of each row, a multiple of 64.
func (b *Builder) Left() int { return b.x0 }

// Hull returns the rectangle in which pixels may be set: the part of
// NewBuilder's that lies in the picture.
func (b *Builder) Hull() image.Rectangle { return b.hull }

// SetRun adds the run, which lies in the hull.
func (b *Builder) SetRun(r Run) { setBits(b.Row(r.Y), r.X0-b.x0, r.X1-b.x0) }

// setBits sets bits x0 to x1-1.
func setBits(row []uint64, x0, x1 int) {
	if x0 >= x1 {
		return
	}
	first, last := x0>>6, (x1-1)>>6
	head, tail := ^uint64(0)<<(x0&63), ^uint64(0)>>(63-(x1-1)&63)
	if first == last {
		row[first] |= head & tail
		return
	}
	row[first] |= head
	for i := first + 1; i < last; i++ {
		row[i] = ^uint64(0)
	}
	row[last] |= tail
}

// Mask returns the finished mask; b must not be used again.
func (b *Builder) Mask() *Mask {
	m := &Mask{size: b.size}
	lo, hi := b.wide, -1 // words that hold pixels
	y0, y1 := -1, -1
	for i := 0; i < len(b.bits); i += b.wide {
		row, n := b.bits[i:i+b.wide], 0
		for j, w := range row {
			if w != 0 {
				n += bits.OnesCount64(w)
				lo, hi = min(lo, j), max(hi, j)
			}
		}
		if n > 0 {
			m.area += n
			y1 = i/b.wide + 1
			if y0 < 0 {
				y0 = y1 - 1
			}
		}
	}
	if m.area == 0 {
		return m
	}
	var left, right uint64 // columns in use of the outermost words
	for y := y0; y < y1; y++ {
		left |= b.bits[y*b.wide+lo]
		right |= b.bits[y*b.wide+hi]
	}
	m.box = image.Rect(b.x0+lo*64+bits.TrailingZeros64(left), b.hull.Min.Y+y0, b.x0+hi*64+bits.Len64(right), b.hull.Min.Y+y1)
	m.x0, m.wide = b.x0+lo*64, hi-lo+1
	if m.wide == b.wide && y1-y0 == b.hull.Dy() {
		m.bits = b.bits
		return m
	}
	m.bits = make([]uint64, 0, m.wide*(y1-y0))
	for y := y0; y < y1; y++ {
		m.bits = append(m.bits, b.bits[y*b.wide+lo:y*b.wide+hi+1]...)
	}
	return m
}
