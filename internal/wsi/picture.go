package wsi

import (
	"fmt"
	"image"
	"image/draw"
	"io"
	"os"

	"github.com/slidesam/sam/internal/jpegtile"
	"github.com/slidesam/sam/internal/tiff"
)

// maxPicture is the most pixels a PNG or JPEG may have unless the options say
// otherwise: such files are decoded whole.
const maxPicture = 1 << 26

// openPicture opens a picture as a slide of one level, one tile.
func (s *Slide) openPicture(path, format string, config func(io.Reader) (image.Config, error), decode func(io.Reader) (image.Image, error)) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	c, err := config(f)
	if err != nil {
		return err
	}
	limit := int64(maxPicture)
	if s.opt.MaxPixels > 0 {
		limit = s.opt.MaxPixels
	}
	if c.Width <= 0 || c.Height <= 0 || int64(c.Width) > limit/int64(c.Height) {
		return fmt.Errorf("picture of %d x %d, over the limit of %d pixels: save it as a tiled TIFF, or raise MaxPixels", c.Width, c.Height, limit)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	pic, err := decode(f)
	if err != nil {
		return err
	}
	s.meta.Format = format
	s.addLevel(newPictureRaster(pic), pic.Bounds().Dx(), pic.Bounds().Dy())
	return nil
}

// FromImage returns a slide of one level with the given pixel size, 0 if it
// is unknown. An *image.RGBA is used as it is and must not change.
func FromImage(pic image.Image, mppX, mppY float64) *Slide {
	s := &Slide{cache: newTileCache(0), meta: Meta{Format: "picture"}}
	s.addLevel(newPictureRaster(pic), pic.Bounds().Dx(), pic.Bounds().Dy())
	s.setMPP(mppX, mppY)
	return s
}

// pictureRaster is a picture in memory as one tile.
type pictureRaster struct {
	pix  *image.RGBA
	deep bool // it was of 16 bits
}

func newPictureRaster(pic image.Image) pictureRaster {
	b := pic.Bounds()
	if p, ok := pic.(*image.RGBA); ok && b.Min == (image.Point{}) && p.Stride == 4*b.Dx() {
		return pictureRaster{pix: p}
	}
	p := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(p, p.Rect, pic, b.Min, draw.Src)
	deep := false
	switch pic.(type) {
	case *image.Gray16, *image.NRGBA64, *image.RGBA64:
		deep = true
	}
	return pictureRaster{p, deep}
}

func (r pictureRaster) grid() (cols, rows, tileW, tileH int) {
	return 1, 1, r.pix.Rect.Dx(), r.pix.Rect.Dy()
}

func (r pictureRaster) tile(int, int) (*tiff.Segment, error) {
	return &tiff.Segment{W: r.pix.Rect.Dx(), H: r.pix.Rect.Dy(), Pix: r.pix.Pix}, nil
}

// decodeJPEG decodes a JPEG picture, chroma interpolated as libjpeg does.
func decodeJPEG(r io.Reader) (image.Image, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read JPEG: %w", err)
	}
	pix, w, h, err := (*jpegtile.Tables)(nil).Decode(b, jpegtile.Auto)
	if err != nil {
		return nil, err
	}
	return &image.RGBA{Pix: pix, Stride: 4 * w, Rect: image.Rect(0, 0, w, h)}, nil
}
