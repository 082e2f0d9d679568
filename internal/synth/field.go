package synth

// field holds the slow fields of a canvas on a coarse lattice that is aligned
// to the slide, so that interpolating them gives the same values in any region.
type field struct {
	step   int // lattice step in pixels
	i0, j0 int // first lattice column and row
	w, h   int
	nodes  []node
}

// node is what a place is like: the slow fields in front of all texture.
type node struct {
	tissue, u, v float64
	zones
}

// fieldStep is the lattice step [µm]: fine against the fields' wavelengths.
const fieldStep = 3.0

func (s *Slide) newField(c *canvas) *field {
	f := &field{step: max(1, int(fieldStep/c.mpp))}
	f.i0, f.j0 = floorDiv(c.x0, f.step), floorDiv(c.y0, f.step)
	f.w, f.h = floorDiv(c.x0+c.w, f.step)-f.i0+2, floorDiv(c.y0+c.h, f.step)-f.j0+2
	f.nodes = make([]node, f.w*f.h)
	parallel(f.h, func(j int) {
		y := float64((f.j0+j)*f.step) * c.mpp
		for i := range f.w {
			x := float64((f.i0+i)*f.step) * c.mpp
			n := node{tissue: s.tissue(x, y, c.mpp)}
			if n.tissue > -0.2 {
				n.zones = s.rawZones(x, y, c.mpp)
				n.u, n.v = s.fibre(x, y)
			}
			f.nodes[j*f.w+i] = n
		}
	})
	return f
}

// floorDiv returns a/b rounded down; b > 0.
func floorDiv(a, b int) int {
	if q := a / b; q*b <= a {
		return q
	}
	return a/b - 1
}

// at interpolates the fields at the middle of the slide's pixel (px, py).
func (f *field) at(px, py int) node {
	i, j := floorDiv(px, f.step), floorDiv(py, f.step)
	tx := (float64(px-i*f.step) + 0.5) / float64(f.step)
	ty := (float64(py-j*f.step) + 0.5) / float64(f.step)
	i, j = i-f.i0, j-f.j0
	row := f.nodes[j*f.w+i:]
	a, b, c, d := &row[0], &row[1], &row[f.w], &row[f.w+1]
	wa, wb, wc, wd := (1-tx)*(1-ty), tx*(1-ty), (1-tx)*ty, tx*ty
	n := node{
		tissue: a.tissue*wa + b.tissue*wb + c.tissue*wc + d.tissue*wd,
		u:      a.u*wa + b.u*wb + c.u*wc + d.u*wd,
		v:      a.v*wa + b.v*wb + c.v*wc + d.v*wd,
	}
	n.tumour = a.tumour*wa + b.tumour*wb + c.tumour*wc + d.tumour*wd
	n.nest = a.nest*wa + b.nest*wb + c.nest*wc + d.nest*wd
	n.fat = a.fat*wa + b.fat*wb + c.fat*wc + d.fat*wd
	n.lymph = a.lymph*wa + b.lymph*wb + c.lymph*wc + d.lymph*wd
	n.dense = a.dense*wa + b.dense*wb + c.dense*wc + d.dense*wd
	n.settle()
	return n
}
