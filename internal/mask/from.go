package mask

import (
	"errors"
	"fmt"
	"image"
	"math/bits"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
)

// New returns the mask of the pixels for which in is true. in is called
// once for each pixel of the picture, row by row. New returns an error
// that wraps [ErrMask] if a side is not in 1 to 1<<24, or in is nil.
func New(size Size, in func(x, y int) bool) (*Mask, error) {
	if in == nil {
		return nil, fmt.Errorf("%w: no function says which pixels belong to it", ErrMask)
	}
	b, err := NewBuilder(size, image.Rect(0, 0, size.W, size.H))
	if err != nil {
		return nil, err
	}
	for y := range size.H {
		row := b.Row(y)
		for x := range size.W {
			if in(x, y) {
				row[x>>6] |= 1 << (x & 63)
			}
		}
	}
	return b.Mask(), nil
}

// FromImage returns the mask of the pixels that are nearer to white than
// to black: those whose grey value, as image/color.GrayModel computes it
// without the alpha, is at least 128. That is the rule for masks stored as
// JPEG, which are not exactly 0 and 255. Where no pixel is above 1, of 8 bits
// or of 16, those of 1 are the mask. It begins at the top left of img's bounds.
func FromImage(img image.Image) (*Mask, error) {
	p, err := picture.New(img)
	if err != nil {
		return nil, err
	}
	size := Size(p.Bounds())
	if m, ok := img.(*image.Gray16); ok && !anyAbove1(m) {
		return New(size, func(x, y int) bool { return m.Gray16At(m.Rect.Min.X+x, m.Rect.Min.Y+y).Y == 1 })
	}
	limit := uint32(128)
	if highest(p) == 1 {
		limit = 1
	}
	b, err := NewBuilder(size, image.Rect(0, 0, size.W, size.H))
	if err != nil {
		return nil, err
	}
	buf := make([]byte, size.W*3)
	for y := range size.H {
		row, px := b.Row(y), p.Row(y, buf)
		for x := range size.W {
			if brightness(px[3*x:]) >= limit {
				row[x>>6] |= 1 << (x & 63)
			}
		}
	}
	return b.Mask(), nil
}

// brightness has the weights of color.GrayModel on 16 bits: 257 times 8-bit values.
func brightness(px []byte) uint32 {
	return ((19595*uint32(px[0])+38470*uint32(px[1])+7471*uint32(px[2]))*257 + 1<<15) >> 24
}

// highest returns the highest value of a channel, or any above 1.
func highest(p *picture.Picture) byte {
	top := byte(0)
	buf := make([]byte, p.Bounds().W*3)
	for y := range p.Bounds().H {
		for _, v := range p.Row(y, buf) {
			if top = max(top, v); top > 1 {
				return top
			}
		}
	}
	return top
}

func anyAbove1(m *image.Gray16) bool {
	for y := m.Rect.Min.Y; y < m.Rect.Max.Y; y++ {
		for x := m.Rect.Min.X; x < m.Rect.Max.X; x++ {
			if m.Gray16At(x, y).Y > 1 {
				return true
			}
		}
	}
	return false
}

// FromLogits returns the mask of the values above limit of data [H, W]. It
// returns an error that wraps [ErrMask] if data does not hold H*W values.
func FromLogits(size Size, data []float32, limit float32) (*Mask, error) {
	b, err := NewBuilder(size, image.Rect(0, 0, size.W, size.H))
	if err != nil {
		return nil, err
	}
	if len(data) != size.H*size.W {
		return nil, fmt.Errorf("%w: %d values for %v pixels", ErrMask, len(data), size)
	}
	bands := min(32, max(1, size.H/64))
	kernel.Parallel(bands, func(i int) {
		for y := i * size.H / bands; y < (i+1)*size.H/bands; y++ {
			kernel.SetAbove(b.Row(y), 0, data[y*size.W:(y+1)*size.W], limit)
		}
	})
	return b.Mask(), nil
}

// Threshold returns the mask of low, low-resolution logits, at the picture's
// size: the pixels above limit after both steps of interpolation.
func Threshold(u *resample.Upscaler, low []float32, limit float32) (*Mask, error) {
	p := u.Picture()
	hull, err := u.Hull(low, limit)
	if err != nil {
		return nil, err
	}
	b, err := NewBuilder(Size(p), hull)
	if err != nil || len(b.bits) == 0 {
		return &Mask{size: Size(p)}, err
	}
	bands := min(32, max(1, b.hull.Dy()/64))
	errs := make([]error, bands)
	kernel.Parallel(bands, func(i int) {
		n := b.hull.Dy()
		y0, y1 := b.hull.Min.Y+i*n/bands, b.hull.Min.Y+(i+1)*n/bands
		errs[i] = u.Rows(low, y0, y1, limit, func(y, x0 int, row []float32) {
			kernel.SetAbove(b.Row(y), x0-b.x0, row, limit)
		})
	})
	return b.Mask(), errors.Join(errs...)
}

// Cut returns the mask of low, low-resolution logits of a picture that lies at a
// place of a larger one of the given size: its pixels above the middle one of
// three limits. It counts those above the outer limit, the lowest, and those
// above the inner one.
func Cut(u *resample.Upscaler, low []float32, limits [3]float32, at image.Point, size Size) (m *Mask, above [2]int, err error) {
	lo, mid, hi := limits[0], limits[1], limits[2]
	hull, err := u.Hull(low, mid)
	if err != nil {
		return nil, above, err
	}
	b, err := NewBuilder(size, hull.Add(at))
	if err != nil {
		return nil, above, err
	}
	words := make([]uint64, (u.Picture().W+63)/64)
	count := func(row []float32, limit float32) (n int) {
		w := words[:(len(row)+63)/64]
		clear(w)
		kernel.SetAbove(w, 0, row, limit)
		for _, v := range w {
			n += bits.OnesCount64(v)
		}
		return n
	}
	err = u.Rows(low, 0, u.Picture().H, lo, func(y, x0 int, row []float32) {
		// A row's floor leaves out nothing that exceeds lo, and hi is above it.
		above[0] += count(row, lo)
		above[1] += count(row, hi)
		// The mask's own columns: all that exceed the threshold lie in the hull.
		if y < hull.Min.Y || y >= hull.Max.Y {
			return
		}
		from, to := max(hull.Min.X, x0), min(hull.Max.X, x0+len(row))
		if from < to {
			kernel.SetAbove(b.Row(y+at.Y), from+at.X-b.Left(), row[from-x0:to-x0], mid)
		}
	})
	return b.Mask(), above, err
}
