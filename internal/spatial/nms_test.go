package spatial_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/slidesam/sam/internal/spatial"
)

// TestBoxNMS compares the grid of buckets with all pairs.
func TestBoxNMS(t *testing.T) {
	assert.Equal(t, []int{1, 0}, spatial.BoxNMS([][4]float32{{0, 0, 9, 9}, {20, 0, 29, 9}}, []float32{1, 2}, 0.5))
	assert.Equal(t, []int{0}, spatial.BoxNMS([][4]float32{{0, 0, 9, 9}, {0, 0, 9, 9}}, []float32{1, 1}, 0.5), "a tie keeps the first")
	assert.Equal(t, []int{0, 1}, spatial.BoxNMS([][4]float32{{3, 3, 3, 3}, {3, 3, 3, 3}}, []float32{1, 1}, 0.1), "boxes without an area")
	assert.Empty(t, spatial.BoxNMS(nil, nil, 0.5))
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		n := rng.IntN(300)
		boxes, scores := make([][4]float32, n), make([]float32, n)
		for i := range boxes {
			x, y := float32(rng.IntN(200)), float32(rng.IntN(1000))
			boxes[i] = [4]float32{x, y, x + float32(rng.IntN(60)), y + float32(rng.IntN(60))}
			scores[i] = float32(rng.IntN(20))
		}
		thresh := rng.Float64()
		assert.Equal(t, allPairs(boxes, scores, thresh), spatial.BoxNMS(boxes, scores, thresh))
	}
}

// allPairs is torchvision's loop.
func allPairs(boxes [][4]float32, scores []float32, thresh float64) []int {
	keep := []int{}
	gone := make([]bool, len(boxes))
	for {
		best := -1
		for i := range boxes {
			if !gone[i] && (best < 0 || scores[i] > scores[best]) {
				best = i
			}
		}
		if best < 0 {
			return keep
		}
		keep = append(keep, best)
		gone[best] = true
		a := boxes[best]
		for j, b := range boxes {
			w := max(0, min(a[2], b[2])-max(a[0], b[0]))
			h := max(0, min(a[3], b[3])-max(a[1], b[1]))
			inter := w * h
			if float64(inter/((a[2]-a[0])*(a[3]-a[1])+(b[2]-b[0])*(b[3]-b[1])-inter)) > thresh {
				gone[j] = true
			}
		}
	}
}
