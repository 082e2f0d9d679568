package mask

import (
	"context"
	"image"
	"math/bits"

	"github.com/slidesam/sam/internal/resample"
)

// Cutter makes masks of logits where they were computed, on a GPU.
type Cutter interface {
	// Cut brings planes of low-resolution logits to the picture's size and
	// cuts them at limits: those above which pixels are counted first, belong
	// to the mask, and are counted last. It returns nil if that is to be done
	// on the CPU.
	Cut(ctx context.Context, planes []int, u *resample.Upscaler, limits [3]float32) (*Cuts, error)
}

// Cuts are masks as a [Cutter] gives them.
type Cuts struct {
	Size Size
	// Bits are the masks one after the other, each row in whole words.
	Bits []uint64
	// Above are the pixels of each mask above the first and the last limit.
	Above [][2]int
}

// Mask returns mask i, with its upper left corner at a pixel of a picture of
// the given size. It returns an error that wraps ErrMask if it does not fit.
func (c *Cuts) Mask(i int, at image.Point, size Size) (*Mask, error) {
	wide := (c.Size.W + 63) / 64
	rows := c.Bits[i*c.Size.H*wide:][:c.Size.H*wide]
	var hull image.Rectangle
	for y := range c.Size.H {
		row := rows[y*wide:][:wide]
		j, k := 0, wide-1
		for j <= k && row[j] == 0 {
			j++
		}
		for k > j && row[k] == 0 {
			k--
		}
		if j <= k {
			hull = hull.Union(image.Rect(64*j+bits.TrailingZeros64(row[j]), y, 64*k+64-bits.LeadingZeros64(row[k]), y+1))
		}
	}
	b, err := NewBuilder(size, hull.Add(at))
	if err != nil {
		return nil, err
	}
	for y := b.hull.Min.Y; y < b.hull.Max.Y; y++ {
		row := rows[(y-at.Y)*wide:][:wide]
		for x := nextBit(row, 0, 0); x < 64*wide; {
			end := nextBit(row, x, ^uint64(0))
			b.SetRun(Run{Y: y, X0: max(x+at.X, b.hull.Min.X), X1: min(end+at.X, b.hull.Max.X)})
			x = nextBit(row, end, 0)
		}
	}
	return b.Mask(), nil
}
