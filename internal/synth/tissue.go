package synth

import "math"

// Lattice tags: one per kind of random thing.
const (
	tagGland = iota + 10
	tagVessel
	tagStroma
	tagLymph
	tagTumour
	tagStray
	tagPen
	tagFold
	tagBubble
	tagInGland
)

func (s *Slide) noiseSeed(i uint32) uint32 { return uint32(mix64(s.seed+uint64(i)*0x9E37)) ^ i }

// fatCell is the size of a fat cell [µm].
const fatCell = 62.0

// quantile turns a share into a threshold on an fbm field: its values follow
// nearly a normal law of deviation sd.
func quantile(share, sd float64) float64 {
	return 0.5 - sd*math.Sqrt2*math.Erfinv(2*min(0.999, max(0.001, share))-1)
}

// tissue returns a signed field: above 0 inside the tissue.
func (s *Slide) tissue(x, y, mpp float64) float64 {
	if s.o.Solid {
		return 1
	}
	edge := min(min(x, s.width-x), min(y, s.height-y)) / (0.12 * min(s.width, s.height))
	lambda := min(6000, 0.3*min(s.width, s.height))
	f := fbm(s.noiseSeed(1), x, y, lambda, 6, mpp) - 0.42
	ragged := 0.012 * (value(s.noiseSeed(10), x/24, y/24) - 0.5)
	return f + ragged - 0.6*max(0, 1-edge)
}

// frontField is how far the tumour's field falls over the cell-rich front of a
// region: half of all places have 95 to 214 µm of it, the median 135. frontNest is
// what the front adds to the nests' field at the border, three deviations of it.
const (
	frontField = 0.06
	frontNest  = 0.5
)

// cuts are thresholds that follow from the style.
type cuts struct{ tumour, nest, fat, lymph, cleft, vac float64 }

func newCuts(st *style) cuts {
	return cuts{
		tumour: quantile(st.tumourP, 0.16), nest: quantile(st.solid, 0.17), fat: quantile(st.fatP, 0.17),
		lymph: quantile(st.lymphP, 0.17), cleft: quantile(st.loose, 0.15), vac: quantile(0.55*st.foam, 0.17),
	}
}

// zones are the smooth fields that decide what grows at a place.
type zones struct {
	tumour float64 // above 0: tumour region
	nest   float64 // above 0: tumour cells, inside a tumour region
	fat    float64 // above 0: fat
	lymph  float64 // 0..1: share of lymphocyte sites in use
	dense  float64 // 0..1: cellularity of the stroma
}

// rawZones evaluates the fields without what they rule out in each other.
func (s *Slide) rawZones(x, y, mpp float64) zones {
	z := zones{}
	z.tumour = fbm(s.noiseSeed(2), x, y, 1100, 4, mpp) - s.cut.tumour
	z.nest = -1
	if z.tumour > -0.05 {
		// Septa lie inside: along a region's border nests close up, so that the
		// picture shows where it ends.
		z.nest = fbm(s.noiseSeed(3), x, y, 110, 3, mpp) - s.cut.nest + frontNest*step(frontField, 0, z.tumour)
	}
	z.fat = fbm(s.noiseSeed(4), x, y, 900, 3, mpp) - s.cut.fat
	l := step(0, 0.07, fbm(s.noiseSeed(5), x, y, 260, 3, mpp)-s.cut.lymph)
	z.lymph = l*0.92 + 0.03*(1-l)
	z.dense = clamp01(s.st.cellular * (0.25 + 1.5*fbm(s.noiseSeed(6), x, y, 140, 2, mpp)))
	return z
}

func (z *zones) settle() {
	if z.tumour <= 0 {
		z.nest = -1
	}
	if z.tumour > -0.02 {
		z.fat = -1
	}
}

func (s *Slide) zones(x, y, mpp float64) zones {
	z := s.rawZones(x, y, mpp)
	z.settle()
	return z
}

// fibre returns coordinates along (u) and across (v) the stroma's fibres.
func (s *Slide) fibre(x, y float64) (u, v float64) {
	c, d := math.Cos(s.st.base), math.Sin(s.st.base)
	u, v = c*x+d*y, -d*x+c*y
	w := s.st.wave
	v += w*2*value(s.noiseSeed(7), u/210, v/210) + w*0.5*value(s.noiseSeed(8), u/70, v/70)
	v += 0.06 * w * value(s.noiseSeed(9), u/16, v/22)
	return u, v
}

// along returns the direction of the fibres at a place.
func (s *Slide) along(x, y float64) float64 {
	const e = 2.0
	_, a := s.fibre(x+e, y)
	_, b := s.fibre(x-e, y)
	_, c := s.fibre(x, y+e)
	_, d := s.fibre(x, y-e)
	return math.Atan2(a-b, -(c - d)) // perpendicular to the gradient of v
}

// worley returns the distances to the nearest two points of a jittered
// lattice, in lattice steps, and the nearest cell's hash.
func worley(seed uint32, x, y float64) (d1, d2 float64, id uint32) {
	ix, iy := int32(math.Floor(x)), int32(math.Floor(y))
	d1, d2 = 9, 9
	for j := iy - 1; j <= iy+1; j++ {
		for i := ix - 1; i <= ix+1; i++ {
			h := hash2(seed, i, j)
			px := float64(i) + 0.12 + 0.76*float64(h&0xFFFF)/65536
			py := float64(j) + 0.12 + 0.76*float64(h>>16)/65536
			d := math.Hypot(px-x, py-y)
			if d < d1 {
				d1, d2, id = d, d1, h
			} else if d < d2 {
				d2 = d
			}
		}
	}
	return d1, d2, id
}
