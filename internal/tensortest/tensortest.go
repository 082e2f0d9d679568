// Package tensortest compares tensors in tests and says where and by how much
// they differ.
//
// Tensors are flat row-major float32 slices; indices in reports are flat.
//
//	tensortest.Close(t, want, got, 1e-6, 1e-5)
//	assert.Less(t, tensortest.RelL2(want, got), 1e-5)
package tensortest

import (
	"fmt"
	"math"
)

// TB is the part of testing.TB that Close reports through.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
}

// Close reports whether got equals want within tolerance and fails t if not.
//
// want and got are [N]. Element i agrees when
//
//	|want[i] - got[i]| <= atol + rtol*|want[i]|
//
// with the difference taken in float64. Infinities agree with infinities of
// the same sign only. A NaN never agrees, not even with a NaN. The report
// names the element that exceeds its tolerance by the largest factor, the size
// of the gap there, how many elements disagree, and the relative L2 distance.
func Close(t TB, want, got []float32, atol, rtol float64) bool {
	t.Helper()
	gap, err := Compare(want, got, atol, rtol)
	if err != nil {
		t.Errorf("%v", err)
		return false
	}
	if gap.Bad > 0 {
		t.Errorf("%s", gap)
		return false
	}
	return true
}

// Gap says how far two tensors are apart.
type Gap struct {
	N         int     // elements compared
	Bad       int     // elements out of tolerance
	Index     int     // flat index of the worst element, -1 if N is 0
	Want, Got float32 // values there
	Excess    float64 // |Want - Got| over its tolerance, +Inf if the tolerance is 0 or a value is not finite
	RelL2     float64 // relative L2 distance of the whole, see RelL2
	ATol      float64 // the tolerance used
	RTol      float64
}

// String returns one line that names the worst element.
func (g Gap) String() string {
	return fmt.Sprintf("%d of %d elements differ by more than %g + %g*|want|; worst at [%d]: want %v, got %v, gap %.3g (%.3g times the tolerance); relative L2 %.3g",
		g.Bad, g.N, g.ATol, g.RTol, g.Index, g.Want, g.Got,
		math.Abs(float64(g.Want)-float64(g.Got)), g.Excess, g.RelL2)
}

// Compare returns the gap between want and got, both [N], under the rule of
// Close. It returns an error if the lengths differ or a tolerance is negative
// or NaN.
func Compare(want, got []float32, atol, rtol float64) (Gap, error) {
	if len(want) != len(got) {
		return Gap{}, fmt.Errorf("tensortest: compare: %d elements, want %d", len(got), len(want))
	}
	if !(atol >= 0) || !(rtol >= 0) {
		return Gap{}, fmt.Errorf("tensortest: compare: tolerance %g + %g*|want| is not a number >= 0", atol, rtol)
	}
	g := Gap{N: len(want), Index: -1, Excess: -1, RelL2: RelL2(want, got), ATol: atol, RTol: rtol}
	for i, w := range want {
		x := excess(w, got[i], atol, rtol)
		if x > 1 {
			g.Bad++
		}
		if x > g.Excess {
			g.Index, g.Want, g.Got, g.Excess = i, w, got[i], x
		}
	}
	return g, nil
}

// excess returns |w-g| over its tolerance: 0 for equal values, above 1 when
// out of tolerance, +Inf when a value is not finite.
func excess(w, g float32, atol, rtol float64) float64 {
	if w == g {
		return 0
	}
	d := math.Abs(float64(w) - float64(g))
	if math.IsNaN(d) || math.IsInf(d, 0) {
		return math.Inf(1)
	}
	return d / (atol + rtol*math.Abs(float64(w)))
}

// RelL2 returns ||want - got|| / ||want|| in the Euclidean norm, summed in
// float64. want and got are [N]. It returns 0 when both are zero or empty, and
// +Inf when the lengths differ, when want is zero and got is not, or when a
// value is not finite, so that a bound on the result never passes by mistake.
func RelL2(want, got []float32) float64 {
	if len(want) != len(got) {
		return math.Inf(1)
	}
	var num, den float64
	for i, w := range want {
		d := float64(w) - float64(got[i])
		num += d * d
		den += float64(w) * float64(w)
	}
	if num == 0 {
		return 0
	}
	if den == 0 || math.IsNaN(num) || math.IsNaN(den) || math.IsInf(den, 0) {
		return math.Inf(1)
	}
	return math.Sqrt(num / den)
}

// MaskDiff returns how many pixels of two binary masks differ, and their share
// of the picture. want and got are [H*W]. Masks of different lengths differ in
// every pixel. The share of an empty mask is 0.
func MaskDiff(want, got []bool) (pixels int, share float64) {
	if len(want) != len(got) {
		return max(len(want), len(got)), 1
	}
	for i, w := range want {
		if w != got[i] {
			pixels++
		}
	}
	if len(want) == 0 {
		return 0, 0
	}
	return pixels, float64(pixels) / float64(len(want))
}
