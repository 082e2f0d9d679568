package synth

import "math"

const (
	glandCell  = 150.0 // lattice step [µm]
	vesselCell = 240.0
)

// ring is a gland or a vessel: a star-shaped outline around an inner hole.
type ring struct {
	id        uint64
	x, y      float64 // centre [µm]
	r         float64 // mean radius [µm]
	flat, phi float64 // squeeze and its direction
	amp, ph   [4]float64
	thick     float64 // wall [µm]
	prio      float64
	tumour    bool
	content   float64 // what fills the hole: 0 clear .. 1 dense
	rows      int     // layers of nuclei
	halo      float64 // clear cleft around it [µm]
}

// outer returns the radius of the outline in direction (c, d), a unit vector.
func (g *ring) outer(c, d float64) float64 {
	cp, sp := math.Cos(g.phi), math.Sin(g.phi)
	c, d = (c*cp+d*sp)*g.flat, d*cp-c*sp
	n := math.Hypot(c, d)
	c, d = c/n, d/n
	f := 1.0
	ck, dk := c, d
	for k := range g.amp { // harmonics 2..5
		ck, dk = ck*c-dk*d, ck*d+dk*c
		f += g.amp[k] * (ck*math.Cos(g.ph[k]) - dk*math.Sin(g.ph[k]))
	}
	return g.r * f / n
}

// reach returns a radius that holds the whole ring.
func (g *ring) reach() float64 {
	sum := 1.0
	for _, a := range g.amp {
		sum += math.Abs(a)
	}
	return g.r*sum/math.Min(1, g.flat) + g.halo + 4
}

func (s *Slide) glandAt(i, j int) (ring, bool) {
	r := cellRNG(s.seed, tagGland, i, j)
	g := ring{id: r.key, x: (float64(i) + r.in(0.2, 0.8)) * glandCell, y: (float64(j) + r.in(0.2, 0.8)) * glandCell}
	u := r.f()
	if s.tissue(g.x, g.y, 0.25) < 0.03 {
		return g, false
	}
	z := s.zones(g.x, g.y, 0.25)
	g.tumour = z.tumour > 0
	p := s.st.glandP * step(0.38, 0.55, fbm(s.noiseSeed(11), g.x, g.y, 700, 2, 0.25))
	if g.tumour {
		p = s.st.glandP * (1.1 - s.st.solid)
	}
	if z.fat > -0.03 || u > p {
		return g, false
	}
	g.r = math.Min(85, s.st.glandR*r.in(0.55, 1.25))
	g.flat, g.phi = r.in(0.62, 1), r.in(0, math.Pi)
	wild := 0.5
	if g.tumour {
		wild = 0.7 + 0.7*s.st.atypia
	}
	for k := range g.amp {
		g.amp[k], g.ph[k] = wild*r.in(0, 0.16)/float64(k+1), r.in(0, 2*math.Pi)
	}
	g.thick = math.Min(g.r*r.in(0.45, 0.95), r.in(13, 26))
	g.prio, g.content = r.f(), r.f()*r.f()
	g.rows = 1
	if g.thick > 15 && r.f() < 0.5 {
		g.rows = 2
	}
	if r.f() < 0.4 {
		g.halo = r.in(1, 6)
	}
	if far := g.reach(); far > 155 { // rings looks no further
		g.r *= 140 / far
	}
	return g, true
}

func (s *Slide) vesselAt(i, j int) (ring, bool) {
	r := cellRNG(s.seed, tagVessel, i, j)
	g := ring{id: r.key, x: (float64(i) + r.in(0.1, 0.9)) * vesselCell, y: (float64(j) + r.in(0.1, 0.9)) * vesselCell}
	if r.f() > 0.75 || s.tissue(g.x, g.y, 0.25) < 0.02 {
		return g, false
	}
	g.r = 7 + 40*r.f()*r.f()
	g.flat, g.phi = r.in(0.4, 1), r.in(0, math.Pi)
	for k := range g.amp {
		g.amp[k], g.ph[k] = r.in(0, 0.1)/float64(k+1), r.in(0, 2*math.Pi)
	}
	g.thick = math.Min(0.6*g.r, r.in(2, 12))
	g.prio, g.content = r.f(), r.f()
	g.rows = 1
	return g, true
}

// rings returns the rings of one lattice that reach into the box [µm]. A ring
// is dropped where a neighbour of higher priority would overlap it, and a
// vessel where it would meet a gland.
func (s *Slide) rings(x0, y0, x1, y1 float64) (glands, vessels []ring) {
	pick := func(cell, margin float64, at func(i, j int) (ring, bool)) []ring {
		i0, i1 := int(math.Floor((x0-margin)/cell)), int(math.Floor((x1+margin)/cell))
		j0, j1 := int(math.Floor((y0-margin)/cell)), int(math.Floor((y1+margin)/cell))
		n := i1 - i0 + 5 // two more cells on each side for the neighbours
		type slot struct {
			g  ring
			ok bool
		}
		all := make([]slot, n*(j1-j0+5))
		for j := j0 - 2; j <= j1+2; j++ {
			for i := i0 - 2; i <= i1+2; i++ {
				g, ok := at(i, j)
				all[(j-j0+2)*n+i-i0+2] = slot{g, ok}
			}
		}
		var out []ring
		for j := 2; j < j1-j0+3; j++ {
		next:
			for i := 2; i < n-2; i++ {
				a := &all[j*n+i]
				if !a.ok {
					continue
				}
				for dj := -2; dj <= 2; dj++ {
					for di := -2; di <= 2; di++ {
						b := &all[(j+dj)*n+i+di]
						if b == a || !b.ok || b.g.prio <= a.g.prio {
							continue
						}
						dx, dy := b.g.x-a.g.x, b.g.y-a.g.y
						d := math.Hypot(dx, dy)
						if a.g.outer(dx/d, dy/d)+b.g.outer(-dx/d, -dy/d)+3 > d {
							continue next
						}
					}
				}
				out = append(out, a.g)
			}
		}
		return out
	}
	const reach = 160.0
	// Glands near the border decide about vessels inside, so look further.
	sx0, sy0, sx1, sy1 := x0, y0, x1, y1
	x0, y0, x1, y1 = sx0-2*reach, sy0-2*reach, sx1+2*reach, sy1+2*reach
	glands = pick(glandCell, reach, s.glandAt)
	x0, y0, x1, y1 = sx0, sy0, sx1, sy1
vessel:
	for _, v := range pick(vesselCell, reach, s.vesselAt) {
		for i := range glands {
			if math.Hypot(glands[i].x-v.x, glands[i].y-v.y) < glands[i].reach()+v.reach() {
				continue vessel
			}
		}
		vessels = append(vessels, v)
	}
	return glands, vessels
}
