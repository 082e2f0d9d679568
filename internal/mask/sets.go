package mask

import (
	"image"
	"math"
	"math/bits"
	"slices"
)

// Masks of pictures of different sizes are compared pixel by pixel from the
// common corner (0, 0).

// Equal reports whether both masks have the same pixels on pictures of the
// same size.
func (m *Mask) Equal(o *Mask) bool {
	return m.Size() == o.Size() && m.Bounds() == o.Bounds() && m.Area() == o.Area() &&
		(m.Area() == 0 || slices.Equal(m.bits, o.bits))
}

// Intersection returns the number of pixels that both masks have.
func (m *Mask) Intersection(o *Mask) int {
	r := m.Bounds().Intersect(o.Bounds())
	if r.Empty() {
		return 0
	}
	n := 0
	first, words := r.Min.X&^63, (r.Max.X-r.Min.X&^63+63)/64
	for y := r.Min.Y; y < r.Max.Y; y++ {
		a, b := m.row(y)[(first-m.x0)/64:], o.row(y)[(first-o.x0)/64:]
		for i := range words {
			n += bits.OnesCount64(a[i] & b[i])
		}
	}
	return n
}

// IoU returns the intersection over union, in 0 to 1. It is NaN if neither
// mask has a pixel.
func (m *Mask) IoU(o *Mask) float64 {
	n := m.Intersection(o)
	union := m.Area() + o.Area() - n
	if union == 0 {
		return math.NaN()
	}
	return float64(n) / float64(union)
}

// Union returns the pixels that either mask has, on a picture that holds both
// pictures.
func (m *Mask) Union(o *Mask) (*Mask, error) {
	return m.combine(o, m.Bounds().Union(o.Bounds()), func(a, b uint64) uint64 { return a | b })
}

// Intersect returns the pixels that both masks have, on a picture that holds
// both pictures.
func (m *Mask) Intersect(o *Mask) (*Mask, error) {
	return m.combine(o, m.Bounds().Intersect(o.Bounds()), func(a, b uint64) uint64 { return a & b })
}

// Subtract returns the pixels of m that o does not have, on a picture that
// holds both pictures.
func (m *Mask) Subtract(o *Mask) (*Mask, error) {
	return m.combine(o, m.Bounds(), func(a, b uint64) uint64 { return a &^ b })
}

// combine returns f of both masks' words within hull. It fails only if both
// masks are nil or if the rectangle around two far pixels is too large.
func (m *Mask) combine(o *Mask, hull image.Rectangle, f func(a, b uint64) uint64) (*Mask, error) {
	size := Size{H: max(m.Size().H, o.Size().H), W: max(m.Size().W, o.Size().W)}
	b, err := NewBuilder(size, hull)
	if err != nil {
		return nil, err
	}
	for y := hull.Min.Y; y < hull.Max.Y; y++ {
		row := b.Row(y)
		for i := range row {
			row[i] = f(m.word(b.x0+64*i, y), o.word(b.x0+64*i, y))
		}
	}
	return b.Mask(), nil
}

// word returns the 64 pixels from column x on, a multiple of 64.
func (m *Mask) word(x, y int) uint64 {
	if m == nil || y < m.box.Min.Y || y >= m.box.Max.Y || x < m.x0 || x >= m.x0+64*m.wide {
		return 0
	}
	return m.bits[(y-m.box.Min.Y)*m.wide+(x-m.x0)/64]
}

// Place returns the mask moved by offset onto a picture of the given size;
// pixels that fall outside it are cut off. It turns a tile's mask into a
// slide's, or cuts a tile's part out of a slide's mask with a negative
// offset. It returns an error that wraps [ErrMask] if the size is out of
// range.
func (m *Mask) Place(size Size, offset image.Point) (*Mask, error) {
	out, err := m.cut(size, offset, image.Rect(0, 0, size.W, size.H))
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Clip returns the mask's pixels that lie in r, half-open, on a picture of the
// same size. It returns an error that wraps [ErrMask] if m is nil.
func (m *Mask) Clip(r image.Rectangle) (*Mask, error) {
	if m != nil && m.box.In(r) {
		return m, nil
	}
	out, err := m.cut(m.Size(), image.Point{}, r)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// cut returns the pixels that lie in r once they are moved by offset.
func (m *Mask) cut(size Size, offset image.Point, r image.Rectangle) (*Mask, error) {
	hull := m.Bounds().Add(offset).Intersect(r)
	b, err := NewBuilder(size, hull)
	if err != nil {
		return nil, err
	}
	for y := hull.Min.Y; y < hull.Max.Y; y++ {
		row := b.Row(y)
		for i := range row {
			// 64 pixels from column x of m, which lie in two words of it.
			x := b.x0 + 64*i - offset.X
			shift := x & 63
			w := m.word(x-shift, y-offset.Y) >> shift
			if shift > 0 {
				w |= m.word(x-shift+64, y-offset.Y) << (64 - shift)
			}
			row[i] = w
		}
		row[0] &= ^uint64(0) << (hull.Min.X & 63)
		row[len(row)-1] &= ^uint64(0) >> (63 - (hull.Max.X-1)&63)
	}
	return b.Mask(), nil
}
