package cohort

import (
	"math"
	"slices"
)

func round(v float64, digits int) float64 {
	f := math.Pow10(digits)
	return math.Round(v*f) / f
}

// quantile returns a quantile of sorted values, between neighbours linearly.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// least is how many slides a group must have for one to be called an outlier.
const least = 5

// fences returns Tukey's fences: outside them, one and a half times the range
// of the middle half beyond it, values are outliers. With fewer than five values
// there are none.
func fences(values []float64) (low, high float64) {
	if len(values) < least {
		return math.Inf(-1), math.Inf(1)
	}
	v := slices.Sorted(slices.Values(values))
	a, b := quantile(v, 0.25), quantile(v, 0.75)
	return a - 1.5*(b-a), b + 1.5*(b-a)
}
