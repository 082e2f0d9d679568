// Package rng draws random numbers that are the same on every machine and
// every version of Go, from named streams.
//
// A stream belongs to a seed and a name, such as a picture's and a setting's,
// so that what is drawn for one picture does not depend on the others or on
// the order of the work.
//
//	r := rng.New(seed, "prompts", picture)
//	i := r.IntN(10)
package rng

import "math/bits"

// Source is a stream of random numbers (splitmix64). It is not safe for use by
// several goroutines.
type Source struct{ state uint64 }

// New returns the stream of a seed and a name in parts.
func New(seed uint64, name ...string) *Source {
	h := uint64(14695981039346656037) // FNV-1a, a zero byte after each part
	for _, part := range name {
		for i := range len(part) {
			h = (h ^ uint64(part[i])) * 1099511628211
		}
		h *= 1099511628211
	}
	s := &Source{state: seed ^ h}
	s.state = s.Uint64()
	return s
}

// Uint64 returns 64 random bits.
func (s *Source) Uint64() uint64 {
	s.state += 0x9E3779B97F4A7C15
	z := s.state
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// IntN returns a number from 0 to n-1. It panics if n is not positive.
func (s *Source) IntN(n int) int {
	if n <= 0 {
		panic("rng: IntN of a number that is not positive")
	}
	hi, _ := bits.Mul64(s.Uint64(), uint64(n)) // off from uniform by less than n / 2^64
	return int(hi)
}

// Float64 returns a number in [0, 1), a multiple of 2^-53.
func (s *Source) Float64() float64 { return float64(s.Uint64()>>11) / (1 << 53) }

// Sample returns k different numbers from 0 to n-1 in random order, all of
// them if k is more than n.
func (s *Source) Sample(n, k int) []int {
	k = min(k, n)
	moved := map[int]int{} // Fisher-Yates on a list that exists only where it was touched
	at := func(i int) int {
		if v, ok := moved[i]; ok {
			return v
		}
		return i
	}
	out := make([]int, max(k, 0))
	for i := range out {
		j := i + s.IntN(n-i)
		out[i] = at(j)
		moved[j] = at(i)
	}
	return out
}
