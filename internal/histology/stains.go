package histology

import (
	"errors"
	"fmt"
	"image"
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"

	"github.com/slidesam/sam/internal/kernel"
)

// Constants of FindStainVectors, those of Macenko et al. but for what is refused.
const (
	stainedLeast = 0.15 / math.Ln10 // optical density of each channel of a stained pixel
	stainShare   = 1                // percent of pixels beyond either stain
	stainPixels  = 1000             // to judge by
	stainPlane   = 2.0              // times as much variance in the plane of both stains than across it, at least
	stainsApart  = 10.0             // degrees between the two at least
	stainsOff    = 25.0             // degrees from those of the training set at most
	stainsKnown  = 15.0             // degrees from them that the model copes with: 24 slides of the training set have 9 at most
)

// ErrNoStains is wrapped by the error for pictures without haematoxylin and
// eosin.
var ErrNoStains = errors.New("no haematoxylin and eosin")

// StainVectors are the optical densities of red, green and blue of two stains,
// of unit length.
type StainVectors struct{ Haematoxylin, Eosin [3]float64 }

// TrainingStains are those of the bundled model's training set: the medians over
// 24 slides of internal/synth at 0.25 micrometres per pixel.
var TrainingStains = StainVectors{[3]float64{0.600, 0.726, 0.336}, [3]float64{0.300, 0.882, 0.364}}

// FindStainVectors returns the stains of opaque pictures of one slide: in the
// plane of the two directions in which the optical densities of stained pixels
// vary most, the directions that all but a hundredth lie between.
//
// The error wraps ErrNoStains if little is stained, by one stain, or by stains
// far from haematoxylin and eosin, as those of immunohistochemistry.
//
// Source: Macenko et al., A method for normalizing histology slides for
// quantitative analysis, ISBI 2009.
func FindStainVectors(pics []*image.RGBA) (StainVectors, error) {
	var none StainVectors
	var stained [][3]float64
	for _, p := range pics {
		for y := range p.Rect.Dy() {
			row := p.Pix[y*p.Stride:]
			for x := range p.Rect.Dx() {
				d := [3]float64{float64(density[row[4*x]]), float64(density[row[4*x+1]]), float64(density[row[4*x+2]])}
				if min(d[0], d[1], d[2]) >= stainedLeast {
					stained = append(stained, d)
				}
			}
		}
	}
	if len(stained) < stainPixels {
		return none, fmt.Errorf("%w: little is stained", ErrNoStains)
	}
	u, v, err := plane(stained)
	if err != nil {
		return none, err
	}
	angles := make([]float64, len(stained))
	for i, d := range stained {
		angles[i] = math.Atan2(dot(d, v), dot(d, u))
	}
	slices.Sort(angles)
	var ends [2][3]float64
	for k, p := range []float64{stainShare, 100 - stainShare} {
		sin, cos := math.Sincos(percentile(angles, p))
		for c := range 3 {
			ends[k][c] = cos*u[c] + sin*v[c]
		}
	}
	out := StainVectors{ends[0], ends[1]}
	if ends[0][0] < ends[1][0] { // haematoxylin takes more of the red light
		out = StainVectors{ends[1], ends[0]}
	}
	return out, out.check()
}

// between is the angle of two directions, in degrees.
func between(a, b [3]float64) float64 { return math.Acos(min(dot(a, b), 1)) * 180 / math.Pi }

// Off returns how many degrees haematoxylin and eosin are from those of another
// slide.
func (s StainVectors) Off(o StainVectors) (h, e float64) {
	return between(s.Haematoxylin, o.Haematoxylin), between(s.Eosin, o.Eosin)
}

// Known reports whether the bundled model copes with such stains as they are.
func (s StainVectors) Known() bool {
	h, e := s.Off(TrainingStains)
	return max(h, e) <= stainsKnown
}

// check reports whether the stains can be haematoxylin and eosin.
func (s StainVectors) check() error {
	if a := between(s.Haematoxylin, s.Eosin); a < stainsApart {
		return fmt.Errorf("%w: one stain, or two that are %.0f degrees apart", ErrNoStains, a)
	}
	h, e := s.Off(TrainingStains)
	if max(h, e) > stainsOff {
		return fmt.Errorf("%w: its stains are %.0f and %.0f degrees from them", ErrNoStains, h, e)
	}
	return nil
}

// plane returns the two directions in which vectors vary most, the first
// towards more of all components. It returns an error if there are none, or if
// they vary about as much in the third, as where colours are blinded.
func plane(vs [][3]float64) (u, v [3]float64, err error) {
	var mean [3]float64
	for _, d := range vs {
		for c := range 3 {
			mean[c] += d[c] / float64(len(vs))
		}
	}
	var sums [9]float64
	for _, d := range vs {
		for a := range 3 {
			for b := range 3 {
				sums[3*a+b] += (d[a] - mean[a]) * (d[b] - mean[b]) / float64(len(vs)-1)
			}
		}
	}
	var e mat.EigenSym
	if !e.Factorize(mat.NewSymDense(3, sums[:]), true) {
		return u, v, fmt.Errorf("%w: its colour does not vary", ErrNoStains)
	}
	if l := e.Values(nil); l[1] <= stainPlane*max(l[0], 0) {
		return u, v, fmt.Errorf("%w: its colours are not those of two stains", ErrNoStains)
	}
	var q mat.Dense
	e.VectorsTo(&q) // by rising variance
	sign := 1.0
	if q.At(0, 2)+q.At(1, 2)+q.At(2, 2) < 0 {
		sign = -1
	}
	for c := range 3 {
		u[c], v[c] = sign*q.At(c, 2), q.At(c, 1)
	}
	return u, v, nil
}

// percentile returns a percentile of sorted values, linear between them.
func percentile(v []float64, p float64) float64 {
	at := p / 100 * float64(len(v)-1)
	i := int(at)
	return v[i] + (at-float64(i))*(v[min(i+1, len(v)-1)]-v[i])
}

func dot(a, b [3]float64) float64 {
	return float64(a[0]*b[0]) + float64(a[1]*b[1]) + float64(a[2]*b[2])
}

// basis returns the two stains, and their normal for what is neither, as the
// columns of a matrix.
func (s StainVectors) basis() *mat.Dense {
	h, e := s.Haematoxylin, s.Eosin
	n := [3]float64{h[1]*e[2] - h[2]*e[1], h[2]*e[0] - h[0]*e[2], h[0]*e[1] - h[1]*e[0]}
	long := math.Sqrt(dot(n, n))
	m := mat.NewDense(3, 3, nil)
	for c := range 3 {
		m.SetRow(c, []float64{h[c], e[c], n[c] / long})
	}
	return m
}

// NormaliseStains gives an opaque picture with the stains from, of different
// directions, the stains to. Each pixel keeps the amounts of both that it has,
// and what is neither.
//
// Macenko et al. also bring the amounts to those of a reference, and drop what
// is neither.
func NormaliseStains(pic *image.RGBA, from, to StainVectors) error {
	var inv, m mat.Dense
	if err := inv.Inverse(from.basis()); err != nil {
		return fmt.Errorf("%w: %w", ErrNoStains, err)
	}
	m.Mul(to.basis(), &inv)
	var rows [3][3]float64
	for c := range rows {
		copy(rows[c][:], m.RawRowView(c))
	}
	kernel.Parallel(pic.Rect.Dy(), func(y int) {
		row := pic.Pix[y*pic.Stride:]
		for x := range pic.Rect.Dx() {
			p := row[4*x : 4*x+3]
			d := [3]float64{float64(density[p[0]]), float64(density[p[1]]), float64(density[p[2]])}
			for c := range p {
				p[c] = uint8(min(max(256*math.Exp(-math.Ln10*dot(rows[c], d))-0.5, 0), 255))
			}
		}
	})
	return nil
}
