package instance_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/sbinet/npyio/npz"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/instance"
	"github.com/slidesam/sam/internal/tensortest"
)

// reference reads maps and the labels that micro-sam makes of them;
// reference/reference.py wrote them.
func reference(t *testing.T, name string) (m instance.Maps, smoothed []float32, labels []uint32) {
	t.Helper()
	f, err := os.Open("testdata/" + name + ".npz")
	require.NoError(t, err)
	defer f.Close()
	st, err := f.Stat()
	require.NoError(t, err)
	r, err := npz.NewReader(f, st.Size())
	require.NoError(t, err)
	shape := r.Header("foreground.npy").Descr.Shape
	m.H, m.W = shape[0], shape[1]
	for key, to := range map[string]any{
		"foreground": &m.Foreground, "center": &m.Centre, "boundary": &m.Boundary, "smoothed": &smoothed, "labels": &labels,
	} {
		require.NoError(t, r.Read(key+".npy", to), key)
	}
	return m, smoothed, labels
}

func TestSegmentReference(t *testing.T) {
	with := func(change func(*instance.Options)) instance.Options {
		o := instance.Defaults()
		change(&o)
		return o
	}
	for _, tt := range []struct {
		name    string
		o       instance.Options
		objects int // so that a picture without any cannot pass for one with some
	}{
		{"defaults", instance.Defaults(), 32},
		{"vit_b_lm", with(func(o *instance.Options) {
			o.CentreThreshold, o.ForegroundSmoothing, o.MinSize = 0.4, 2, 40
		}), 19},
		{"raw", with(func(o *instance.Options) { o.ForegroundSmoothing, o.DistanceSmoothing = 0, 0 }), 15},
		{"narrow", instance.Defaults(), 5},
		{"empty", instance.Defaults(), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, smoothed, want := reference(t, tt.name)
			if tt.o.DistanceSmoothing > 0 {
				got := instance.Smooth(m.Boundary, m.H, m.W, tt.o.DistanceSmoothing)
				// The wheel fuses some of its multiply-adds and some not.
				tensortest.Close(t, smoothed, got, 2.4e-7, 0)
			}
			got, err := instance.Segment(t.Context(), m, tt.o)
			require.NoError(t, err)
			differ := 0
			for i := range want {
				if want[i] != got[i] {
					differ++
				}
			}
			// No pixel, though a rounding that moves one to the next of the
			// watershed's 65,536 levels could give it to the other neighbour.
			assert.Zero(t, differ, "pixels of %d", len(want))
			most := uint32(0)
			for _, l := range got {
				most = max(most, l)
			}
			assert.EqualValues(t, tt.objects, most)
		})
	}
}

func TestSegmentErrors(t *testing.T) {
	ok := func() instance.Maps {
		return instance.Maps{H: 1, W: 2, Foreground: make([]float32, 2), Centre: make([]float32, 2), Boundary: make([]float32, 2)}
	}
	for _, tt := range []struct {
		name   string
		change func(*instance.Maps, *instance.Options)
		want   string
	}{
		{"no pixels", func(m *instance.Maps, _ *instance.Options) { m.H = 0 }, "2 x 0 pixels"},
		{"overflow", func(m *instance.Maps, _ *instance.Options) { m.H, m.W = math.MaxInt, math.MaxInt }, "pixels"},
		{"short", func(m *instance.Maps, _ *instance.Options) { m.Centre = nil }, "centre: 0 values, want 2"},
		{"not a number", func(m *instance.Maps, _ *instance.Options) { m.Boundary[1] = float32(math.NaN()) }, "boundary: NaN at (1, 0)"},
		{"sigma", func(_ *instance.Maps, o *instance.Options) { o.DistanceSmoothing = math.Inf(1) }, "sigma of +Inf"},
		{"size", func(_ *instance.Maps, o *instance.Options) { o.MinSize = -1 }, "least size of -1"},
		{"foreground", func(_ *instance.Maps, o *instance.Options) { o.MinForeground = float32(math.NaN()) }, "least mean foreground of NaN"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, o := ok(), instance.Defaults()
			tt.change(&m, &o)
			_, err := instance.Segment(t.Context(), m, o)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := instance.Segment(cancelled, ok(), instance.Defaults())
	assert.ErrorIs(t, err, context.Canceled)
}

// TestMinForeground drops the object that the decoder is least sure of.
func TestMinForeground(t *testing.T) {
	m := instance.Maps{
		H: 1, W: 8,
		Foreground: []float32{.6, .7, .1, .9, .8, .1, .7, .7},
		Centre:     []float32{.1, .1, 1, .1, .1, 1, .1, .1},
		Boundary:   []float32{.1, .1, 1, .1, .1, 1, .1, .1},
	}
	o := instance.Defaults()
	o.ForegroundSmoothing, o.DistanceSmoothing = 0, 0
	for least, want := range map[float32][]uint32{
		0: {1, 1, 0, 2, 2, 0, 3, 3}, .68: {0, 0, 0, 1, 1, 0, 2, 2}, .7: {0, 0, 0, 1, 1, 0, 2, 2}, .8: {0, 0, 0, 1, 1, 0, 0, 0}, 1: {0, 0, 0, 0, 0, 0, 0, 0},
	} {
		o.MinForeground = least
		got, err := instance.Segment(t.Context(), m, o)
		require.NoError(t, err)
		assert.Equal(t, want, got, least)
	}
}

func ExampleSegment() {
	// Two objects in a row. The fourth pixel, as far from a centre as can be, goes
	// to the object whose seed lies beside it.
	m := instance.Maps{
		H: 1, W: 7,
		Foreground: []float32{.9, .9, .9, .9, .9, .9, .1},
		Centre:     []float32{.6, .1, .6, .9, .2, .6, 1},
		Boundary:   []float32{.7, .1, .5, .9, .3, .8, 1},
	}
	o := instance.Defaults()
	o.ForegroundSmoothing, o.DistanceSmoothing = 0, 0
	labels, err := instance.Segment(context.Background(), m, o)
	fmt.Println(labels, err)
	// Output: [1 1 1 2 2 2 0] <nil>
}
