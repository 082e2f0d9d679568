package eval

import (
	"fmt"
	"image"
	"math"
	"slices"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval/internal/edt"
	"github.com/slidesam/sam/eval/internal/region"
)

// SurfaceConvention says whose outline, percentile and mean a distance between
// outlines follows.
type SurfaceConvention uint8

const (
	// SurfaceMONAI takes for the outline the mask's pixels with a 4-neighbour
	// outside; percentiles are linear within each direction, then the larger;
	// the symmetric mean is over the distances of both directions together.
	SurfaceMONAI SurfaceConvention = iota
	// SurfaceMedPy has the same outline and mean, but the percentile is taken
	// over the distances of both directions together, which is mostly
	// smaller.
	SurfaceMedPy
	// SurfaceDeepMind lets the outline run between the pixels, on the corners of
	// the grid, and each element weighs its length; the percentile is the
	// first distance at which that part of the length is reached, in each
	// direction, then the larger.
	SurfaceDeepMind
)

// Surface holds the distances between the outlines of two masks, both ways,
// ascending, in the unit of the spacing. They are +Inf where the other mask is
// empty.
type Surface struct {
	Convention             SurfaceConvention
	TrueToPred, PredToTrue []float64
	TrueLen, PredLen       []float64 // lengths of the elements; nil but for SurfaceDeepMind
}

// NewSurface measures a prediction against the truth. The error wraps ErrSize,
// or says what is wrong with the spacing.
//
// Source: monai.metrics 1.6.1, medpy.metric.binary 0.5.2, surface_distance 0.1.
func NewSurface(truth, pred Mask, c SurfaceConvention, s Spacing) (*Surface, error) {
	s = s.orPixels()
	if err := checkMasks(truth, pred); err != nil {
		return nil, fmt.Errorf("eval: surface: %w", err)
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("eval: surface: %w", err)
	}
	box := truth.bounds().Union(pred.bounds())
	var m surfaceMeter
	return m.measure(truth.crop(box), pred.crop(box), c, s), nil
}

// bounds returns the smallest rectangle around the set pixels.
func (m Mask) bounds() image.Rectangle {
	var box image.Rectangle
	for y := range m.H {
		row := m.Pix[y*m.W : (y+1)*m.W]
		x0 := slices.Index(row, true)
		if x0 < 0 {
			continue
		}
		x1 := m.W
		for !row[x1-1] {
			x1--
		}
		box = box.Union(image.Rect(x0, y, x1, y+1))
	}
	return box
}

// crop returns the pixels of a box inside the mask.
func (m Mask) crop(r image.Rectangle) Mask {
	out := NewMask(sam.Size{H: r.Dy(), W: r.Dx()})
	for y := range out.H {
		copy(out.Pix[y*out.W:(y+1)*out.W], m.Pix[(y+r.Min.Y)*m.W+r.Min.X:])
	}
	return out
}

// surfaceMeter measures one pair of masks after another with the same buffers.
type surfaceMeter struct{ edt edt.Transform }

// measure works on masks that are cropped to the box around both.
func (m *surfaceMeter) measure(truth, pred Mask, c SurfaceConvention, s Spacing) *Surface {
	out := &Surface{Convention: c}
	if c == SurfaceDeepMind {
		te, tl := cornerEdges(truth, s)
		pe, pl := cornerEdges(pred, s)
		h, w := truth.H+1, truth.W+1
		out.TrueToPred, out.TrueLen = sortPairs(m.between(te, pe, h, w, s), pick(te, tl))
		out.PredToTrue, out.PredLen = sortPairs(m.between(pe, te, h, w, s), pick(pe, pl))
		return out
	}
	te, pe := region.Edges(truth.Pix, truth.H, truth.W), region.Edges(pred.Pix, pred.H, pred.W)
	out.TrueToPred = m.between(te, pe, truth.H, truth.W, s)
	out.PredToTrue = m.between(pe, te, truth.H, truth.W, s)
	slices.Sort(out.TrueToPred)
	slices.Sort(out.PredToTrue)
	return out
}

// between returns the distances of the set pixels of from to those of to.
func (m *surfaceMeter) between(from, to []bool, h, w int, s Spacing) []float64 {
	d := m.edt.Squared(to, h, w, s.X, s.Y)
	out := make([]float64, 0, h+w)
	for i, v := range from {
		if v {
			out = append(out, math.Sqrt(d[i]))
		}
	}
	return out
}

// cornerLengths returns the length of the outline that passes a corner of the
// grid, for each code of the four pixels around it.
func cornerLengths(s Spacing) [16]float64 {
	diag := 0.5 * math.Sqrt(s.Y*s.Y+s.X*s.X)
	return [16]float64{
		0b0001: diag, 0b0010: diag, 0b0100: diag, 0b1000: diag,
		0b1110: diag, 0b1101: diag, 0b1011: diag, 0b0111: diag,
		0b0110: 2 * diag, 0b1001: 2 * diag,
		0b0011: s.X, 0b1100: s.X,
		0b0101: s.Y, 0b1010: s.Y,
	}
}

// cornerCode has the bits 8 upper left, 4 upper right, 2 lower left, 1 lower
// right.
func cornerCode(ul, ur, ll, lr bool) int {
	code := 0
	for _, v := range [4]bool{ul, ur, ll, lr} {
		code <<= 1
		if v {
			code |= 1
		}
	}
	return code
}

// cornerEdges marks the grid corners, [H+1, W+1], whose four pixels are not
// alike, and gives each the length of the outline that passes there.
func cornerEdges(m Mask, s Spacing) ([]bool, []float64) {
	length := cornerLengths(s)
	h, w := m.H+1, m.W+1
	set, lens := make([]bool, h*w), make([]float64, h*w)
	for y := range h {
		for x := range w {
			if code := cornerCode(m.At(x-1, y-1), m.At(x, y-1), m.At(x-1, y), m.At(x, y)); code != 0 && code != 15 {
				set[y*w+x], lens[y*w+x] = true, length[code]
			}
		}
	}
	return set, lens
}

func pick(set []bool, v []float64) []float64 {
	var out []float64
	for i, s := range set {
		if s {
			out = append(out, v[i])
		}
	}
	return out
}

// sortPairs sorts by distance, then length.
func sortPairs(d, l []float64) ([]float64, []float64) {
	type pair struct{ d, l float64 }
	ps := make([]pair, len(d))
	for i := range d {
		ps[i] = pair{d[i], l[i]}
	}
	slices.SortFunc(ps, func(a, b pair) int {
		switch {
		case a.d < b.d || a.d == b.d && a.l < b.l:
			return -1
		case a == b:
			return 0
		}
		return 1
	})
	for i, p := range ps {
		d[i], l[i] = p.d, p.l
	}
	return d, l
}

// side says which masks have an outline.
func (s *Surface) empty() (both, one bool) {
	t, p := len(s.TrueToPred) == 0, len(s.PredToTrue) == 0
	return t && p, t != p
}

// Hausdorff returns the largest distance between the outlines, HD. It is +Inf
// if one mask is empty; if both are, e decides (0 for EmptyOne, +Inf for
// EmptyZero).
func (s *Surface) Hausdorff(e Empty) float64 { return s.Percentile(100, e) }

// HD95 returns the 95th percentile of the distances; see Percentile.
func (s *Surface) HD95(e Empty) float64 { return s.Percentile(95, e) }

// Percentile returns a percentile of the distances, 0 < percent <= 100, in the
// way of the convention. Empty masks are as for Hausdorff.
func (s *Surface) Percentile(percent float64, e Empty) float64 {
	if both, one := s.empty(); both {
		return e.distance()
	} else if one {
		return math.Inf(1)
	}
	switch s.Convention {
	case SurfaceMedPy:
		all := append(slices.Clone(s.TrueToPred), s.PredToTrue...)
		slices.Sort(all)
		return percentile(all, percent)
	case SurfaceDeepMind:
		return max(lengthPercentile(s.TrueToPred, s.TrueLen, percent), lengthPercentile(s.PredToTrue, s.PredLen, percent))
	}
	return max(percentile(s.TrueToPred, percent), percentile(s.PredToTrue, percent))
}

// percentile interpolates linearly between the ranks of sorted values.
func percentile(v []float64, percent float64) float64 {
	at := percent / 100 * float64(len(v)-1)
	i := min(max(int(at), 0), len(v)-1)
	part := at - float64(i)
	if i == len(v)-1 || v[i] == v[i+1] || part == 0 { // infinite values too
		return v[i]
	}
	return v[i] + (v[i+1]-v[i])*part
}

func lengthPercentile(v, length []float64, percent float64) float64 {
	total := pairwiseSum(length)
	sum := 0.0
	for i, l := range length {
		sum += l
		if sum/total >= percent/100 {
			return v[i]
		}
	}
	return v[len(v)-1]
}

// ASD returns the mean distance of the prediction's outline to the truth's
// (average surface distance). Empty masks are as for Hausdorff.
func (s *Surface) ASD(e Empty) float64 { return s.mean(s.PredToTrue, s.PredLen, e) }

// ASDTrue returns the mean distance of the truth's outline to the
// prediction's. Empty masks are as for Hausdorff.
func (s *Surface) ASDTrue(e Empty) float64 { return s.mean(s.TrueToPred, s.TrueLen, e) }

// ASSD returns the mean over the distances of both directions (average
// symmetric surface distance), weighted by length for SurfaceDeepMind. Empty
// masks are as for Hausdorff.
func (s *Surface) ASSD(e Empty) float64 {
	return s.mean(append(slices.Clone(s.TrueToPred), s.PredToTrue...),
		append(slices.Clone(s.TrueLen), s.PredLen...), e)
}

func (s *Surface) mean(d, length []float64, e Empty) float64 {
	if both, one := s.empty(); both {
		return e.distance()
	} else if one {
		return math.Inf(1)
	}
	if s.Convention != SurfaceDeepMind {
		return pairwiseSum(d) / float64(len(d))
	}
	sum := 0.0
	for i, v := range d {
		sum += v * length[i]
	}
	return sum / pairwiseSum(length)
}

// Dice returns the normalised surface Dice: the part of both outlines that
// lies within tolerance of the other, tolerance included. It is 0 if one mask
// is empty; if both are, e decides.
func (s *Surface) Dice(tolerance float64, e Empty) float64 {
	th, t := within(s.TrueToPred, s.TrueLen, tolerance)
	ph, p := within(s.PredToTrue, s.PredLen, tolerance)
	return e.Ratio(th+ph, t+p)
}

// Overlaps returns the parts of the truth's and of the prediction's outline
// within tolerance of the other.
func (s *Surface) Overlaps(tolerance float64, e Empty) (truth, pred float64) {
	th, t := within(s.TrueToPred, s.TrueLen, tolerance)
	ph, p := within(s.PredToTrue, s.PredLen, tolerance)
	return e.Ratio(th, t), e.Ratio(ph, p)
}

func within(d, length []float64, tolerance float64) (hit, total float64) {
	n, _ := slices.BinarySearchFunc(d, tolerance, func(v, t float64) int {
		if v <= t {
			return -1
		}
		return 1
	})
	if length == nil {
		return float64(n), float64(len(d))
	}
	return pairwiseSum(length[:n]), pairwiseSum(length)
}

// pairwiseSum adds in halves and in eight lanes, in the order of numpy's sum:
// where the outline's length is reached exactly, the last bit decides which
// element a percentile of SurfaceDeepMind falls on.
func pairwiseSum(v []float64) float64 {
	n := len(v)
	if n > 128 {
		half := n / 2
		half -= half % 8
		return pairwiseSum(v[:half]) + pairwiseSum(v[half:])
	}
	sum := 0.0
	if n >= 8 {
		r := [8]float64(v)
		for i := 8; i+8 <= n; i += 8 {
			for j := range r {
				r[j] += v[i+j]
			}
		}
		sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]))
		v = v[n-n%8:]
	}
	for _, x := range v {
		sum += x
	}
	return sum
}
