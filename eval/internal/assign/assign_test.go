package assign_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/slidesam/sam/eval/internal/assign"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// best is the largest weight of any assignment, by trying them all.
func best(rows int, used uint, w [][]float64) float64 {
	if rows == 0 {
		return 0
	}
	row := w[len(w)-rows]
	m := best(rows-1, used, w)
	for c, x := range row {
		if x > 0 && used&(1<<c) == 0 {
			m = max(m, x+best(rows-1, used|1<<c, w))
		}
	}
	return m
}

func TestMaxAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows, cols := rapid.IntRange(0, 6).Draw(t, "rows"), rapid.IntRange(0, 6).Draw(t, "cols")
		w := make([][]float64, rows)
		var edges []assign.Edge
		for r := range w {
			w[r] = make([]float64, cols)
			for c := range w[r] {
				// few distinct weights, so that ties are common
				w[r][c] = float64(rapid.IntRange(0, 5).Draw(t, "w")) / 4
				if w[r][c] > 0 {
					edges = append(edges, assign.Edge{Row: r, Col: c, Weight: w[r][c]})
				}
			}
		}
		match := assign.Max(rows, cols, edges)
		require.Len(t, match, rows)
		var sum float64
		seen := map[int]bool{}
		for r, c := range match {
			if c < 0 {
				continue
			}
			require.False(t, seen[c], "column %d twice", c)
			seen[c] = true
			require.Positive(t, w[r][c], "edge %d-%d does not exist", r, c)
			sum += w[r][c]
		}
		require.InDelta(t, best(rows, 0, w), sum, 1e-12) // sums of quarters: exact but for the potentials
	})
}

func TestMaxIgnoresUselessEdges(t *testing.T) {
	got := assign.Max(2, 2, []assign.Edge{{Row: 0, Col: 0, Weight: 0}, {Row: 1, Col: 1, Weight: -1}})
	assert.Equal(t, []int{-1, -1}, got)
	assert.Empty(t, assign.Max(0, 3, nil))
}

func ExampleMax() {
	match := assign.Max(2, 2, []assign.Edge{{0, 0, 0.9}, {0, 1, 0.8}, {1, 0, 0.7}})
	fmt.Println(match)
	// Output: [1 0]
}

// A chain in which each row overlaps with two columns is one connected block.
func BenchmarkMax(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprintf("chain/n=%d", n), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			var edges []assign.Edge
			for i := range n {
				edges = append(edges, assign.Edge{Row: i, Col: i, Weight: r.Float64()})
				edges = append(edges, assign.Edge{Row: i, Col: (i + 1) % n, Weight: r.Float64()})
			}
			b.ReportAllocs()
			for b.Loop() {
				assign.Max(n, n, edges)
			}
		})
	}
}
