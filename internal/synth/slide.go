package synth

import (
	"image"
	"math"
)

// Options choose what a slide is like. The zero value is a slide of
// 100,000 x 100,000 pixels at 0.25 micrometres, without artefacts.
type Options struct {
	Width, Height int     // level-0 pixels; 0: 100,000
	MPP           float64 // micrometres per level-0 pixel; 0: 0.25
	Artefacts     bool    // pen strokes, folds and bubbles
	Solid         bool    // tissue fills the slide: no glass around it
}

// Slide is one synthetic slide. It is immutable and safe for any number of
// goroutines.
type Slide struct {
	seed          uint64
	o             Options
	width, height float64 // [µm]
	st            style
	cut           cuts
}

// New returns the slide of a seed. Equal seeds and options give equal pixels.
func New(seed uint64, o Options) *Slide {
	if o.Width <= 0 {
		o.Width = 100000
	}
	if o.Height <= 0 {
		o.Height = 100000
	}
	if !(o.MPP > 0) {
		o.MPP = 0.25
	}
	s := &Slide{seed: seed, o: o, width: float64(o.Width) * o.MPP, height: float64(o.Height) * o.MPP, st: newStyle(seed)}
	s.cut = newCuts(&s.st)
	return s
}

// MPP returns the micrometres per pixel of level 0.
func (s *Slide) MPP() float64 { return s.o.MPP }

// Bounds returns the slide's level-0 rectangle in pixels.
func (s *Slide) Bounds() image.Rectangle { return image.Rect(0, 0, s.o.Width, s.o.Height) }

// Level returns the size in pixels and the mpp of a pyramid level: level k is
// 2^k times coarser than level 0.
func (s *Slide) Level(k int) (w, h int, mpp float64) {
	d := math.Ldexp(1, k)
	return int(math.Ceil(float64(s.o.Width) / d)), int(math.Ceil(float64(s.o.Height) / d)), s.o.MPP * d
}

// Kind is a nucleus's cell type.
type Kind uint8

// The cell types.
const (
	Stromal Kind = iota
	Lymphocyte
	Epithelial
	Tumour
	Endothelial
	Stray // histiocytes and other round cells of the stroma
)

var kindNames = [...]string{"stromal", "lymphocyte", "epithelial", "tumour", "endothelial", "stray"}

// String returns the type's name.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// Nucleus is one nucleus of a region's truth.
type Nucleus struct {
	ID   uint64  // the same in every region and at every scale
	X, Y float64 // centre in pixels of the region's picture; may lie outside it
	Kind Kind
	Area int // visible pixels in the region
}

// Truth is what a region's picture shows. All maps are row-major [H, W].
type Truth struct {
	W, H   int
	Nuclei []int32   // 0: none; else 1 + index into List
	List   []Nucleus // nuclei with at least one pixel in the region
	Glands []int32   // 0: none; else a number in 1..GlandN, epithelium and lumen
	GlandN int       // glands with at least one pixel in the region
	Tumour []bool    // tumour regions, septa between nests included, whole glands
	Tissue []bool    // not glass, nor the faintest fringe; fat and lumens are tissue
}

// style is what a slide's seed decides for the whole slide.
type style struct {
	hVec, eVec    [3]float64 // optical density per unit of stain, R G B
	light         [3]float64 // intensity of clear glass, 0..1
	hGain, eGain  float64
	tilt, tiltAng float64 // uneven light
	blur, noise   float64 // [µm], grey levels of 255
	size          float64 // scale of all nuclei
	vesicular     float64 // share of pale nuclei with a dark rim
	contrast      float64 // darkness of nuclei
	baso          float64 // haematoxylin of the cytoplasm
	loose         float64 // share of clefts in the stroma
	cellular      float64 // share of stroma cells present
	glandP        float64 // share of gland sites in use
	glandR        float64 // mean gland radius [µm]
	tumourP       float64 // share of tumour
	solid         float64 // share of nest in tumour, off its border
	fatP          float64
	lymphP        float64
	atypia        float64
	base          float64 // base direction of the fibres
	wave          float64 // fibre waviness [µm]
	grain         float64 // strength of cytoplasm texture
	foam          float64 // share of bubbles in cytoplasm
	rbc           float64 // loose red cells in the stroma
}

func newStyle(seed uint64) style {
	r := cellRNG(seed, 1, 0, 0)
	unit := func(v [3]float64, sd float64) [3]float64 {
		n := 0.0
		for i := range v {
			v[i] = math.Max(0.02, v[i]+r.gauss(0, sd))
			n += v[i] * v[i]
		}
		for i := range v {
			v[i] /= math.Sqrt(n)
		}
		return v
	}
	s := style{}
	t := r.f() // between two published haematoxylins
	s.hVec = unit([3]float64{lerp(0.66, 0.50, t), lerp(0.68, 0.79, t), lerp(0.29, 0.36, t)}, 0.03)
	t = r.f()
	s.eVec = unit([3]float64{lerp(0.10, 0.36, t), lerp(0.92, 0.84, t), lerp(0.30, 0.42, t)}, 0.03)
	for i := range s.light {
		s.light[i] = r.in(0.91, 0.985)
	}
	s.hGain, s.eGain = r.in(0.65, 1.45), r.in(0.5, 1.25)
	s.tilt, s.tiltAng = r.in(0, 0.05), r.in(0, 2*math.Pi)
	s.blur, s.noise = r.in(0.1, 0.34), r.in(0.6, 3)
	s.size = r.in(0.74, 1.08)
	s.vesicular = r.f() * r.f()
	s.contrast = r.in(0.75, 1.3)
	s.baso = r.in(0.02, 0.34)
	s.loose = r.in(0.03, 0.6)
	s.cellular = r.in(0.3, 0.95)
	s.glandP, s.glandR = r.in(0.2, 1), r.in(30, 75)
	s.tumourP, s.solid = r.in(0.2, 0.6), r.in(0.45, 0.85)
	s.fatP, s.lymphP = r.in(0, 0.3), r.in(0.03, 0.3)
	s.atypia = r.f()
	s.base, s.wave = r.in(0, math.Pi), r.in(25, 110)
	s.grain, s.foam = r.in(0.6, 1.5), r.f()*r.f()
	s.rbc = r.f() * r.f()
	return s
}
