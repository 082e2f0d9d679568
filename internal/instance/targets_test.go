package instance_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/tensortest"
)

// TestTargets compares with torch_em's PerObjectDistanceTransform: objects
// that touch, at the edge and in parts, one whose centroid lies outside, specks
// that count as background, and one that fills the picture.
func TestTargets(t *testing.T) {
	f, err := golden.Load("unetr_targets")
	require.NoError(t, err)
	var ref struct {
		What  string
		Cases []struct{ H, W, Least int }
	}
	require.NoError(t, f.Meta(&ref))
	for i, c := range ref.Cases {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			read := func(name string) []float32 {
				v, err := f.Float32s(fmt.Sprintf("%d/%s", i, name))
				require.NoError(t, err)
				return v.Data
			}
			labels := whole(read("labels"))
			n := c.H * c.W
			m, objects, err := instance.Targets(labels, c.H, c.W, c.Least)
			require.NoError(t, err)
			most := float32(0)
			for _, v := range read("parts") {
				most = max(most, v)
			}
			assert.EqualValues(t, most, objects)
			want := read("maps")
			require.Len(t, want, 3*n)
			assert.Equal(t, want[:n], m.Foreground)
			// Square roots and quotients of float32.
			tensortest.Close(t, want[n:2*n], m.Centre, 2.4e-7, 0)
			tensortest.Close(t, want[2*n:], m.Boundary, 2.4e-7, 0)
		})
	}
}

func whole(v []float32) []uint32 {
	out := make([]uint32, len(v))
	for i, x := range v {
		out[i] = uint32(x)
	}
	return out
}

// TestTargetsSegment: the objects are found again in their own targets.
func TestTargetsSegment(t *testing.T) {
	const side = 48
	labels := make([]uint32, side*side)
	for i := range labels {
		x, y := i%side, i/side
		for k, c := range [][3]int{{12, 12, 9}, {29, 14, 8}, {20, 33, 10}} { // the first two touch
			if dx, dy := x-c[0], y-c[1]; dx*dx+dy*dy < c[2]*c[2] {
				labels[i] = uint32(k + 1)
			}
		}
	}
	m, n, err := instance.Targets(labels, side, side, 25)
	require.NoError(t, err)
	assert.Equal(t, 3, n)
	o := instance.Defaults()
	o.ForegroundSmoothing, o.DistanceSmoothing = 0, 0
	got, err := instance.Segment(t.Context(), m, o)
	require.NoError(t, err)
	differ := 0
	for i := range got {
		if got[i] != labels[i] {
			differ++
		}
	}
	assert.LessOrEqual(t, differ, 3, "pixels between the two that touch")
}

func TestTargetsErrors(t *testing.T) {
	_, _, err := instance.Targets(make([]uint32, 3), 2, 2, 0)
	require.ErrorIs(t, err, instance.ErrMaps)
	m, n, err := instance.Targets([]uint32{1, 1, 0, 2}, 2, 2, 3)
	require.NoError(t, err)
	assert.Zero(t, n)
	assert.Equal(t, []float32{0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1}, append(append(m.Foreground, m.Centre...), m.Boundary...))
}
