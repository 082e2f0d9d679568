package train

import (
	"math"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/resample"
)

// Turn is one of the eight ways in which a picture can be turned: mirrored
// from left to right (1) and from top to bottom (2), then along the diagonal
// (4).
type Turn int

// Size is that of a turned picture.
func (t Turn) Size(s mask.Size) mask.Size {
	if t&4 != 0 {
		return mask.Size{H: s.W, W: s.H}
	}
	return s
}

// rect returns where a rectangle of a picture of size s lies when it is turned.
func (t Turn) rect(s mask.Size, x0, y0, x1, y1 float64) (a, b, c, d float64) {
	if t&1 != 0 {
		x0, x1 = float64(s.W)-x1, float64(s.W)-x0
	}
	if t&2 != 0 {
		y0, y1 = float64(s.H)-y1, float64(s.H)-y0
	}
	if t&4 != 0 {
		return y0, x0, y1, x1
	}
	return x0, y0, x1, y1
}

// Picture returns the turned picture.
func (t Turn) Picture(p resample.RGB) resample.RGB {
	if t == 0 {
		return p
	}
	s := mask.Size(p.Size)
	out := resample.RGB{Size: resample.Size(t.Size(s)), Pix: make([]byte, len(p.Pix))}
	kernel.Parallel(s.H, func(y int) {
		for x := range s.W {
			x0, y0, _, _ := t.rect(s, float64(x), float64(y), float64(x+1), float64(y+1))
			copy(out.Pix[3*(int(y0)*out.Size.W+int(x0)):][:3], p.Pix[3*(y*s.W+x):])
		}
	})
	return out
}

// Frame is where the objects of a picture come to lie in the network's
// low-resolution masks.
type Frame struct {
	Turn    Turn
	Picture mask.Size // before it is turned
	Input   mask.Size // turned and resized
	Cell    float64   // pixels of the input that a cell is wide
	Side    int       // cells
}

// Target returns what is to be learned of a mask.
func (f Frame) Target(m *mask.Mask) *Target {
	turned := f.Turn.Size(f.Picture)
	sx, sy := float64(f.Input.W)/float64(turned.W), float64(f.Input.H)/float64(turned.H)
	t := &Target{
		Side: f.Side, Cell: f.Cell, Share: make([]float32, f.Side*f.Side),
		H: min(f.Side, int(math.Ceil(float64(f.Input.H)/f.Cell))), W: min(f.Side, int(math.Ceil(float64(f.Input.W)/f.Cell))),
	}
	b := m.Bounds()
	x0, y0, x1, y1 := f.Turn.rect(f.Picture, float64(b.Min.X), float64(b.Min.Y), float64(b.Max.X), float64(b.Max.Y))
	t.Box = [4]float64{x0 * sx, y0 * sy, x1 * sx, y1 * sy}
	sx, sy = sx/f.Cell, sy/f.Cell // to cells
	t.Window = Around([4]float64{x0 * sx, y0 * sy, x1 * sx, y1 * sy}, windowMargin, t.H, t.W, f.Side*f.Side)
	w, k := &t.Window, float64(t.Window.Factor)
	for r := range m.Runs() {
		x0, y0, x1, y1 := f.Turn.rect(f.Picture, float64(r.X0), float64(r.Y), float64(r.X1), float64(r.Y+1))
		fill(t.Share, f.Side, f.Side, x0*sx, y0*sy, x1*sx, y1*sy)
		if len(w.Share) > 0 {
			left, top := float64(w.X0), float64(w.Y0)
			fill(w.Share, (w.X1-w.X0)*w.Factor, (w.Y1-w.Y0)*w.Factor, (x0*sx-left)*k, (y0*sy-top)*k, (x1*sx-left)*k, (y1*sy-top)*k)
		}
	}
	for _, share := range [][]float32{t.Share, w.Share} {
		for i, v := range share {
			share[i] = min(v, 1) // roundings add up
		}
	}
	return t
}

// windowMargin is how many cells round an object the loss looks at closely.
const windowMargin = 6

// fill adds what a rectangle covers of each cell of a map of w x h cells.
func fill(share []float32, w, h int, x0, y0, x1, y1 float64) {
	for y := int(y0); y < h && float64(y) < y1; y++ {
		high := min(y1, float64(y+1)) - max(y0, float64(y))
		for x := int(x0); x < w && float64(x) < x1; x++ {
			share[y*w+x] += float32(high * (min(x1, float64(x+1)) - max(x0, float64(x))))
		}
	}
}

// Source is the pixel of a picture of size s, not turned, that comes to lie at
// (x, y) when it is turned.
func (t Turn) Source(s mask.Size, x, y int) (int, int) {
	if t&4 != 0 {
		x, y = y, x
	}
	if t&1 != 0 {
		x = s.W - 1 - x
	}
	if t&2 != 0 {
		y = s.H - 1 - y
	}
	return x, y
}
