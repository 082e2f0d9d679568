package jpeg2000

import (
	"fmt"
	"math"
	"slices"
)

// planes writes the tile to the planes of the picture.
func (t *tile) planes(dst []Plane) error {
	if t.p.mct {
		t.transform()
	}
	for c := range t.comps {
		tc, p := &t.comps[c], &dst[c]
		r := uint(t.d.reduce)
		x0, y0 := ceilShift(tc.x0, r), ceilShift(tc.y0, r)
		px, py, _, _ := t.d.area(c)
		low, high, shift := int64(0), int64(1)<<p.Bits-1, int64(1)<<(p.Bits-1)
		if p.Signed {
			low, high, shift = -shift, shift-1, 0
		}
		for y := range tc.out.h {
			src := tc.out.row(y)
			out := p.Pix[(y0+y-py)*p.W+x0-px:][:tc.out.w]
			for x, v := range src {
				if !tc.coding.reversible {
					v = round(math.Float32frombits(uint32(v)))
				}
				out[x] = int32(min(max(int64(v)+shift, low), high))
			}
		}
	}
	return nil
}

// transform undoes the colour transform in place (T.800, annex G).
func (t *tile) transform() {
	a, b, c := t.comps[0].out.pix, t.comps[1].out.pix, t.comps[2].out.pix
	if t.comps[0].coding.reversible {
		for i := range a {
			g := a[i] - (b[i]+c[i])>>2
			a[i], b[i], c[i] = c[i]+g, g, b[i]+g
		}
		return
	}
	fa, fb, fc := floats(a), floats(b), floats(c)
	for i, y := range fa {
		cb, cr := fb[i], fc[i]
		fa[i] = y + float32(cr*crToR)
		fb[i] = y + float32(cb*cbToG) + float32(cr*crToG)
		fc[i] = y + float32(cb*cbToB)
	}
}

// rgba writes the tile to RGBA pixels [h, w, 4] of the picture.
func (t *tile) rgba(dst []byte) error {
	d, r := t.d, uint(t.d.reduce)
	x0, y0, x1, y1 := ceilShift(t.x0, r), ceilShift(t.y0, r), ceilShift(t.x1, r), ceilShift(t.y1, r)
	px, py := ceilShift(d.x0, r), ceilShift(d.y0, r)
	three := [3]int{0, 1, 2}
	if len(t.comps) < 3 {
		three = [3]int{}
	}
	whole := 0
	for _, c := range three {
		if o := &t.comps[c].out; o.w == 0 || o.h == 0 {
			return fmt.Errorf("component %d is so coarse that it has no sample: %w", c, ErrUnsupported)
		}
		if t.comps[c].coding.reversible {
			whole++
		}
	}
	var wide [3][]int32
	for y := y0; y < y1; y++ {
		out := dst[4*((y-py)*d.w+x0-px):][:4*(x1-x0)]
		var rows [3][]int32
		for i, c := range three {
			rows[i] = t.spreadRow(c, y, x0, x1, &wide[i])
			if whole != 0 && !t.comps[c].coding.reversible { // some are, some are not
				rows[i] = slices.Clone(rows[i])
				for x, v := range rows[i] {
					rows[i][x] = round(math.Float32frombits(uint32(v)))
				}
			}
		}
		switch {
		case t.p.mct && whole == 3:
			impl.rgbaRCT(out, rows[0], rows[1], rows[2])
		case t.p.mct:
			impl.rgbaICT(out, floats(rows[0]), floats(rows[1]), floats(rows[2]))
		case whole != 0:
			impl.rgbaInt(out, rows[0], rows[1], rows[2])
		default:
			impl.rgbaFloat(out, floats(rows[0]), floats(rows[1]), floats(rows[2]))
		}
	}
	return nil
}

// spreadRow returns row y of component c from column x0 to x1, both of the
// picture's reduced grid. A coarser component is repeated, in room.
func (t *tile) spreadRow(c, y, x0, x1 int, room *[]int32) []int32 {
	tc, k, r := &t.comps[c], t.d.comps[c], uint(t.d.reduce)
	cx, cy := ceilShift(tc.x0, r), ceilShift(tc.y0, r)
	src := tc.out.row(min(max(y/k.DY-cy, 0), tc.out.h-1))
	if k.DX == 1 {
		return src
	}
	if *room == nil {
		*room = make([]int32, x1-x0)
	}
	for x := x0; x < x1; x++ {
		(*room)[x-x0] = src[min(max(x/k.DX-cx, 0), tc.out.w-1)]
	}
	return *room
}
