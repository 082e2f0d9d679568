package sam

import (
	"context"
	"image"
	"image/color"
	"image/png"
	"io"
	"math"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/draw"
)

// overlaySide is the longer side of the overlay in pixels.
const overlaySide = 2048

// overlay draws outlines on a thumbnail.
type overlay struct {
	pic    *image.RGBA
	fx, fy float64 // thumbnail pixels per level-0 pixel
}

func newOverlay(ctx context.Context, s *Slide) (*overlay, error) {
	pic, err := s.w.Thumbnail(ctx, overlaySide)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(pic.Pix); i += 4 {
		q := pic.Pix[i : i+4 : i+4]
		a := q[3]
		q[0], q[1], q[2], q[3] = q[0]+255-a, q[1]+255-a, q[2]+255-a, 255
	}
	w, h := s.Size()
	return &overlay{pic, float64(pic.Rect.Dx()) / float64(w), float64(pic.Rect.Dy()) / float64(h)}, nil
}

func (o *overlay) add(g orb.Geometry, i int) {
	c := draw.Color(i)
	var polys orb.MultiPolygon
	switch g := g.(type) {
	case orb.Polygon:
		polys = orb.MultiPolygon{g}
	case orb.MultiPolygon:
		polys = g
	}
	for _, poly := range polys {
		for _, ring := range poly {
			for k := 1; k < len(ring); k++ {
				o.line(ring[k-1][0]*o.fx, ring[k-1][1]*o.fy, ring[k][0]*o.fx, ring[k][1]*o.fy, c)
			}
		}
	}
}

func (o *overlay) line(x0, y0, x1, y1 float64, c color.Color) {
	n := int(max(math.Abs(x1-x0), math.Abs(y1-y0))) + 1
	for i := range n + 1 {
		t := float64(i) / float64(n)
		o.pic.Set(int(x0+(x1-x0)*t), int(y0+(y1-y0)*t), c)
	}
}

func (o *overlay) write(w io.Writer) error { return png.Encode(w, o.pic) }
