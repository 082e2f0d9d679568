package sam

import (
	"math"

	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/resample"
	"github.com/slidesam/sam/internal/train"
)

// turn is one of the eight ways in which a picture can be turned: mirrored
// from left to right (1) and from top to bottom (2), then along the diagonal
// (4).
type turn int

// size is that of a turned picture.
func (t turn) size(s Size) Size {
	if t&4 != 0 {
		return Size{H: s.W, W: s.H}
	}
	return s
}

// rect returns where a rectangle of a picture of size s lies when it is turned.
func (t turn) rect(s Size, x0, y0, x1, y1 float64) (a, b, c, d float64) {
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

// picture returns the turned picture.
func (t turn) picture(p resample.RGB) resample.RGB {
	if t == 0 {
		return p
	}
	s := Size(p.Size)
	out := resample.RGB{Size: resample.Size(t.size(s)), Pix: make([]byte, len(p.Pix))}
	kernel.Parallel(s.H, func(y int) {
		for x := range s.W {
			x0, y0, _, _ := t.rect(s, float64(x), float64(y), float64(x+1), float64(y+1))
			copy(out.Pix[3*(int(y0)*out.Size.W+int(x0)):][:3], p.Pix[3*(y*s.W+x):])
		}
	})
	return out
}

// targetFrame is where the objects of a picture come to lie in the network's
// low-resolution masks.
type targetFrame struct {
	turn    turn
	picture Size    // before it is turned
	input   Size    // turned and resized
	cell    float64 // pixels of the input that a cell is wide
	side    int     // cells
}

// target returns what is to be learned of a mask.
func (f targetFrame) target(m *Mask) *train.Target {
	turned := f.turn.size(f.picture)
	sx, sy := float64(f.input.W)/float64(turned.W), float64(f.input.H)/float64(turned.H)
	t := &train.Target{
		Side: f.side, Cell: f.cell, Share: make([]float32, f.side*f.side),
		H: min(f.side, int(math.Ceil(float64(f.input.H)/f.cell))), W: min(f.side, int(math.Ceil(float64(f.input.W)/f.cell))),
	}
	b := m.Bounds()
	x0, y0, x1, y1 := f.turn.rect(f.picture, float64(b.Min.X), float64(b.Min.Y), float64(b.Max.X), float64(b.Max.Y))
	t.Box = [4]float64{x0 * sx, y0 * sy, x1 * sx, y1 * sy}
	sx, sy = sx/f.cell, sy/f.cell // to cells
	t.Window = train.Around([4]float64{x0 * sx, y0 * sy, x1 * sx, y1 * sy}, windowMargin, t.H, t.W, f.side*f.side)
	w, k := &t.Window, float64(t.Window.Factor)
	for r := range m.Runs() {
		x0, y0, x1, y1 := f.turn.rect(f.picture, float64(r.X0), float64(r.Y), float64(r.X1), float64(r.Y+1))
		fill(t.Share, f.side, f.side, x0*sx, y0*sy, x1*sx, y1*sy)
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
