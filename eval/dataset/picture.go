package dataset

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"sync/atomic"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/internal/picfile"
)

// maxPixels is the most numbers of an array that is read whole, those of a label
// map of 16,384 x 16,384: a file of a few bytes can claim any size.
const maxPixels = 1 << 28

var pictureExts = []string{".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}

// readPicture reads a picture as [sam.OpenPicture] does.
func readPicture(path string) (image.Image, error) {
	return readWith(path, picfile.Options{MaxPixels: maxPictureRead.Load()})
}

// readMask reads a mask with its samples as they are.
func readMask(path string) (image.Image, error) {
	return readWith(path, picfile.Options{MaxPixels: maxPictureRead.Load(), Raw: true})
}

func readWith(path string, o picfile.Options) (image.Image, error) {
	img, _, err := picfile.Open(path, o)
	if errors.Is(err, picfile.ErrFormat) {
		err = fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return img, err
}

// maxPictureRead is the limit that SetMaxPixels sets.
var maxPictureRead atomic.Int64

// SetMaxPixels sets the most pixels of a picture or mask that is read, for all
// data sets of the program; 0 is the default of [sam.PictureOptions].
func SetMaxPixels(n int64) { maxPictureRead.Store(max(0, n)) }

// labelsOf takes a picture's values for instance numbers: grey of 8 or 16
// bits, palette indices, or colours with three equal channels.
func labelsOf(img image.Image) (eval.Labels, error) {
	b := img.Bounds()
	l := eval.NewLabels(sam.Size{H: b.Dy(), W: b.Dx()})
	for y := range l.H {
		for x := range l.W {
			v, ok := labelAt(img, b.Min.X+x, b.Min.Y+y)
			if !ok {
				return eval.Labels{}, fmt.Errorf("%w: colour %v at x %d, y %d is no instance number", ErrFormat, img.At(b.Min.X+x, b.Min.Y+y), x, y)
			}
			l.Pix[y*l.W+x] = v
		}
	}
	return l, nil
}

func labelAt(img image.Image, x, y int) (int32, bool) {
	switch m := img.(type) {
	case *image.Gray:
		return int32(m.GrayAt(x, y).Y), true
	case *image.Gray16:
		return int32(m.Gray16At(x, y).Y), true
	case *image.Paletted:
		return int32(m.ColorIndexAt(x, y)), true
	}
	switch c := img.At(x, y).(type) {
	case color.NRGBA:
		return int32(c.R), c.R == c.G && c.G == c.B
	case color.RGBA:
		return int32(c.R), c.R == c.G && c.G == c.B
	case color.NRGBA64:
		return int32(c.R), c.R == c.G && c.G == c.B
	case color.RGBA64:
		return int32(c.R), c.R == c.G && c.G == c.B
	}
	return 0, false
}

// maskOf takes the pixels nearer to white than to black, alpha aside: the rule
// for masks that were stored as JPEG and are not exactly 0 and 255. A palette
// counts by its colours, and values of 0 and 1 alone mean just that.
func maskOf(img image.Image) eval.Mask {
	b := img.Bounds()
	m := eval.NewMask(sam.Size{H: b.Dy(), W: b.Dx()})
	grey := make([]uint16, len(m.Pix))
	top, deep := uint16(0), false
	for y := range m.H {
		for x := range m.W {
			c := img.At(b.Min.X+x, b.Min.Y+y)
			if n, ok := c.(color.NRGBA); ok {
				n.A = 255
				c = n
			}
			v := color.Gray16Model.Convert(c).(color.Gray16).Y
			grey[y*m.W+x] = v
			top = max(top, v)
		}
	}
	_, deep = img.(*image.Gray16)
	limit := uint16(0x8000)
	if top == 0x0101 || deep && top == 1 { // 1 of 8 or 16 bits
		limit = top
	}
	for i, v := range grey {
		m.Pix[i] = v >= limit
	}
	return m
}
