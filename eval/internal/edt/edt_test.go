package edt_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/slidesam/sam/eval/internal/edt"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func brute(set []bool, h, w int, sx, sy float64) []float64 {
	out := make([]float64, h*w)
	for i := range out {
		out[i] = math.Inf(1)
		for j, s := range set {
			if s {
				dx, dy := float64(i%w-j%w)*sx, float64(i/w-j/w)*sy
				out[i] = min(out[i], dx*dx+dy*dy)
			}
		}
	}
	return out
}

func TestSquaredAgainstBruteForce(t *testing.T) {
	var tr edt.Transform // shared: buffers of another size must not shine through
	rapid.Check(t, func(t *rapid.T) {
		h, w := rapid.IntRange(0, 14).Draw(t, "h"), rapid.IntRange(0, 14).Draw(t, "w")
		density := rapid.IntRange(0, 20).Draw(t, "density")
		set := make([]bool, h*w)
		for i := range set {
			set[i] = rapid.IntRange(0, 20).Draw(t, "set") < density
		}
		s := rapid.SampledFrom([][2]float64{{1, 1}, {0.5, 0.25}, {3, 0.1}}).Draw(t, "spacing")
		want := brute(set, h, w, s[0], s[1])
		got := tr.Squared(set, h, w, s[0], s[1])
		for i := range want {
			if s[0] == 1 {
				require.Equal(t, want[i], got[i], "pixel %d", i) // integers: exact
			} else if want[i] != got[i] {
				require.InEpsilon(t, want[i], got[i], 1e-12)
			}
		}
	})
}

func ExampleTransform_Squared() {
	var t edt.Transform
	fmt.Println(t.Squared([]bool{true, false, false, false, false, false}, 2, 3, 1, 1))
	// Output: [0 1 4 1 2 5]
}

func BenchmarkSquared(b *testing.B) {
	const n = 1000
	set := make([]bool, n*n)
	for i := range set {
		set[i] = i%37 == 0 && i/n%11 == 0
	}
	var t edt.Transform
	b.ReportAllocs()
	for b.Loop() {
		t.Squared(set, n, n, 1, 1)
	}
}
