package cpu

import (
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// head is the path from a map to masks.
type head struct {
	masks, floor *value // floor is nil without one
	up1, up2     *value
	norm         *value
}

// head returns the path that begins with the transposed convolution up1, or
// nil.
func (d *decoder) head(up1 *value) *head {
	h := &head{up1: up1}
	var at *value
	next := func(v *value) bool {
		if !d.inner(v) {
			return false
		}
		at = d.readers[v][0]
		return at.in[0] == v
	}
	if !up1.in[1].fixed() || !up1.in[2].fixed() || !next(up1) {
		return nil
	}
	if h.norm = at; !h.norm.in[0].is("upscale2x2") || !h.norm.is("layer_norm") || !h.norm.in[1].fixed() || !h.norm.in[2].fixed() {
		return nil
	}
	if !next(h.norm) || !at.is("gelu") || !next(at) || !at.is("upscale2x2") {
		return nil
	}
	if h.up2 = at; !h.up2.in[1].fixed() || !h.up2.in[2].fixed() || !next(at) || !at.is("gelu") || !next(at) || !at.is("masks") {
		return nil
	}
	h.masks = at
	if d.inner(at) && d.readers[at][0].is("floor") && d.readers[at][0].in[0] == at {
		h.floor = d.readers[at][0]
	}
	return h
}

func (v *value) is(name string) bool { return v.op != nil && v.op.Name() == name }

// maskHead makes one step of the path from a map in panels, up1's, to masks.
func (d *decoder) maskHead(up1 *value) {
	u, ok := up1.op.(op.Upscale2x2)
	if !ok || d.panels[up1.in[0]] == nil {
		return
	}
	h := d.head(up1)
	if h == nil {
		return
	}
	w1, b1, w2, b2 := up1.in[1], up1.in[2], h.up2.in[1], h.up2.in[2]
	c, n1, n2, lanes := w1.shape[0], w1.shape[1], w2.shape[1], kernel.PanelLanes()
	step := maskHead{Batch: u.Batch, H: u.H, W: u.W, Up1: n1, Up2: n2, Masks: len(h.masks.in) - 1, Eps: h.norm.op.(op.LayerNorm).Eps}
	in := []*value{
		d.panels[up1.in[0]], tiledQuarters(w1, c, n1), fourTimes(b1, n1, lanes), h.norm.in[1], h.norm.in[2],
		tiledQuarters(w2, n1, n2), fourTimes(b2, n2, lanes),
	}
	in = append(in, h.masks.in[1:]...)
	at := h.masks
	if h.floor != nil {
		at = h.floor
		step.Which = at.op.(op.Floor).Which
		in = append(in, at.in[1:]...)
	}
	at.op, at.in = step, in
}
