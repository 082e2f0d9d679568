package rng_test

import (
	"fmt"
	"testing"

	"github.com/slidesam/sam/eval/internal/rng"
	"github.com/stretchr/testify/assert"
)

func TestStreamsDiffer(t *testing.T) {
	seen := map[uint64]string{}
	for _, seed := range []uint64{0, 1, 2} {
		for _, name := range [][]string{nil, {""}, {"a"}, {"b"}, {"ab"}, {"a", "b"}, {"", "ab"}} {
			v := rng.New(seed, name...).Uint64()
			assert.NotContains(t, seen, v, "%d %q", seed, name)
			seen[v] = fmt.Sprint(seed, name)
		}
	}
}

func TestUniform(t *testing.T) {
	r := rng.New(7)
	var count [10]int
	sum := 0.0
	const n = 100000
	for range n {
		count[r.IntN(10)]++
		sum += r.Float64()
	}
	for i, c := range count {
		assert.InDelta(t, n/10, c, 500, "value %d", i) // five standard deviations
	}
	assert.InDelta(t, 0.5, sum/n, 0.005)
}

func TestSample(t *testing.T) {
	r := rng.New(3)
	for range 200 {
		got := r.Sample(10, 7)
		assert.Len(t, got, 7)
		seen := map[int]bool{}
		for _, v := range got {
			assert.True(t, v >= 0 && v < 10 && !seen[v])
			seen[v] = true
		}
	}
	assert.ElementsMatch(t, []int{0, 1, 2}, r.Sample(3, 9))
	assert.Empty(t, r.Sample(3, -1))
}

func ExampleNew() {
	r := rng.New(1, "picture 3")
	fmt.Println(r.IntN(1000), r.IntN(1000), r.Sample(5, 5))
	// Output: 419 141 [4 0 3 2 1]
}
