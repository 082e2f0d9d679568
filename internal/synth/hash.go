package synth

import "math"

// mix64 is the splitmix64 finaliser.
func mix64(z uint64) uint64 {
	z += 0x9E3779B97F4A7C15
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// rng is a short counter-based sequence that belongs to one lattice cell.
type rng struct{ key, n uint64 }

// cellRNG returns the sequence of cell (x, y) of the lattice called tag.
func cellRNG(seed, tag uint64, x, y int) rng {
	return rng{key: mix64(mix64(mix64(seed^tag*0xD1B54A32D192ED03)^uint64(int64(x))) ^ uint64(int64(y)))}
}

// f returns the next number in [0, 1).
func (r *rng) f() float64 {
	r.n++
	return float64(mix64(r.key+r.n)>>11) * (1.0 / (1 << 53))
}

// in returns the next number in [a, b).
func (r *rng) in(a, b float64) float64 { return a + (b-a)*r.f() }

// gauss returns the next number of a normal law cut at three deviations.
func (r *rng) gauss(mean, sd float64) float64 {
	z := math.Sqrt(-2*math.Log(1-r.f())) * math.Cos(2*math.Pi*r.f())
	return mean + sd*max(-3, min(3, z))
}

// hash2 returns 32 bits for the lattice point (x, y).
func hash2(seed uint32, x, y int32) uint32 {
	h := uint32(x)*0x9E3779B1 ^ uint32(y)*0x85EBCA77 ^ seed
	h = (h ^ h>>16) * 0x7FEB352D
	h = (h ^ h>>15) * 0x846CA68B
	return h ^ h>>16
}

// value is value noise in [0, 1): smooth, lattice step 1.
func value(seed uint32, x, y float64) float64 {
	fx, fy := math.Floor(x), math.Floor(y)
	ix, iy := int32(int64(fx)), int32(int64(fy))
	tx, ty := x-fx, y-fy
	tx = tx * tx * (3 - 2*tx)
	ty = ty * ty * (3 - 2*ty)
	a, b := float64(hash2(seed, ix, iy)), float64(hash2(seed, ix+1, iy))
	c, d := float64(hash2(seed, ix, iy+1)), float64(hash2(seed, ix+1, iy+1))
	a += (b - a) * tx
	c += (d - c) * tx
	return (a + (c-a)*ty) * (1.0 / (1 << 32))
}

// fbm sums octaves of value noise: mean 0.5, range [0, 1). The first octave
// has wavelength lambda; octaves finer than two pixels are left out, so that
// coarse levels do not alias.
func fbm(seed uint32, x, y, lambda float64, octaves int, mpp float64) float64 {
	sum, amp, norm := 0.0, 1.0, 0.0
	for o := range octaves {
		norm += amp
		if w := clamp01(lambda/mpp*0.5 - 0.5); w > 0 {
			sum += amp * w * (value(seed+uint32(o)*0x632BE5AB, x/lambda+float64(o)*17.31, y/lambda+float64(o)*9.73) - 0.5)
		}
		amp *= 0.5
		lambda *= 0.5
	}
	return 0.5 + sum/norm
}

func clamp01(x float64) float64 {
	if x > 1 {
		return 1
	}
	if x > 0 {
		return x
	}
	return 0
}

// step rises smoothly from 0 at a to 1 at b.
func step(a, b, x float64) float64 {
	t := clamp01((x - a) / (b - a))
	return t * t * (3 - 2*t)
}

func lerp(a, b, t float64) float64 { return a + (b-a)*t }
