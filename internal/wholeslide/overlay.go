package wholeslide

import (
	"context"
	"image"
	"image/png"
	"io"
	"math"

	"github.com/paulmach/orb"

	"github.com/slidesam/sam/internal/draw"
	"github.com/slidesam/sam/internal/wsi"
)

// overlaySide is the longer side of the overlay in pixels.
const overlaySide = 2048

// overlay draws outlines on what was searched of the slide, reduced, one colour
// for each scale.
type overlay struct {
	pic    *draw.Canvas
	fx, fy float64 // its pixels per level-0 pixel
	x, y   float64 // of the slide reduced so, where it begins
}

func newOverlay(ctx context.Context, s *wsi.Slide, p *Plan) (*overlay, error) {
	o := &overlay{}
	pic, err := o.read(ctx, s, p.scales[0])
	if err != nil {
		return nil, err
	}
	wsi.OnWhite(pic)
	o.pic, err = draw.New(pic)
	return o, err
}

// read returns the picture, and sets where its pixels lie.
func (o *overlay) read(ctx context.Context, s *wsi.Slide, p *scalePlan) (*image.RGBA, error) {
	if p.area.Dx() == p.size.W && p.area.Dy() == p.size.H {
		pic, err := s.Thumbnail(ctx, overlaySide)
		if err == nil {
			l := s.Levels()[0]
			o.fx, o.fy = float64(pic.Rect.Dx())/float64(l.W), float64(pic.Rect.Dy())/float64(l.H)
		}
		return pic, err
	}
	x0, y0, x1, y1 := p.level0(p.area)
	r := image.Rect(int(x0), int(y0), int(math.Ceil(x1-1e-6)), int(math.Ceil(y1-1e-6)))
	pic, at, f, err := s.ThumbnailOf(ctx, r, overlaySide)
	if err == nil {
		o.fx, o.fy, o.x, o.y = 1/f, 1/f, float64(at.X), float64(at.Y)
	}
	return pic, err
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
				line[i] = orb.Point{float64(p[0]*o.fx) - o.x, float64(p[1]*o.fy) - o.y}
			}
			draw.Ring(o.pic, line, draw.Color(k))
		}
	}
}

func (o *overlay) write(w io.Writer) error { return png.Encode(w, o.pic.Image()) }
