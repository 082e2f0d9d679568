package region_test

import (
	"fmt"
	"image"
	"testing"

	"github.com/slidesam/sam/eval/internal/region"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestMeasure(t *testing.T) {
	pix := []int32{
		7, 7, 0, 2,
		0, 7, 0, 2,
		0, 0, 0, 7,
	}
	got := region.Measure(pix, 3, 4)
	require.Len(t, got, 2)
	assert.Equal(t, region.Region{ID: 2, Area: 2, Box: image.Rect(3, 0, 4, 2), SumX: 6, SumY: 1}, got[0])
	assert.Equal(t, region.Region{ID: 7, Area: 4, Box: image.Rect(0, 0, 4, 3), SumX: 5, SumY: 3}, got[1])
	x, y := got[1].Centroid()
	assert.Equal(t, []float64{1.25, 0.75}, []float64{x, y})
	assert.Empty(t, region.Measure(nil, 0, 0))
}

// Components are right if neighbours agree and every part is one piece; the
// second follows from numbers being given by flood filling, so count pieces by
// another way: union-find.
func TestComponentsAgainstUnionFind(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w := rapid.IntRange(0, 9).Draw(t, "h"), rapid.IntRange(0, 9).Draw(t, "w")
		eight := rapid.Bool().Draw(t, "eight")
		pix := rapid.SliceOfN(rapid.Int32Range(0, 2), h*w, h*w).Draw(t, "pix")
		parent := make([]int, h*w)
		for i := range parent {
			parent[i] = i
		}
		var root func(i int) int
		root = func(i int) int {
			if parent[i] != i {
				parent[i] = root(parent[i])
			}
			return parent[i]
		}
		for i := range pix {
			for j := range i {
				dx, dy := i%w-j%w, i/w-j/w
				d := dx*dx + dy*dy
				if pix[i] != 0 && pix[i] == pix[j] && (d == 1 || eight && d == 2) {
					parent[root(i)] = root(j)
				}
			}
		}
		roots := map[int]bool{}
		for i, v := range pix {
			if v != 0 {
				roots[root(i)] = true
			}
		}
		out, n := region.Split(pix, h, w, eight)
		require.Equal(t, len(roots), n)
		top := int32(0)
		for i, v := range out {
			require.Equal(t, pix[i] == 0, v == 0)
			require.LessOrEqual(t, v, top+1, "numbers follow first pixels")
			top = max(top, v)
			for j := range i {
				if v != 0 {
					require.Equal(t, root(i) == root(j) && pix[j] != 0, v == out[j])
				}
			}
		}
	})
}

func TestErode(t *testing.T) {
	set := make([]bool, 25)
	for i := range set {
		set[i] = true
	}
	count := func(v []bool) (n int) {
		for _, s := range v {
			if s {
				n++
			}
		}
		return n
	}
	assert.Equal(t, 25, count(region.Erode(set, 5, 5, 0)))
	assert.Equal(t, 9, count(region.Erode(set, 5, 5, 1)))
	assert.Equal(t, 1, count(region.Erode(set, 5, 5, 2)))
	assert.Equal(t, 0, count(region.Erode(set, 5, 5, 3)))
	assert.Equal(t, 16, count(region.Edges(set, 5, 5)))
	assert.Equal(t, 1, count(region.Edges([]bool{true}, 1, 1)))
}

func ExampleComponents() {
	set := []bool{true, false, true, false, true, true}
	_, four := region.Components(set, 2, 3, false)
	_, eight := region.Components(set, 2, 3, true)
	fmt.Println(four, eight)
	// Output: 2 1
}
