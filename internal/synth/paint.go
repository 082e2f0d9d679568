package synth

import "math"

// fringe is the part of the tissue's field over which its border fades into
// glass. Below glass less than 0.28 of the stain is left, and the eye sees none.
const (
	fringe = 0.01
	glass  = 0.35 * fringe
)

// paintGround fills the canvas with glass, stroma, fat and tumour nests.
func (s *Slide) paintGround(c *canvas) {
	st := &s.st
	mpp := c.mpp
	f := s.newField(c)
	parallel(c.h, func(row int) {
		y := (float64(c.y0+row) + 0.5) * mpp
		for col := range c.w {
			x := (float64(c.x0+col) + 0.5) * mpp
			i := row*c.w + col
			z := f.at(c.x0+col, c.y0+row)
			t := z.tissue
			if t <= 0 {
				c.hem[i] = float32(0.006 * value(s.noiseSeed(20), x/30, y/30))
				continue
			}
			c.tissue[i] = t > glass
			c.tumour[i] = c.tissue[i] && z.tumour > 0
			u, v := z.u, z.v
			mot := fbm(s.noiseSeed(21), x, y, 11, 4, mpp)
			strand := fbm(s.noiseSeed(22), u/7, v, 5.5, 3, mpp)
			cleft := 0.6*fbm(s.noiseSeed(23), u/3, v, 15, 3, mpp) + 0.4*fbm(s.noiseSeed(24), x, y, 24, 4, mpp)
			gap := step(-0.03, 0.03, cleft-s.cut.cleft)

			// Stroma: eosin strands with clefts between them.
			grit := fbm(s.noiseSeed(28), x, y, 1.6, 2, mpp) - 0.5
			eos := (0.14 + 0.62*clamp01(0.5+1.9*(strand-0.5))) * (0.4 + 1.2*mot) * (1 + 0.7*st.grain*grit)
			hem := 0.03 + 0.25*st.baso*(mot+strand-0.35) + 0.16*z.lymph
			eos *= 1 - 0.3*z.lymph
			// Clefts keep wisps of torn fibres and cytoplasm.
			wisp := 0.55 * st.grain * step(0.5, 0.62, fbm(s.noiseSeed(29), x, y, 5, 3, mpp)) * step(0.35, 0.6, mot)
			left := 1 - gap*(1-0.5*wisp)
			eos, hem = eos*left, hem*left

			// Loose red cells.
			if st.rbc > 0.05 && mpp < 3 {
				if d1, _, id := worley(s.noiseSeed(25), x/7, y/7); float64(id>>8&0xFF)/256 < st.rbc*step(0.55, 0.75, value(s.noiseSeed(26), x/90, y/90)) {
					eos = lerp(eos, 0.85, step(0.44, 0.36, d1))
				}
			}

			// Tumour nests: cells with borders, granules and vacuoles.
			if k := step(-0.012, 0.012, z.nest); k > 0 {
				e, h := s.cytoplasm(x, y, mpp, 11*st.size, mot)
				eos, hem = lerp(eos, e, k), lerp(hem, h, k)
			}

			if k := step(-0.008, 0.008, z.fat); k > 0 {
				d1, d2, _ := worley(s.noiseSeed(27), x/fatCell, y/fatCell)
				wall := step(0.07, 0.02, d2-d1)
				eos = lerp(eos, 0.5*wall*(0.6+0.8*mot), k*step(0, 0.02, d1))
				hem = lerp(hem, 0.03*wall, k)
			}
			rim := step(0, fringe, t)
			c.eos[i], c.hem[i] = float32(max(0, eos*rim)), float32(max(0, hem*rim))
		}
	})
}

// cytoplasm returns the stain of an epithelial or tumour cell's body.
func (s *Slide) cytoplasm(x, y, mpp, cell, mot float64) (eos, hem float64) {
	st := &s.st
	fine := fbm(s.noiseSeed(30), x, y, 2.6, 3, mpp)
	g := 1 + st.grain*(1.8*(fine-0.5)+1.8*(mot-0.5))
	eos = (0.45 - 0.5*st.baso) * g
	hem = (0.05 + st.baso) * g
	if mpp > 2 {
		return eos, hem
	}
	d1, d2, id := worley(s.noiseSeed(31), x/cell+0.9*(mot-0.5), y/cell+0.9*(fine-0.5))
	tone := 0.82 + 0.36*float64(id&0xFF)/256
	eos, hem = eos*tone, hem*tone
	// A border between cells: pale where they part, darker where they join.
	if b := step(0.14, 0.03, d2-d1) * (0.3 + mot); b > 0 {
		k := 0.2
		if id>>9&3 == 0 {
			k = -0.5
		}
		eos *= 1 + k*b
		hem *= 1 + k*b
	}
	if st.foam > 0.15 {
		hole := 0.85 * step(-0.03, 0.05, fbm(s.noiseSeed(32), x, y, 6.5, 3, mpp)+0.4*(mot-0.5)-s.cut.vac)
		eos *= 1 - hole
		hem *= 1 - hole
	}
	return eos, hem
}

// eachPixel calls f for the pixels within far of (x, y), in rows on all cores.
func (c *canvas) eachPixel(x, y, far float64, f func(i int, dx, dy float64)) {
	x0 := max(0, int(math.Floor((x-far)/c.mpp))-c.x0)
	x1 := min(c.w, int(math.Ceil((x+far)/c.mpp))-c.x0+1)
	y0 := max(0, int(math.Floor((y-far)/c.mpp))-c.y0)
	y1 := min(c.h, int(math.Ceil((y+far)/c.mpp))-c.y0+1)
	for row := y0; row < y1; row++ {
		for col := x0; col < x1; col++ {
			f(row*c.w+col, (float64(c.x0+col)+0.5)*c.mpp-x, (float64(c.y0+row)+0.5)*c.mpp-y)
		}
	}
}

func (s *Slide) paintGland(c *canvas, g *ring, label int32) {
	st := &s.st
	soft := max(0.35, 0.6*c.mpp)
	c.eachPixel(g.x, g.y, g.reach(), func(i int, dx, dy float64) {
		d := math.Hypot(dx, dy)
		if !c.tissue[i] {
			return
		}
		var out float64
		if d > 1e-9 {
			out = g.outer(dx/d, dy/d)
		} else {
			out = g.r
		}
		if d > out+g.halo+soft {
			return
		}
		x, y := g.x+dx, g.y+dy
		if d > out {
			k := step(out+g.halo+soft, out+g.halo, d) * 0.9
			if g.halo == 0 {
				k = 0
			}
			c.eos[i] *= float32(1 - k)
			c.hem[i] *= float32(1 - k)
		}
		mot := fbm(s.noiseSeed(21), x, y, 11, 4, c.mpp)
		e, h := s.cytoplasm(x, y, c.mpp, 9*st.size, mot)
		depth := out - d // from the basement membrane
		// The apical half is clearer, as mucin is.
		clear := 0.5 * g.content * step(0.5*g.thick, g.thick, depth)
		e, h = e*(1-clear), h*(1-clear)
		// Lumen.
		lum := out - g.thick*(0.85+0.3*value(s.noiseSeed(33)^uint32(g.id), x/7, y/7))
		in := step(lum+soft, lum-soft, d)
		if lum < 2 {
			in = 0
		}
		secret := g.content * step(0.35, 0.6, fbm(s.noiseSeed(34), x, y, 22, 3, c.mpp))
		le, lh := 0.5*secret*(0.5+mot), 0.1*secret*st.baso
		e, h = lerp(e, le, in), lerp(h, lh, in)
		k := step(out+soft, out-soft, d)
		c.eos[i] = float32(lerp(float64(c.eos[i]), max(0, e), k))
		c.hem[i] = float32(lerp(float64(c.hem[i]), max(0, h), k))
		if d <= out {
			c.gland[i] = label
			c.tumour[i] = g.tumour // a gland is in or out as a whole
		}
	})
}

func (s *Slide) paintVessel(c *canvas, g *ring) {
	soft := max(0.35, 0.6*c.mpp)
	c.eachPixel(g.x, g.y, g.reach(), func(i int, dx, dy float64) {
		d := math.Hypot(dx, dy)
		if d < 1e-9 || !c.tissue[i] {
			return
		}
		out := g.outer(dx/d, dy/d)
		if d > out+soft {
			return
		}
		x, y := g.x+dx, g.y+dy
		coat := fbm(s.noiseSeed(35), d*1.6, 30*math.Atan2(dy, dx), 3, 2, c.mpp)
		e, h := 0.35+0.6*coat, 0.05+0.1*coat*s.st.baso
		in := step(out-g.thick+soft, out-g.thick-soft, d)
		le := 0.04
		if g.content > 0.35 && c.mpp < 4 { // red cells
			if d1, _, id := worley(s.noiseSeed(36), x/6.6, y/6.6); float64(id>>8&0xFF)/256 < g.content {
				le = 0.9 * step(0.5, 0.4, d1)
			}
		}
		e, h = lerp(e, le, in), lerp(h, 0, in)
		k := step(out+soft, out-soft, d)
		c.eos[i] = float32(lerp(float64(c.eos[i]), e, k))
		c.hem[i] = float32(lerp(float64(c.hem[i]), h, k))
	})
}

// labelEdge: a nucleus's label reaches this far past the middle of its soft
// edge [µm]; annotators outline the dark rim from outside.
const labelEdge = 0.1

func (s *Slide) paintNucleus(c *canvas, n *nucleus, label int32) {
	cp, sp := math.Cos(n.phi), math.Sin(n.phi)
	soft := max(n.soft, 0.5*c.mpp)
	r := rng{key: n.id, n: 99}
	halo := 0.0
	if r.f() < 0.3 {
		halo = r.in(0.1, 0.6)
	}
	var spots [4][3]float64
	for k := range min(n.nucleoli, len(spots)) {
		spots[k] = [3]float64{r.in(-0.55, 0.55) * n.a, r.in(-0.55, 0.55) * n.b, r.in(0.45, 0.95)}
	}
	var hc, hs [3]float64
	for k := range n.amp {
		hc[k], hs[k] = n.amp[k]*math.Cos(n.ph[k]), n.amp[k]*math.Sin(n.ph[k])
	}
	seed := s.noiseSeed(37) ^ uint32(n.id)
	c.eachPixel(n.x, n.y, n.reach(), func(i int, dx, dy float64) {
		p, q := dx*cp+dy*sp, dy*cp-dx*sp
		q -= n.bend * p * p
		ex, ey := p/n.a, q/n.b
		e := math.Hypot(ex, ey)
		rad := math.Hypot(p, q)
		if e > 3 {
			return
		}
		f := 1.0
		dist := n.b
		if e > 1e-6 {
			ux, uy := ex/e, ey/e
			ck, dk := ux*ux-uy*uy, 2*ux*uy
			for k := range n.amp { // harmonics 3..5
				ck, dk = ck*ux-dk*uy, ck*uy+dk*ux
				f += hc[k]*ck - hs[k]*dk
			}
			dist = (f - e) / e * rad // towards the outline, positive inside
		}
		if !c.tissue[i] {
			return
		}
		if dist > -labelEdge {
			c.nuclei[i] = label
		}
		if halo > 0 && dist < 0 {
			k := float32(halo * step(-1.8, -0.2, dist))
			c.eos[i] *= 1 - k
			c.hem[i] *= 1 - k
		}
		cov := step(-soft, soft, dist)
		if cov == 0 {
			return
		}
		tex := fbm(seed, p, q, 1.7, 3, c.mpp) - 0.5
		h := n.dark * (1 + n.grain*2.2*tex)
		if n.pale > 0 {
			deep := step(0.15, 1.0, dist)
			h *= 1 + n.pale*(0.3*(1-deep)-0.42*deep+1.2*tex*deep)
		}
		for k := range min(n.nucleoli, len(spots)) {
			d := math.Hypot(p-spots[k][0], q-spots[k][1])
			h += 0.5 * n.dark * step(spots[k][2]+0.2, spots[k][2]-0.2, d)
		}
		bg := float64(c.hem[i])
		c.hem[i] = float32(lerp(bg, max(0.1, h)+0.25*min(bg, 1.2), cov))
		c.eos[i] *= float32(1 - 0.4*cov)
	})
}

// tintNuclei adds the mean stain of the nuclei at scales too coarse to draw
// them.
func (s *Slide) tintNuclei(c *canvas) {
	parallel(c.h, func(row int) {
		y := (float64(c.y0+row) + 0.5) * c.mpp
		for col := range c.w {
			i := row*c.w + col
			if !c.tissue[i] {
				continue
			}
			x := (float64(c.x0+col) + 0.5) * c.mpp
			z := s.zones(x, y, c.mpp)
			share := 0.16*z.dense + 0.5*z.lymph
			switch {
			case c.gland[i] > 0:
				share = 0.22
			case z.nest > 0:
				share = 0.38
			case z.fat > 0:
				share = 0.02
			}
			c.hem[i] = float32(lerp(float64(c.hem[i]), s.st.contrast, share))
		}
	})
}
