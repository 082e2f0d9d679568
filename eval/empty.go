package eval

import (
	"fmt"
	"math"
)

// Empty decides what a score is where its denominator is zero: Dice when truth
// and prediction are both empty, precision when nothing was predicted. Where
// only one side is empty most scores are defined, and are what the formula
// gives (Dice 0); Empty is not asked.
type Empty uint8

const (
	// EmptyNaN leaves the score undefined; means over pictures skip it and
	// count it. This is the default.
	EmptyNaN Empty = iota
	// EmptyOne takes the absence of both for full agreement: scores are 1,
	// distances 0.
	EmptyOne
	// EmptyZero takes it for no agreement: scores are 0, distances infinite.
	EmptyZero
)

// String returns nan, one or zero.
func (e Empty) String() string {
	switch e {
	case EmptyNaN:
		return "nan"
	case EmptyOne:
		return "one"
	case EmptyZero:
		return "zero"
	}
	return fmt.Sprintf("Empty(%d)", uint8(e))
}

// ParseEmpty reads what String writes.
func ParseEmpty(s string) (Empty, error) {
	for _, e := range []Empty{EmptyNaN, EmptyOne, EmptyZero} {
		if e.String() == s {
			return e, nil
		}
	}
	return 0, fmt.Errorf("eval: parse policy for empty pictures: %q, want nan, one or zero", s)
}

// Ratio returns a/b, and the policy's score if b is zero.
func (e Empty) Ratio(a, b float64) float64 {
	if b != 0 {
		return a / b
	}
	switch e {
	case EmptyOne:
		return 1
	case EmptyZero:
		return 0
	}
	return math.NaN()
}

// distance returns the policy's distance where both sides are empty.
func (e Empty) distance() float64 {
	switch e {
	case EmptyOne:
		return 0
	case EmptyZero:
		return math.Inf(1)
	}
	return math.NaN()
}
