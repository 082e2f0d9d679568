package eval

import (
	"context"
	"fmt"
	"image"
	"math"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
)

// Item names one picture of a data set without reading it.
type Item struct {
	ID    string // unique in the data set
	Group string // what is resampled together: a patient or slide; "" is the ID
	Task  string // column of the table, such as "PTC"; "" is the data set's name
}

// Picture is one picture with its truth.
type Picture struct {
	Item
	Image image.Image
	Truth Labels        // as large as Image; of a semantic task, its connected parts
	Class map[int32]int // class of each instance, nil if the data set has none
	MPP   float64       // micrometres per pixel, 0 if not known
	Known *sam.Mask     // where all instances are annotated, as large as Image; nil: everywhere, or the data set does not say
}

// Dataset is a list of pictures with truth. Load must be safe for several
// goroutines. Package dataset has those of the field.
type Dataset interface {
	Name() string
	Len() int
	Item(i int) Item
	Load(ctx context.Context, i int) (*Picture, error)
}

// Check returns an error if the picture and its truth do not fit together.
func (p *Picture) Check() error {
	if p.Image == nil {
		return fmt.Errorf("eval: check picture %s: no image", p.ID)
	}
	b := p.Image.Bounds()
	if b.Dx() != p.Truth.W || b.Dy() != p.Truth.H {
		return fmt.Errorf("eval: check picture %s: %w: image [%d, %d], truth [%d, %d]", p.ID, ErrSize, b.Dy(), b.Dx(), p.Truth.H, p.Truth.W)
	}
	if b.Dx() == 0 || b.Dy() == 0 {
		return fmt.Errorf("eval: check picture %s: empty image", p.ID)
	}
	if p.Known != nil && p.Known.Size() != (sam.Size{H: p.Truth.H, W: p.Truth.W}) {
		return fmt.Errorf("eval: check picture %s: %w: what is known is of %v, truth [%d, %d]", p.ID, ErrSize, p.Known.Size(), p.Truth.H, p.Truth.W)
	}
	if err := p.Truth.Check(); err != nil {
		return fmt.Errorf("eval: check picture %s: %w", p.ID, err)
	}
	if !(p.MPP >= 0) || math.IsInf(p.MPP, 0) {
		return fmt.Errorf("eval: check picture %s: %g micrometres per pixel", p.ID, p.MPP)
	}
	return nil
}

// Rescale returns the picture at mpp micrometres per pixel: the image resized
// as Pillow's bilinear filter does (with antialiasing), the truth by its
// nearest pixel. Instances that fall between the pixels disappear, and sides
// are rounded to at least one pixel. It returns p itself if nothing changes,
// and an error if p's own scale is not known or a side would pass 65,536.
func (p *Picture) Rescale(mpp float64) (*Picture, error) {
	if err := p.Check(); err != nil {
		return nil, err
	}
	if !(mpp > 0) || math.IsInf(mpp, 0) {
		return nil, fmt.Errorf("eval: rescale %s: to %g micrometres per pixel", p.ID, mpp)
	}
	if p.MPP == 0 {
		return nil, fmt.Errorf("eval: rescale %s: the picture's micrometres per pixel are not known", p.ID)
	}
	side := func(n int) float64 { return max(1, math.Round(float64(n)*p.MPP/mpp)) }
	fh, fw := side(p.Truth.H), side(p.Truth.W)
	if fh > 65536 || fw > 65536 {
		return nil, fmt.Errorf("eval: rescale %s: from %g to %g micrometres per pixel gives [%g, %g] pixels", p.ID, p.MPP, mpp, fh, fw)
	}
	h, w := int(fh), int(fw)
	if h == p.Truth.H && w == p.Truth.W {
		return p, nil
	}
	src, err := picture.New(p.Image)
	if err != nil {
		return nil, fmt.Errorf("eval: rescale %s: %w", p.ID, err)
	}
	rgb, err := resample.Bilinear(nil, src, resample.Size{H: h, W: w})
	if err != nil {
		return nil, fmt.Errorf("eval: rescale %s: %w", p.ID, err)
	}
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for i := range h * w {
		img.Pix[4*i], img.Pix[4*i+1], img.Pix[4*i+2], img.Pix[4*i+3] = rgb[3*i], rgb[3*i+1], rgb[3*i+2], 255
	}
	out := *p
	out.Image, out.MPP, out.Truth = img, mpp, NewLabels(sam.Size{H: h, W: w})
	for y := range h {
		sy := (2*y + 1) * p.Truth.H / (2 * h)
		for x := range w {
			out.Truth.Pix[y*w+x] = p.Truth.Pix[sy*p.Truth.W+(2*x+1)*p.Truth.W/(2*w)]
		}
	}
	if p.Known != nil {
		out.Known, err = sam.NewMask(sam.Size{H: h, W: w}, func(x, y int) bool {
			return p.Known.At((2*x+1)*p.Truth.W/(2*w), (2*y+1)*p.Truth.H/(2*h))
		})
	}
	return &out, err
}

// MagnificationMPP returns the micrometres per pixel of a magnification as
// pathology scanners name them: 10 over the magnification, 0.25 at 40x.
func MagnificationMPP(magnification float64) float64 { return 10 / magnification }
