package spatial_test

import (
	"fmt"
	"image"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/slidesam/sam/internal/spatial"
)

// TestNear compares with looking at all rectangles.
func TestNear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(label string) image.Rectangle {
			at := rapid.IntRange(-60, 60)
			r := image.Rect(at.Draw(t, label), at.Draw(t, label), at.Draw(t, label), at.Draw(t, label))
			return r
		}
		x := spatial.NewIndex(rapid.IntRange(0, 40).Draw(t, "cell"))
		var in []image.Rectangle
		for i := range rapid.IntRange(0, 20).Draw(t, "n") {
			in = append(in, draw("r"))
			x.Add(i, in[i])
		}
		gone := map[int]bool{}
		for i := range in {
			if rapid.Bool().Draw(t, "remove") {
				gone[i] = true
				x.Remove(i, in[i])
			}
		}
		q := draw("query")
		var got []int
		assert.True(t, x.Near(q, func(id int) bool {
			got = append(got, id)
			return true
		}))
		slices.Sort(got)
		assert.Equal(t, slices.Compact(slices.Clone(got)), got, "none twice")
		for i, r := range in {
			if r.Overlaps(q) && !gone[i] {
				assert.Contains(t, got, i)
			}
			if gone[i] {
				assert.NotContains(t, got, i)
			}
		}
		if len(got) > 0 {
			assert.False(t, x.Near(q, func(int) bool { return false }))
		}
	})
}

func ExampleIndex() {
	x := spatial.NewIndex(10)
	x.Add(7, image.Rect(0, 0, 4, 4))
	x.Add(8, image.Rect(90, 90, 95, 95))
	x.Near(image.Rect(3, 3, 6, 6), func(id int) bool {
		fmt.Println(id)
		return true
	})
	// Output: 7
}
