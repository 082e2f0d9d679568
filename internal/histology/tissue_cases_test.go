package histology_test

import (
	"image"
	"image/color"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/synth"
)

// od is an optical density of red, green and blue.
type od [3]float64

// stain recolours what the synthetic slide dyes with haematoxylin and eosin.
type stain struct {
	name         string
	nuclei, body od // per unit of haematoxylin and of eosin
	pale         od // of loose fragments and of the walls of fat
	light        od // of clear glass, 0 to 1
	patches      od // of a marker that some fields have, per unit of haematoxylin
}

// The dyes are Ruifrok's, those of Masson's trichrome aniline blue and
// scarlet; the amounts are those of pale to usual sections.
var stains = []stain{
	{name: "H&E", nuclei: od{0.65, 0.70, 0.29}, body: od{0.07, 0.99, 0.11}, pale: od{0.012, 0.05, 0.018}, light: od{0.95, 0.945, 0.955}},
	{name: "PAS", nuclei: od{0.42, 0.46, 0.19}, body: od{0.09, 0.50, 0.08}, pale: od{0.012, 0.045, 0.012}, light: od{0.96, 0.94, 0.95}},
	{name: "trichrome", nuclei: od{0.10, 0.62, 0.55}, body: od{0.55, 0.33, 0.08}, pale: od{0.045, 0.03, 0.01}, light: od{0.93, 0.94, 0.95}},
	{name: "silver", nuclei: od{0.60, 0.58, 0.56}, body: od{0.13, 0.10, 0.12}, pale: od{0.05, 0.045, 0.055}, light: od{0.94, 0.94, 0.935}},
	{name: "IHC", nuclei: od{0.38, 0.36, 0.15}, body: od{0.06, 0.06, 0.05}, pale: od{0.04, 0.035, 0.02}, light: od{0.95, 0.955, 0.95}, patches: od{0.19, 0.40, 0.54}},
}

// caseSide is the side of the thumbnails, 16 mm of glass.
const (
	caseSide = 448
	caseMPP  = 16_000.0 / caseSide
)

// thumbnail is a drawing and its truth.
type thumbnail struct {
	stain
	rng    *rand.Rand
	dens   [caseSide * caseSide]od
	tissue [caseSide * caseSide]bool
	extra  [caseSide * caseSide]bool // tissue that lies beside the section
	inked  [caseSide * caseSide]bool // what is none
	tilt   float64                   // of the light over the picture
}

// section is a synthetic section of 8 mm in the middle of the glass, as
// amounts of haematoxylin and eosin.
type section struct {
	nuclei, body [caseSide * caseSide]float64
	tissue       [caseSide * caseSide]bool
}

// newSection draws one; each is used in all stains.
var newSection = func() func(seed uint64) *section {
	drawn := map[uint64]*section{}
	return func(seed uint64) *section {
		if s := drawn[seed]; s != nil {
			return s
		}
		const side, at = caseSide / 2, caseSide / 4
		s := &section{}
		pic, truth := synth.New(seed, synth.Options{Width: 32_000, Height: 32_000}).Region(0, 0, side, side, caseMPP)
		h, e := unit(od{0.65, 0.70, 0.29}), unit(od{0.07, 0.99, 0.11})
		he := dot(h, e)
		for k, in := range truth.Tissue {
			if !in {
				continue
			}
			var d od
			for c := range d {
				d[c] = max(0, -math.Log10((float64(pic.Pix[4*k+c])+1)/245))
			}
			a, b := dot(d, h), dot(d, e)
			i := (at+k/side)*caseSide + at + k%side
			s.tissue[i], s.nuclei[i], s.body[i] = true, max(0, (a-he*b)/(1-he*he)), max(0, (b-he*a)/(1-he*he))
		}
		drawn[seed] = s
		return s
	}
}()

// newThumbnail draws a section in a stain.
func newThumbnail(s stain, seed uint64) *thumbnail {
	t := &thumbnail{stain: s, rng: rand.New(rand.NewPCG(seed, 7))}
	sec := newSection(seed)
	t.tissue = sec.tissue
	for i, in := range t.tissue {
		if in {
			t.add(i, s.nuclei, sec.nuclei[i])
			t.add(i, s.body, sec.body[i])
			t.add(i, s.patches, sec.nuclei[i]*max(0, 2*noise(seed, float64(i%caseSide)/60, float64(i/caseSide)/60)-0.7))
		}
	}
	return t
}

func (t *thumbnail) add(i int, d od, amount float64) {
	for c := range d {
		t.dens[i][c] += d[c] * amount
	}
}

// blob calls f inside a ragged shape around (x, y), where nothing lies yet.
func (t *thumbnail) blob(x, y, radius float64, f func(i int, px, py float64)) {
	seed := t.rng.Uint64()
	stretch := 1 + t.rng.Float64()
	reach := int(1.5 * radius)
	for k := range (2*reach + 1) * (4*reach + 1) {
		ix, iy := int(x)-2*reach+k%(4*reach+1), int(y)-reach+k/(4*reach+1)
		if !image.Pt(ix, iy).In(image.Rect(0, 0, caseSide, caseSide)) {
			continue
		}
		i, px, py := iy*caseSide+ix, float64(ix), float64(iy)
		dx, dy := (px-x)/stretch, py-y
		edge := radius * (0.6 + 0.8*noise(seed, 3+2*math.Cos(math.Atan2(dy, dx)), 3+2*math.Sin(math.Atan2(dy, dx))))
		if math.Hypot(dx, dy) < edge && !t.tissue[i] {
			t.tissue[i], t.extra[i] = true, true
			f(i, px, py)
		}
	}
}

// loose scatters pale fragments, each of a texture.
func (t *thumbnail) loose() {
	for range 14 {
		x, y := t.rng.Float64()*caseSide, t.rng.Float64()*caseSide
		seed := t.rng.Uint64()
		t.blob(x, y, 5+10*t.rng.Float64(), func(i int, px, py float64) { t.add(i, t.pale, 0.6+1.6*noise(seed, px/3, py/3)) })
	}
}

// fat lays two pieces of fat: cells of 60 to 100 micrometres, walls of the
// palest dye, nothing within.
func (t *thumbnail) fat() {
	for k := range 2 {
		x, y := caseSide*(0.15+0.7*float64(k)), caseSide*(0.12+0.76*t.rng.Float64())
		seed, cell := t.rng.Uint64(), 3.0+1.5*t.rng.Float64()
		t.blob(x, y, 38, func(i int, px, py float64) {
			wall := 0.0
			for sub := range 9 { // a pixel is larger than a wall
				gap := walls(seed, (px+float64(sub%3)/3)/cell, (py+float64(sub/3)/3)/cell)
				wall += max(0, 1-gap*cell/0.7) / 9
			}
			t.add(i, t.pale, 4*wall+0.15)
		})
	}
}

// crosses prints two registration marks.
func (t *thumbnail) crosses() {
	for _, at := range []image.Point{{40, 40}, {caseSide - 45, caseSide - 38}} {
		for d := -16; d <= 16; d++ {
			for w := range 3 {
				t.ink(at.X+d, at.Y+w, od{0.8, 0.8, 0.78})
				t.ink(at.X+w, at.Y+d, od{0.8, 0.8, 0.78})
			}
		}
	}
}

// edges darkens what lies beyond the slide: a band on two sides.
func (t *thumbnail) edges() {
	for y := range caseSide {
		for x := range caseSide {
			if x < 14+y/80 || y > caseSide-10 {
				t.ink(x, y, od{0.62, 0.6, 0.6})
			}
		}
	}
}

// coverslip draws its edge, a straight line, and the shade beyond it.
func (t *thumbnail) coverslip() {
	for y := range caseSide {
		for x := range caseSide {
			switch d := x - (caseSide - 60) + y/40; {
			case d == 0 || d == 1:
				t.ink(x, y, od{0.16, 0.155, 0.15})
			case d > 1:
				t.ink(x, y, od{0.022, 0.022, 0.022})
			}
		}
	}
}

// pen draws a stroke of a marker.
func (t *thumbnail) pen(d od) {
	for s := 0.0; s < 1; s += 0.001 {
		x, y := 60+s*200, caseSide-60-40*math.Sin(3*s)
		for dy := range 7 {
			t.ink(int(x), int(y)+dy, d)
		}
	}
}

// ink absorbs once: strokes do not add up, and what it hides is no tissue.
func (t *thumbnail) ink(x, y int, d od) {
	i := y*caseSide + x
	if x < 0 || y < 0 || x >= caseSide || y >= caseSide || t.tissue[i] || t.dens[i][1] > 0.1 {
		return
	}
	t.inked[i] = true
	t.dens[i] = od{max(t.dens[i][0], d[0]), max(t.dens[i][1], d[1]), max(t.dens[i][2], d[2])}
}

// picture develops the drawing: light, blur, noise and JPEG.
func (t *thumbnail) picture(test *testing.T) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, caseSide, caseSide))
	light := func(x, y, c int) float64 {
		u, v := float64(x)/caseSide-0.5, float64(y)/caseSide-0.5
		x, y = min(max(x, 0), caseSide-1), min(max(y, 0), caseSide-1)
		return t.light[c] * (1 - t.tilt*(u*u+v*v+0.5*u)) * math.Pow(10, -t.dens[y*caseSide+x][c])
	}
	for y := range caseSide {
		for x := range caseSide {
			var v [3]uint8
			for c := range v {
				s := light(x, y, c)/2 + (light(x-1, y, c)+light(x+1, y, c)+light(x, y-1, c)+light(x, y+1, c))/8
				v[c] = uint8(min(255, max(0, 255*s+1.3*t.rng.NormFloat64()+0.5)))
			}
			img.SetRGBA(x, y, color.RGBA{v[0], v[1], v[2], 255})
		}
	}
	out, err := synth.JPEG(img, 80)
	require.NoError(test, err)
	return out
}

func unit(v od) od {
	n := math.Sqrt(dot(v, v))
	return od{v[0] / n, v[1] / n, v[2] / n}
}

func dot(a, b od) float64 { return a[0]*b[0] + a[1]*b[1] + a[2]*b[2] }

// lattice is a random number between 0 and 1 of a place.
func lattice(seed uint64, x, y int, k uint64) float64 {
	v := seed + k*0x9E3779B97F4A7C15 + uint64(uint32(x))<<32 + uint64(uint32(y))
	v = (v ^ v>>30) * 0xBF58476D1CE4E5B9
	v = (v ^ v>>27) * 0x94D049BB133111EB
	return float64((v^v>>31)>>11) / (1 << 53)
}

// noise is smooth noise between 0 and 1.
func noise(seed uint64, x, y float64) float64 {
	ix, iy := int(math.Floor(x)), int(math.Floor(y))
	fx, fy := x-math.Floor(x), y-math.Floor(y)
	fx, fy = fx*fx*(3-2*fx), fy*fy*(3-2*fy)
	top := lattice(seed, ix, iy, 0)*(1-fx) + lattice(seed, ix+1, iy, 0)*fx
	low := lattice(seed, ix, iy+1, 0)*(1-fx) + lattice(seed, ix+1, iy+1, 0)*fx
	return top*(1-fy) + low*fy
}

// walls returns how far a place is from the wall between two cells, in cells.
func walls(seed uint64, x, y float64) float64 {
	first, second := 9.0, 9.0
	for j := int(math.Floor(y)) - 1; j <= int(math.Floor(y))+1; j++ {
		for i := int(math.Floor(x)) - 1; i <= int(math.Floor(x))+1; i++ {
			d := math.Hypot(float64(i)+0.15+0.7*lattice(seed, i, j, 1)-x, float64(j)+0.15+0.7*lattice(seed, i, j, 2)-y)
			if d < first {
				first, second = d, first
			} else {
				second = min(second, d)
			}
		}
	}
	return second - first
}
