package synth

import "math"

// Artefacts live on coarse lattices of their own; each site may hold one.
const (
	penCell    = 9000.0 // [µm]
	foldCell   = 3500.0
	bubbleCell = 4000.0
)

// sites calls f for each lattice cell whose artefact may reach the canvas.
func (s *Slide) sites(c *canvas, tag uint64, cell, reach float64, f func(r *rng, x, y float64)) {
	x0, y0 := float64(c.x0)*c.mpp-reach, float64(c.y0)*c.mpp-reach
	x1, y1 := float64(c.x0+c.w)*c.mpp+reach, float64(c.y0+c.h)*c.mpp+reach
	for j := int(math.Floor(y0 / cell)); float64(j)*cell <= y1; j++ {
		for i := int(math.Floor(x0 / cell)); float64(i)*cell <= x1; i++ {
			r := cellRNG(s.seed, tag, i, j)
			x, y := (float64(i)+r.f())*cell, (float64(j)+r.f())*cell
			f(&r, x, y)
		}
	}
}

func (s *Slide) paintArtefacts(c *canvas) {
	// Folds: a band where the tissue lies double.
	s.sites(c, tagFold, foldCell, 2000, func(r *rng, x, y float64) {
		if r.f() > 0.45 {
			return
		}
		half, length, dir := r.in(15, 70), r.in(300, 1700), r.in(0, math.Pi)
		bow, wob := r.in(-1, 1)/length*0.5, uint32(r.key)
		ca, sa := math.Cos(dir), math.Sin(dir)
		c.eachPixel(x, y, length+300, func(i int, dx, dy float64) {
			p, q := dx*ca+dy*sa, dy*ca-dx*sa
			q -= bow*p*p + 25*value(wob, p/120, 0)
			k := step(half, half*0.8, math.Abs(q)) * step(length, length*0.85, math.Abs(p))
			if k > 0 {
				m := float32(1 + 0.9*k + 0.5*k*step(half*0.75, half, math.Abs(q)))
				c.hem[i] = c.hem[i]*m + float32(0.12*k)
				c.eos[i] = c.eos[i]*m + float32(0.2*k)
			}
		})
	})
	// Bubbles: a dark rim, a brighter thin line inside it, paler tissue within.
	s.sites(c, tagBubble, bubbleCell, 700, func(r *rng, x, y float64) {
		if r.f() > 0.4 {
			return
		}
		rad, flat, dir := r.in(60, 550), r.in(0.75, 1), r.in(0, math.Pi)
		ca, sa := math.Cos(dir), math.Sin(dir)
		c.eachPixel(x, y, rad/flat+20, func(i int, dx, dy float64) {
			p, q := dx*ca+dy*sa, (dy*ca-dx*sa)/flat
			d := rad - math.Hypot(p, q)
			if d < 0 {
				return
			}
			dark := 0.55 * step(0, 4, d) * step(14, 6, d)
			c.addInk(i, [3]float64{dark, dark, dark * 0.95})
			m := float32(1 - 0.25*step(10, 30, d))
			c.hem[i] *= m
			c.eos[i] *= m
		})
	})
	// Pen: a broad, even, slightly translucent stroke.
	inks := [...][3]float64{{1.1, 0.45, 0.12}, {0.95, 0.2, 0.75}, {1.0, 1.0, 0.95}, {0.15, 0.9, 0.8}}
	s.sites(c, tagPen, penCell, 5000, func(r *rng, x, y float64) {
		if r.f() > 0.4 {
			return
		}
		ink := inks[int(r.f()*float64(len(inks)))]
		half, length, dir := r.in(120, 350), r.in(1000, 4500), r.in(0, math.Pi)
		bow, wob := r.in(-1, 1)/length*0.6, uint32(r.key)
		gain := r.in(0.5, 1)
		ca, sa := math.Cos(dir), math.Sin(dir)
		c.eachPixel(x, y, length+500, func(i int, dx, dy float64) {
			p, q := dx*ca+dy*sa, dy*ca-dx*sa
			q -= bow * p * p
			edge := half * (0.9 + 0.2*value(wob, p/40, q/40))
			k := gain * step(edge, edge-12, math.Abs(q)) * step(length, length-30, math.Abs(p)) * (0.8 + 0.4*value(wob+1, p/200, q/9))
			if k > 0 {
				c.addInk(i, [3]float64{ink[0] * k, ink[1] * k, ink[2] * k})
			}
		})
	})
}
