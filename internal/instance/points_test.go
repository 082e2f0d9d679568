package instance_test

import (
	"image"
	"math"
	"os"
	"testing"

	"github.com/sbinet/npyio/npz"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/mask"
)

// drawn makes maps whose seeds are the letters of a picture of H rows.
func drawn(rows ...string) instance.Maps {
	m := instance.Maps{H: len(rows), W: len(rows[0])}
	for _, row := range rows {
		for _, c := range row {
			v := float32(0)
			if c != '.' {
				v = 1
			}
			m.Foreground = append(m.Foreground, v)
			m.Centre, m.Boundary = append(m.Centre, 1-v), append(m.Boundary, 1-v)
		}
	}
	return m
}

// TestPoints: worked out by hand from _get_centers.
func TestPoints(t *testing.T) {
	for _, tt := range []struct {
		name string
		rows []string
		want []image.Point
	}{
		{"none", []string{"...", "..."}, []image.Point{}},
		{"the first of the farthest", []string{".........", ".........", "..aaaaa..", "..aaaaa..", "..aaaaa..", "..aaaaa..", ".........", "........."},
			[]image.Point{{3, 3}}},
		// A part at the edge all of which is edge: the corner of its box.
		{"edge", []string{".a", "aa"}, []image.Point{{0, 0}}},
		// Parts that touch at a corner are two, and each other's outlines.
		{"corner", []string{"........", ".aaa....", ".aaa....", ".aaa....", "....bbb.", "....bbb.", "....bbb.", "........"},
			[]image.Point{{2, 2}, {5, 5}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := instance.Points(t.Context(), drawn(tt.rows...), instance.Defaults())
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
	m := drawn("..")
	m.Centre = nil
	_, err := instance.Points(t.Context(), m, instance.Defaults())
	assert.ErrorIs(t, err, instance.ErrMaps)
}

func TestSquaredDistances(t *testing.T) {
	const h, w = 23, 31
	marked := make([]bool, h*w)
	for i := range marked {
		marked[i] = i*i%97 == 4
	}
	got := instance.SquaredDistances(marked, h, w)
	for i, d := range got {
		want := math.MaxInt
		for j, m := range marked {
			if dx, dy := i%w-j%w, i/w-j/w; m {
				want = min(want, dx*dx+dy*dy)
			}
		}
		require.EqualValues(t, want, d, i)
	}
}

func TestPaint(t *testing.T) {
	rect := func(x0, y0, x1, y1 int) *mask.Mask {
		m, err := mask.New(mask.Size{H: 20, W: 20}, func(x, y int) bool { return image.Pt(x, y).In(image.Rect(x0, y0, x1, y1)) })
		require.NoError(t, err)
		return m
	}
	labels, of := instance.Paint(20, 20, []instance.Candidate{
		{rect(0, 8, 20, 12), 0.5},  // a bar of 80, cut in two by the next
		{rect(5, 0, 15, 20), 0.4},  // 200: painted first
		{rect(5, 0, 15, 19), 0.39}, // 0.95 of it: a duplicate
		{rect(0, 0, 3, 3), 0.9},    // too small
	}, instance.PaintOptions{Overlap: 0.9, MinSize: 15})
	assert.Equal(t, []int{1, 0, 0}, of)
	n := make([]int, 4)
	for _, l := range labels {
		n[l]++
	}
	assert.Equal(t, []int{160, 200, 20, 20}, n)
	// One of the bar's ends is smaller than the least.
	_, of = instance.Paint(20, 20, []instance.Candidate{{rect(2, 8, 20, 12), 1}, {rect(5, 0, 15, 20), 1}}, instance.PaintOptions{Overlap: 0.9, MinSize: 15})
	assert.Equal(t, []int{1, 0}, of)
}

func TestObjects(t *testing.T) {
	m := instance.Maps{H: 2, W: 4, Foreground: []float32{1, .5, 0, 1, 1, 0, 0, .8}, Boundary: []float32{.5, .4, 1, .2, .4, 1, 1, .2}}
	got, err := instance.Objects([]uint32{1, 1, 0, 3, 1, 0, 0, 3}, m)
	require.NoError(t, err)
	require.Len(t, got, 2)
	assert.Equal(t, image.Pt(1, 0), got[0].Deep)
	assert.InDelta(t, 2.5/3, got[0].Foreground, 1e-6)
	assert.Equal(t, 3, got[0].Mask.Area())
	assert.Equal(t, image.Rect(3, 0, 4, 2), got[1].Mask.Bounds())
	assert.Equal(t, image.Pt(3, 0), got[1].Deep)
}

// TestPointsReference compares with micro-sam's own code on noisy maps, whose
// seeds are many, small and next to each other.
func TestPointsReference(t *testing.T) {
	f, err := os.Open("testdata/points.npz")
	require.NoError(t, err)
	defer f.Close()
	st, err := f.Stat()
	require.NoError(t, err)
	r, err := npz.NewReader(f, st.Size())
	require.NoError(t, err)
	for _, name := range []string{"defaults", "vit_b_lm"} {
		m, _, _ := reference(t, name)
		var want []int64
		require.NoError(t, r.Read(name+".npy", &want))
		require.Greater(t, len(want), 40)
		points, err := instance.Points(t.Context(), m, instance.Defaults())
		require.NoError(t, err)
		var got []int64
		for _, p := range points {
			got = append(got, int64(p.X), int64(p.Y))
		}
		assert.Equal(t, want, got, name)
	}
}
