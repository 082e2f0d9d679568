package wholeslide

import (
	"context"
	"image/color"
	"image/png"
	"io"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/draw"
	"github.com/slidesam/sam/internal/wsi"
)

// overlaySide is the longer side of the overlay in pixels.
const overlaySide = 2048

// overlay draws outlines on the slide reduced, one colour for each scale.
type overlay struct {
	pic    *draw.Canvas
	fx, fy float64 // its pixels per level-0 pixel
}

func newOverlay(ctx context.Context, s *wsi.Slide, p *Plan) (*overlay, error) {
	pic, err := s.Thumbnail(ctx, overlaySide)
	if err != nil {
		return nil, err
	}
	wsi.OnWhite(pic)
	c, err := draw.New(pic)
	if err != nil {
		return nil, err
	}
	l := s.Levels()[0]
	o := &overlay{c, float64(pic.Rect.Dx()) / float64(l.W), float64(pic.Rect.Dy()) / float64(l.H)}
	if q := p.scales[0]; q.area.Dx() < q.size.W || q.area.Dy() < q.size.H {
		// What lies outside was not searched.
		x0, y0, x1, y1 := q.level0(q.area)
		c.Box(x0*o.fx, y0*o.fy, x1*o.fx, y1*o.fy, color.NRGBA{255, 255, 255, 255}, 2)
	}
	return o, nil
}

// add draws the outlines of an object in the k-th colour.
func (o *overlay) add(g orb.Geometry, k int) {
	var polys orb.MultiPolygon
	switch g := g.(type) {
	case orb.Polygon:
		polys = orb.MultiPolygon{g}
	case orb.MultiPolygon:
		polys = g
	}
	for _, poly := range polys {
		for _, ring := range poly {
			line := make(orb.Ring, len(ring))
			for i, p := range ring {
				line[i] = orb.Point{p[0] * o.fx, p[1] * o.fy}
			}
			draw.Ring(o.pic, line, draw.Color(k))
		}
	}
}

func (o *overlay) write(w io.Writer) error { return png.Encode(w, o.pic.Image()) }
