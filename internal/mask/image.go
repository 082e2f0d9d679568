package mask

import (
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
)

// grey is a mask as a grey picture.
type grey struct{ m *Mask }

func (i grey) ColorModel() color.Model { return color.GrayModel }

func (i grey) Bounds() image.Rectangle {
	s := i.m.Size()
	return image.Rect(0, 0, s.W, s.H)
}

func (i grey) At(x, y int) color.Color {
	if i.m.At(x, y) {
		return color.Gray{Y: 255}
	}
	return color.Gray{}
}

// Image returns the mask as a grey picture of the picture's size: 255 where
// the mask has a pixel, else 0. It is a view and holds no pixels of its own.
func (m *Mask) Image() image.Image { return grey{m} }

// WritePNG writes the mask as an 8-bit grey PNG of the picture's size, 255
// where the mask has a pixel, else 0. [FromImage] reads it back. It
// returns an error that wraps [ErrMask] for the nil mask, and w's errors.
func (m *Mask) WritePNG(w io.Writer) error {
	if m == nil {
		return fmt.Errorf("write mask: %w: it is nil", ErrMask)
	}
	if err := png.Encode(w, m.Image()); err != nil {
		return fmt.Errorf("write mask: %w", err)
	}
	return nil
}
