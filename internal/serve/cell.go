package serve

import (
	"context"
	"fmt"
	"image"
	"math"

	"github.com/slidesam/sam"
)

// cell is a square of the slide that is embedded as one picture. Cells lie on
// a grid of half their side at each reduction, so that every point is in the
// middle half of one of them, and panning meets the same cells again.
type cell struct {
	X    int     `json:"x"` // of the corner, pixels of level 0
	Y    int     `json:"y"`
	W    int     `json:"w"`
	H    int     `json:"h"`
	Down float64 `json:"downsample"`

	rect image.Rectangle // in reduced pixels
}

// maxDown bounds how far a slide is reduced.
const maxDown = 1 << 12

// snapDown returns the power of two that is nearest to a view's reduction.
func snapDown(view float64) float64 {
	if !(view > 1) {
		return 1
	}
	return math.Exp2(math.Round(math.Log2(min(view, maxDown))))
}

// cellAt returns the cell at reduction down whose middle is nearest to
// (x, y).
func cellAt(size sam.Size, side int, down, x, y float64) cell {
	at := func(v float64, whole int) (lo, hi int) {
		n := int(math.Ceil(float64(whole) / down)) // pixels of the reduced slide
		step := max(side/2, 1)
		lo = step * int(math.Round((v/down-float64(side)/2)/float64(step)))
		lo = max(0, min(lo, n-side))
		return lo, min(lo+side, n)
	}
	x0, x1 := at(x, size.W)
	y0, y1 := at(y, size.H)
	d := int(down)
	return cell{X: x0 * d, Y: y0 * d, W: (x1 - x0) * d, H: (y1 - y0) * d, Down: down, rect: image.Rect(x0, y0, x1, y1)}
}

// cellFor returns the cell for a box: reduced as the view is, or further until
// the box fits into the middle of a cell with room around it.
func cellFor(size sam.Size, side int, down float64, b sam.Box) cell {
	for down < maxDown && max(b.X1-b.X0, b.Y1-b.Y0) > down*float64(side)/2 {
		down *= 2
	}
	return cellAt(size, side, down, (b.X0+b.X1)/2, (b.Y0+b.Y1)/2)
}

// holds reports whether a point of the slide lies in the cell.
func (c cell) holds(x, y float64) bool {
	return x >= float64(c.X) && y >= float64(c.Y) && x < float64(c.X+c.W) && y < float64(c.Y+c.H)
}

// in returns a point of the slide in the cell's pixels, moved to its edge if
// it lies outside.
func (c cell) in(x, y float64) (float64, float64) {
	return clamp((x-float64(c.X))/c.Down, c.rect.Dx()), clamp((y-float64(c.Y))/c.Down, c.rect.Dy())
}

// frame places the cell's pixels on the slide.
func (c cell) frame() sam.Frame {
	return sam.Frame{OffsetX: float64(c.X), OffsetY: float64(c.Y), Scale: c.Down}
}

// embedCell returns the embedding of a cell.
func (s *Server) embedCell(ctx context.Context, m *sam.Model, o *openSlide, c cell) (*sam.Embedding, error) {
	return s.embed(ctx, m, cellKey(o, c), func(ctx context.Context) (image.Image, error) {
		return o.read(ctx, c.Down, c.rect)
	})
}

func cellKey(o *openSlide, c cell) string {
	return fmt.Sprint("cell ", o.digest, " ", c.Down, " ", c.rect)
}
