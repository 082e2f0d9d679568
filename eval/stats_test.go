package eval_test

import (
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/sbinet/npyio/npz"
	"github.com/slidesam/sam/eval"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Means, deviations, medians and signed-rank tests against numpy and SciPy.
func TestGoldenStatistics(t *testing.T) {
	f, err := os.Open("testdata/stats.npz")
	require.NoError(t, err)
	defer f.Close()
	st, err := f.Stat()
	require.NoError(t, err)
	r, err := npz.NewReader(f, st.Size())
	require.NoError(t, err)
	var version, lengths []int64
	var diff, score, values []float64
	for name, dst := range map[string]any{"version": &version, "lengths": &lengths, "diff": &diff, "score": &score, "values": &values} {
		require.NoError(t, r.Read(name+".npy", dst))
	}
	require.Equal(t, []int64{goldenVersion}, version, "run testdata/make.py")
	require.Greater(t, len(lengths), 80)
	at, exactly, normal := 0, 0, 0
	for i, n := range lengths {
		d, x, want := diff[at:at+int(n)], score[at:at+int(n)], values[5*i:5*i+5]
		at += int(n)
		s, err := eval.Summarise(x, nil, eval.Bootstrap{Resamples: 50})
		require.NoError(t, err)
		require.InDelta(t, want[0], s.Mean, 1e-12)
		require.InDelta(t, want[1], s.SD, 1e-12)
		require.InDelta(t, want[2], s.Median, 1e-12)
		w, err := eval.Wilcoxon(d, make([]float64, n))
		require.NoError(t, err)
		require.Equal(t, want[3], w.Statistic, "column %d", i)
		require.InEpsilon(t, want[4], w.P, 1e-9, "column %d: %+v", i, w)
		if w.Exact {
			exactly++
		} else {
			normal++
		}
	}
	assert.Greater(t, exactly, 30)
	assert.Greater(t, normal, 20)
}

func TestSummariseLeavesOutNaNAndSaysSo(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	s, err := eval.Summarise([]float64{1, nan, 3}, nil, eval.Bootstrap{})
	require.NoError(t, err)
	assert.Equal(t, []int{2, 1, 0}, []int{s.N, s.NaN, s.Inf})
	assert.Equal(t, 2.0, s.Mean)
	s, err = eval.Summarise([]float64{1, 2, inf}, nil, eval.Bootstrap{})
	require.NoError(t, err)
	assert.Equal(t, []int{3, 0, 1}, []int{s.N, s.NaN, s.Inf})
	assert.True(t, math.IsInf(s.Mean, 1))
	assert.Equal(t, 2.0, s.Median)
	s, err = eval.Summarise([]float64{nan}, nil, eval.Bootstrap{})
	require.NoError(t, err)
	assert.Zero(t, s.N)
	assert.True(t, math.IsNaN(s.Mean) && math.IsNaN(s.Low))
	_, err = eval.Summarise([]float64{1}, []string{"a", "b"}, eval.Bootstrap{})
	require.EqualError(t, err, "eval: summarise: 2 groups for 1 values")
	_, err = eval.Summarise([]float64{1}, nil, eval.Bootstrap{Confidence: 2})
	require.Error(t, err)
}

// The interval must be that of the normal approximation for many mild values,
// wider when the values come in patients, and the same for the same seed.
func TestBootstrapInterval(t *testing.T) {
	const n = 400
	v, g := make([]float64, n), make([]string, n)
	for i := range v {
		v[i] = math.Mod(float64(i)*0.6180339887498949, 1) // evenly spread over 0..1
		g[i] = fmt.Sprint("patient ", int(v[i]*20))       // like with like
	}
	s, err := eval.Summarise(v, nil, eval.Bootstrap{Resamples: 4000, Seed: 1})
	require.NoError(t, err)
	half := 1.96 * s.SD / math.Sqrt(n)
	assert.InDelta(t, s.Mean-half, s.Low, half/10) // Monte Carlo error is about half/45
	assert.InDelta(t, s.Mean+half, s.High, half/10)
	again, err := eval.Summarise(v, nil, eval.Bootstrap{Resamples: 4000, Seed: 1})
	require.NoError(t, err)
	assert.Equal(t, s, again)
	other, err := eval.Summarise(v, nil, eval.Bootstrap{Resamples: 4000, Seed: 2})
	require.NoError(t, err)
	assert.NotEqual(t, s.Low, other.Low)
	by, err := eval.Summarise(v, g, eval.Bootstrap{Resamples: 4000, Seed: 1})
	require.NoError(t, err)
	assert.Equal(t, 20, by.Groups)
	assert.Greater(t, by.High-by.Low, 3*(s.High-s.Low))
}

func TestAdjustedP(t *testing.T) {
	p := []float64{0.01, 0.04, math.NaN(), 0.03, 0.005}
	assert.InDeltaSlice(t, []float64{0.03, 0.06, 0.06, 0.02}, without(eval.Holm(p), 2), 1e-12)
	assert.InDeltaSlice(t, []float64{0.02, 0.04, 0.04, 0.02}, without(eval.BenjaminiHochberg(p), 2), 1e-12)
	assert.True(t, math.IsNaN(eval.Holm(p)[2]))
	assert.Empty(t, eval.Holm(nil))
}

func without(v []float64, i int) []float64 { return append(append([]float64{}, v[:i]...), v[i+1:]...) }

func TestWilcoxonOfEqualScores(t *testing.T) {
	w, err := eval.Wilcoxon([]float64{1, 2, math.NaN()}, []float64{1, 2, 3})
	require.NoError(t, err)
	assert.Equal(t, eval.TestResult{Zeros: 2, NaN: 1, P: 1, Exact: true}, w)
	_, err = eval.Wilcoxon([]float64{1}, nil)
	require.Error(t, err)
}

func ExampleWilcoxon() {
	boxes := []float64{0.91, 0.88, 0.93, 0.85, 0.90, 0.87, 0.92}
	points := []float64{0.70, 0.72, 0.69, 0.86, 0.66, 0.71, 0.60}
	w, err := eval.Wilcoxon(boxes, points)
	if err != nil {
		panic(err)
	}
	fmt.Printf("n %d, W %.0f, p %.4f\n", w.N, w.Statistic, w.P)
	// Output: n 7, W 1, p 0.0312
}

func ExampleSummarise() {
	s, err := eval.Summarise([]float64{0.8, 0.9, 0.7, 0.85}, nil, eval.Bootstrap{Seed: 1})
	if err != nil {
		panic(err)
	}
	fmt.Printf("%d pictures, mean %.4f, sd %.4f, median %.3f\n", s.N, s.Mean, s.SD, s.Median)
	// Output: 4 pictures, mean 0.8125, sd 0.0854, median 0.825
}
