package synth

import "math"

// nucleus is one nucleus as it is drawn. Lengths in µm.
type nucleus struct {
	id       uint64
	x, y     float64
	a, b     float64 // semi-axes
	phi      float64
	amp, ph  [3]float64 // harmonics 3..5 of the outline
	bend     float64    // banana
	kind     Kind
	dark     float64 // haematoxylin
	pale     float64 // 0: smooth and dark .. 1: vesicular, pale with a rim
	grain    float64 // chromatin texture
	nucleoli int
	soft     float64 // width of the edge, from focus
	prio     float64
}

// radius returns the ellipse's radius in direction (c, d), a unit vector.
func (n *nucleus) radius(c, d float64) float64 {
	cp, sp := math.Cos(n.phi), math.Sin(n.phi)
	c, d = c*cp+d*sp, d*cp-c*sp
	return n.a * n.b / math.Hypot(n.b*c, n.a*d)
}

func (n *nucleus) reach() float64 { return 1.35*math.Max(n.a, n.b) + 2 }

// reach bounds: no nucleus reaches further than maxNucleus from its centre,
// and no two whose centres are pairReach apart can overlap.
const (
	maxNucleus = 20.0
	pairReach  = 27.0
)

// grow gives a nucleus its form and chromatin.
func (s *Slide) grow(r *rng, k Kind, x, y, dir float64) nucleus {
	st := &s.st
	n := nucleus{id: r.key | 1, x: x, y: y, kind: k, phi: dir, prio: r.f()}
	n.dark, n.pale, n.grain = st.contrast*r.gauss(1, 0.16), 0, r.in(0.25, 0.65)
	wild := 0.035
	size := st.size * math.Exp(r.gauss(0, 0.1))
	switch k {
	case Stromal:
		n.a, n.b = r.in(3.4, 8.2), r.in(1.25, 2.5)
		n.phi += r.gauss(0, 0.3)
		n.bend = r.gauss(0, 0.16) / n.a
		n.pale = 0.5 * st.vesicular * r.f()
		n.dark *= r.in(0.7, 1.1)
		wild = 0.05
	case Endothelial:
		n.a, n.b = r.in(3, 6), r.in(1.1, 1.9)
		n.bend = r.gauss(0, 0.16) / n.a
	case Lymphocyte:
		n.a = r.in(2.5, 3.3)
		n.b = n.a * r.in(0.82, 1)
		n.phi = r.in(0, math.Pi)
		n.dark *= 1.15
		n.grain = r.in(0.3, 0.7)
	case Epithelial:
		n.a = r.in(3.2, 4.8)
		n.b = n.a * r.in(0.55, 0.85)
		n.phi += r.gauss(0, 0.2)
		n.pale = clamp01(st.vesicular * r.in(0.4, 1.3))
		n.nucleoli = int(r.in(0, 1.8) * n.pale * 1.5)
		wild = 0.05
	case Tumour:
		n.a = r.in(3.6, 5.4) * (1 + 0.35*st.atypia*r.f())
		n.b = n.a * r.in(0.58, 0.95)
		n.phi += r.in(-1.2, 1.2)
		n.pale = clamp01(st.vesicular * r.in(0.5, 1.5))
		n.dark *= 1 + 0.3*st.atypia*r.in(-1, 1)
		n.nucleoli = int(r.in(0, 2.9) * (0.3 + 0.7*n.pale))
		wild = 0.04 + 0.035*st.atypia
	case Stray:
		n.a = r.in(2.8, 4.6)
		n.b = n.a * r.in(0.55, 0.95)
		n.phi = r.in(0, math.Pi)
		n.pale = clamp01(st.vesicular * r.in(0.2, 1.4))
		wild = 0.06
	}
	n.a, n.b = math.Min(n.a*size, 12.5), math.Min(n.b*size, 12.5)
	n.dark *= 1 - 0.35*n.pale
	for i := range n.amp {
		n.amp[i], n.ph[i] = r.gauss(0, wild)/(1+0.4*float64(i)), r.in(0, 2*math.Pi)
	}
	n.soft = 0.12
	if r.f() < 0.12 { // above or below the plane of focus
		n.soft = r.in(0.3, 0.8)
		n.dark *= r.in(0.55, 0.85)
	}
	return n
}

// nuclei returns every nucleus that reaches into the box [µm].
func (s *Slide) nuclei(x0, y0, x1, y1 float64, glands, vessels []ring) []nucleus {
	x0, y0, x1, y1 = x0-maxNucleus, y0-maxNucleus, x1+maxNucleus, y1+maxNucleus
	hx0, hy0, hx1, hy1 := x0-pairReach, y0-pairReach, x1+pairReach, y1+pairReach
	var all []nucleus
	gi, vi := newRingIndex(glands), newRingIndex(vessels)
	lattice := func(tag uint64, cell, jitter float64, f func(r *rng, x, y float64)) {
		for j := int(math.Floor(hy0 / cell)); float64(j)*cell < hy1; j++ {
			for i := int(math.Floor(hx0 / cell)); float64(i)*cell < hx1; i++ {
				r := cellRNG(s.seed, tag, i, j)
				x, y := float64(i)+0.5*float64(j&1)+r.in(-jitter, jitter), float64(j)+r.in(-jitter, jitter)
				x, y = x*cell, y*cell
				// A margin keeps every choice inside the box the rings were asked for.
				if x < hx0 || y < hy0 || x >= hx1 || y >= hy1 || s.tissue(x, y, 0.25) < 0.006 {
					continue
				}
				f(&r, x, y)
			}
		}
	}
	free := func(x, y float64) bool { return gi.at(x, y) == nil && vi.at(x, y) == nil }
	lattice(tagStroma, 8.6, 0.42, func(r *rng, x, y float64) {
		u := r.f()
		z := s.zones(x, y, 0.25)
		p := 0.85 * z.dense
		if z.fat > 0 {
			p = 0
			if d1, d2, _ := worley(s.noiseSeed(27), x/fatCell, y/fatCell); d2-d1 < 0.06 {
				p = 0.3
			}
		}
		if z.nest > 0 {
			p = 0.02
		}
		if u < p && free(x, y) {
			all = append(all, s.grow(r, Stromal, x, y, s.along(x, y)))
		}
	})
	lattice(tagStray, 10.5, 0.45, func(r *rng, x, y float64) {
		u := r.f()
		z := s.zones(x, y, 0.25)
		if z.fat < 0 && z.nest < 0 && u < 0.5*z.dense && free(x, y) {
			all = append(all, s.grow(r, Stray, x, y, 0))
		}
	})
	lattice(tagLymph, 6.4*s.st.size, 0.3, func(r *rng, x, y float64) {
		u := r.f()
		z := s.zones(x, y, 0.25)
		p := z.lymph
		switch {
		case z.fat > 0:
			p = 0
		case z.nest > 0:
			p *= 0.15
		}
		if u < p && free(x, y) {
			all = append(all, s.grow(r, Lymphocyte, x, y, 0))
		}
	})
	lattice(tagTumour, 8.4*s.st.size*(1+0.22*s.st.atypia), 0.34, func(r *rng, x, y float64) {
		u := r.f()
		if z := s.zones(x, y, 0.25); z.nest > 0 && u < 0.93 && free(x, y) {
			all = append(all, s.grow(r, Tumour, x, y, s.along(x, y)))
		}
	})
	for i := range glands {
		all = s.ringNuclei(all, &glands[i], Epithelial, hx0, hy0, hx1, hy1)
	}
	for i := range vessels {
		all = s.ringNuclei(all, &vessels[i], Endothelial, hx0, hy0, hx1, hy1)
	}
	return thin(all, x0, y0, x1, y1)
}

// ringNuclei lines a gland's or vessel's wall with nuclei.
func (s *Slide) ringNuclei(all []nucleus, g *ring, k Kind, x0, y0, x1, y1 float64) []nucleus {
	if far := g.reach(); g.x+far < x0 || g.x-far > x1 || g.y+far < y0 || g.y-far > y1 {
		return all
	}
	gap := 6.2 * s.st.size
	if k == Endothelial {
		gap = 13
	} else if g.tumour {
		k, gap = Tumour, 7.6*s.st.size
	}
	for row := range g.rows {
		n := int(2 * math.Pi * g.r / gap)
		for i := range n {
			r := cellRNG(g.id, tagInGland, i, row)
			if r.f() < 0.06 {
				continue
			}
			t := 2 * math.Pi * (float64(i) + 0.5*float64(row) + r.in(-0.3, 0.3)) / float64(n)
			c, d := math.Cos(t), math.Sin(t)
			depth := math.Min(g.thick*0.9, r.gauss(4.6, 0.9)*s.st.size+float64(row)*7)
			if k == Endothelial {
				depth = g.thick * r.in(0.5, 1)
			}
			rad := g.outer(c, d) - depth
			if rad < 2 {
				continue
			}
			x, y := g.x+c*rad, g.y+d*rad
			if x < x0 || y < y0 || x >= x1 || y >= y1 || s.tissue(x, y, 0.25) < 0.006 {
				continue
			}
			// Long axis across the wall in a gland, along it in a vessel.
			const e = 0.05
			c2, d2 := math.Cos(t+e), math.Sin(t+e)
			r2 := g.outer(c2, d2) - depth
			dir := math.Atan2(d2*r2-d*rad, c2*r2-c*rad)
			if k != Endothelial {
				dir += math.Pi / 2
			}
			all = append(all, s.grow(&r, k, x, y, dir))
		}
	}
	return all
}

// thin drops each nucleus that overlaps a neighbour of higher priority by too
// much, and returns those whose centre lies in the box. Being dropped depends
// on the neighbours alone, not on what happened to them, so the answer is the
// same in whatever region it is asked.
func thin(all []nucleus, x0, y0, x1, y1 float64) []nucleus {
	type cell struct{ i, j int32 }
	grid := make(map[cell][]int32)
	at := func(n *nucleus) cell {
		return cell{int32(math.Floor(n.x / pairReach)), int32(math.Floor(n.y / pairReach))}
	}
	for i := range all {
		c := at(&all[i])
		grid[c] = append(grid[c], int32(i))
	}
	var out []nucleus
next:
	for i := range all {
		n := &all[i]
		if n.x < x0 || n.y < y0 || n.x >= x1 || n.y >= y1 {
			continue
		}
		c := at(n)
		for dj := int32(-1); dj <= 1; dj++ {
			for di := int32(-1); di <= 1; di++ {
				for _, k := range grid[cell{c.i + di, c.j + dj}] {
					m := &all[k]
					if m == n || m.prio < n.prio || m.prio == n.prio && m.id <= n.id {
						continue
					}
					dx, dy := m.x-n.x, m.y-n.y
					d := math.Hypot(dx, dy)
					if d > n.a+m.a+n.b+m.b {
						continue
					}
					// Most pairs may just touch, some overlap.
					room := 0.84 + 0.3*float64(mix64(n.id^m.id)>>40)/(1<<24)
					if d < 1 || (n.radius(dx/d, dy/d)+m.radius(dx/d, dy/d))*room > d {
						continue next
					}
				}
			}
		}
		out = append(out, *n)
	}
	return out
}

// ringIndex finds the ring around a point.
type ringIndex map[[2]int32][]*ring

const indexCell = 64.0

func newRingIndex(rs []ring) ringIndex {
	x := ringIndex{}
	for i := range rs {
		g := &rs[i]
		far := g.reach()
		for j := int32(math.Floor((g.y - far) / indexCell)); j <= int32(math.Floor((g.y+far)/indexCell)); j++ {
			for k := int32(math.Floor((g.x - far) / indexCell)); k <= int32(math.Floor((g.x+far)/indexCell)); k++ {
				x[[2]int32{k, j}] = append(x[[2]int32{k, j}], g)
			}
		}
	}
	return x
}

// at returns the ring whose outline, cleft included, holds (x, y), or nil.
func (x ringIndex) at(px, py float64) *ring {
	for _, g := range x[[2]int32{int32(math.Floor(px / indexCell)), int32(math.Floor(py / indexCell))}] {
		dx, dy := px-g.x, py-g.y
		d := math.Hypot(dx, dy)
		if d < 1e-9 || d < g.outer(dx/d, dy/d)+g.halo {
			return g
		}
	}
	return nil
}
