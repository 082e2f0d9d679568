package eval

import (
	"fmt"
	"math"
	"slices"

	"github.com/slidesam/sam/eval/internal/rng"
)

// Summary describes one column of scores.
type Summary struct {
	N         int     // values that count
	NaN       int     // values left out, since the score is undefined there
	Inf       int     // of the N, those that are infinite; they make the mean infinite
	Groups    int     // pictures or patients that were resampled
	Mean      float64 // NaN if N is 0
	SD        float64 // with N-1; NaN below two values
	Median    float64
	Low, High float64 // confidence interval of the mean
}

// Bootstrap says how a confidence interval is drawn. The zero value means
// 2,000 resamples, 95 %, seed 0.
type Bootstrap struct {
	Resamples  int
	Confidence float64 // 0.95 for 95 %
	Seed       uint64
}

// Summarise returns n, mean, standard deviation, median and the percentile
// bootstrap confidence interval of the mean. NaN is left out and counted, never
// taken for a score.
//
// Groups, nil or one name per value, says which values belong together, the
// pictures of one patient for instance: whole groups are resampled, and the
// mean is over all values drawn. Nil makes each value its own group. The
// interval depends on the values, their order and the seed alone.
func Summarise(values []float64, groups []string, b Bootstrap) (Summary, error) {
	if groups != nil && len(groups) != len(values) {
		return Summary{}, fmt.Errorf("eval: summarise: %d groups for %d values", len(groups), len(values))
	}
	if b.Resamples == 0 {
		b.Resamples = 2000
	}
	if b.Confidence == 0 {
		b.Confidence = 0.95
	}
	if b.Resamples < 1 || !(b.Confidence > 0 && b.Confidence < 1) {
		return Summary{}, fmt.Errorf("eval: summarise: %d resamples at confidence %g, want 1 or more and 0 to 1", b.Resamples, b.Confidence)
	}
	s := Summary{Mean: math.NaN(), SD: math.NaN(), Median: math.NaN(), Low: math.NaN(), High: math.NaN()}
	var kept []float64
	var sums []float64 // of each group
	var sizes []int
	index := map[string]int{}
	for i, v := range values {
		if math.IsNaN(v) {
			s.NaN++
			continue
		}
		if math.IsInf(v, 0) {
			s.Inf++
		}
		kept = append(kept, v)
		g, known := len(sums), false
		if groups != nil {
			if g, known = index[groups[i]]; !known {
				g = len(sums)
				index[groups[i]] = g
			}
		}
		if !known {
			sums, sizes = append(sums, 0), append(sizes, 0)
		}
		sums[g] += v
		sizes[g]++
	}
	s.N, s.Groups = len(kept), len(sums)
	if s.N == 0 {
		return s, nil
	}
	s.Mean = pairwiseSum(kept) / float64(s.N)
	if s.N > 1 {
		ss := make([]float64, s.N)
		for i, v := range kept {
			ss[i] = (v - s.Mean) * (v - s.Mean)
		}
		s.SD = math.Sqrt(pairwiseSum(ss) / float64(s.N-1))
	}
	slices.Sort(kept)
	s.Median = percentile(kept, 50)
	if s.Groups > 1 {
		means := resampledMeans(sums, sizes, b)
		s.Low = percentile(means, 50*(1-b.Confidence))
		s.High = percentile(means, 50*(1+b.Confidence))
	}
	return s, nil
}

func resampledMeans(sums []float64, sizes []int, b Bootstrap) []float64 {
	r := rng.New(b.Seed, "bootstrap")
	means := make([]float64, b.Resamples)
	for i := range means {
		sum, n := 0.0, 0
		for range sums {
			g := r.IntN(len(sums))
			sum += sums[g]
			n += sizes[g]
		}
		means[i] = sum / float64(n)
	}
	slices.Sort(means)
	return means
}

// TestResult is the outcome of a paired test.
type TestResult struct {
	N         int     // pairs that differ
	Zeros     int     // pairs without a difference, left out
	NaN       int     // pairs with a NaN, left out
	Statistic float64 // the smaller sum of ranks
	P         float64 // two-sided; 1 if no pair differs
	Exact     bool    // from the exact distribution, else the normal one
}

// Wilcoxon compares two scores of the same pictures with the signed-rank test,
// two-sided. Pairs without a difference are left out (Wilcoxon's own rule);
// equal differences share their mean rank. Up to 50 pairs the distribution is
// exact, ties included; above it is normal with the correction for ties and
// without one for continuity, as in SciPy.
func Wilcoxon(a, b []float64) (TestResult, error) {
	if len(a) != len(b) {
		return TestResult{}, fmt.Errorf("eval: wilcoxon: %d and %d scores, want pairs", len(a), len(b))
	}
	var t TestResult
	var d []float64
	for i := range a {
		switch x := a[i] - b[i]; {
		case a[i] == b[i]: // two infinities too
			t.Zeros++
		case math.IsNaN(x):
			t.NaN++
		default:
			d = append(d, x)
		}
	}
	t.N, t.P = len(d), 1
	if t.N == 0 {
		t.Exact = true
		return t, nil
	}
	slices.SortFunc(d, func(x, y float64) int {
		switch x, y := math.Abs(x), math.Abs(y); {
		case x < y:
			return -1
		case x > y:
			return 1
		}
		return 0
	})
	ranks := make([]int, t.N) // doubled, so that mean ranks are whole
	plus, total, ties := 0, 0, 0.0
	for i := 0; i < t.N; {
		j := i + 1
		for j < t.N && math.Abs(d[j]) == math.Abs(d[i]) {
			j++
		}
		for k := i; k < j; k++ {
			ranks[k] = i + 1 + j
			total += ranks[k]
			if d[k] > 0 {
				plus += ranks[k]
			}
		}
		n := float64(j - i)
		ties += n*n*n - n
		i = j
	}
	less := min(plus, total-plus)
	t.Statistic = float64(less) / 2
	if t.N <= 50 {
		t.Exact = true
		t.P = min(1, 2*signedRankCDF(ranks, less))
		return t, nil
	}
	n := float64(t.N)
	se := math.Sqrt((n*(n+1)*(2*n+1) - ties/2) / 24)
	t.P = min(1, math.Erfc(math.Abs(t.Statistic-n*(n+1)/4)/se/math.Sqrt2))
	return t, nil
}

// signedRankCDF returns the chance that the ranks with a random sign each sum
// up to w or less. Counts up to 2^50 are exact in float64.
func signedRankCDF(ranks []int, w int) float64 {
	count := make([]float64, w+1)
	count[0] = 1
	for _, r := range ranks {
		for s := w; s >= r; s-- {
			count[s] += count[s-r]
		}
	}
	sum := 0.0
	for _, c := range count {
		sum += c
	}
	return math.Ldexp(sum, -len(ranks))
}

// Holm returns p-values adjusted for several tests by Holm's step-down method,
// in the order given. NaN stays NaN and counts as no test.
func Holm(p []float64) []float64 {
	order := ascending(p)
	out := filled(len(p), math.NaN())
	worst := 0.0
	for rank, i := range order {
		worst = max(worst, min(1, p[i]*float64(len(order)-rank)))
		out[i] = worst
	}
	return out
}

// BenjaminiHochberg returns p-values adjusted for the false discovery rate, in
// the order given. NaN stays NaN and counts as no test.
func BenjaminiHochberg(p []float64) []float64 {
	order := ascending(p)
	out := filled(len(p), math.NaN())
	best := 1.0
	for rank := len(order) - 1; rank >= 0; rank-- {
		i := order[rank]
		best = min(best, p[i]*float64(len(order))/float64(rank+1))
		out[i] = best
	}
	return out
}

func ascending(p []float64) []int {
	var order []int
	for i, v := range p {
		if !math.IsNaN(v) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case p[a] < p[b]:
			return -1
		case p[a] > p[b]:
			return 1
		}
		return 0
	})
	return order
}

func filled(n int, v float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = v
	}
	return out
}
