package instance_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/instance"
)

// invented are maps of a kind: discs of several sizes that touch, noise whose
// parts are of all shapes, and few values so that plateaus and ties are
// everywhere.
func invented(r *rand.Rand, h, w int, kind string) instance.Maps {
	m := instance.Maps{H: h, W: w, Foreground: make([]float32, h*w), Centre: make([]float32, h*w), Boundary: make([]float32, h*w)}
	for i := range m.Boundary {
		m.Centre[i], m.Boundary[i] = 1, 1
	}
	switch kind {
	case "discs":
		for range h*w/150 + 1 {
			cx, cy, rad := r.IntN(w), r.IntN(h), 2+r.IntN(9)
			for y := max(cy-rad, 0); y <= min(cy+rad, h-1); y++ {
				for x := max(cx-rad, 0); x <= min(cx+rad, w-1); x++ {
					d := float32((x-cx)*(x-cx)+(y-cy)*(y-cy)) / float32(rad*rad)
					if i := y*w + x; d <= 1 && d < m.Boundary[i] {
						m.Foreground[i], m.Centre[i], m.Boundary[i] = 1-d/2, d, d
					}
				}
			}
		}
	case "noise":
		for i := range m.Foreground {
			m.Foreground[i], m.Centre[i], m.Boundary[i] = r.Float32(), r.Float32(), r.Float32()
		}
	case "plateaus":
		for i := range m.Foreground {
			m.Foreground[i], m.Centre[i], m.Boundary[i] = float32(r.IntN(5))/4, float32(r.IntN(3))/2, float32(r.IntN(4))/4
		}
	case "snakes": // corridors of one pixel's width that wind down the picture
		for y := range h {
			for x := range w {
				i := y*w + x
				if turn := (y / 2) % 2; y%2 == 0 || x == (w-1)*turn {
					m.Foreground[i], m.Boundary[i] = 1, float32(r.IntN(3))/4
				}
				if r.IntN(40) == 0 {
					m.Centre[i], m.Boundary[i] = 0, 0
				}
			}
		}
	case "comb": // teeth that a bar joins at the very end
		for y := range h {
			for x := range w {
				i := y*w + x
				if x%3 == 0 || y == h-1 || x%3 == 1 && r.IntN(60) == 0 {
					m.Foreground[i], m.Boundary[i] = 1, float32(r.IntN(6))/8
				}
				if r.IntN(50) == 0 {
					m.Centre[i] = 0
				}
			}
		}
	}
	return m
}

var kinds = []string{"discs", "noise", "plateaus", "snakes", "comb"}

// anyOptions draws options that leave some objects.
func anyOptions(r *rand.Rand) instance.Options {
	o := instance.Defaults()
	if r.IntN(2) == 0 {
		o.ForegroundSmoothing = 0
	}
	if r.IntN(2) == 0 {
		o.DistanceSmoothing = 0
	}
	if r.IntN(3) == 0 {
		o.ForegroundSmoothing = 2.3 // wider than the other filter
	}
	if r.IntN(2) == 0 {
		o.MinSize, o.MinForeground = r.IntN(30), r.Float32()*0.8
	}
	o.ForegroundThreshold = 0.3 + 0.4*r.Float32()
	o.BoundaryThreshold = 0.4 + 0.4*r.Float32()
	return o
}

// banded returns the labels by way of bands, and what bands parted with.
func banded(ctx context.Context, m instance.Maps, o instance.Options, limits instance.Limits) ([]instance.Object, instance.Counts, error) {
	s, err := instance.NewSurvey(m.H, m.W, o)
	if err != nil {
		return nil, instance.Counts{}, err
	}
	f, c, d := make([]float32, m.W), make([]float32, m.W), make([]float32, m.W)
	row := func(y int) { // in the same memory always
		copy(f, m.Foreground[y*m.W:])
		copy(c, m.Centre[y*m.W:])
		copy(d, m.Boundary[y*m.W:])
	}
	for y := range m.H {
		row(y)
		if err := s.Add(f, c, d); err != nil {
			return nil, instance.Counts{}, err
		}
	}
	var all []instance.Object
	settled := 0
	b, err := instance.NewBands(m.H, m.W, o, s.Heights(), limits, func(k instance.Object) error {
		if top := k.Mask.Bounds().Min.Y; top < settled {
			return fmt.Errorf("an object begins in row %d, above %d", top, settled)
		}
		all = append(all, k)
		return nil
	})
	if err != nil {
		return nil, instance.Counts{}, err
	}
	for y := range m.H {
		row(y)
		if err := b.Add(ctx, f, c, d); err != nil {
			return nil, instance.Counts{}, err
		}
		if b.Settled() < settled {
			return nil, instance.Counts{}, errors.New("settled rows are not")
		}
		settled = b.Settled()
	}
	if settled != m.H {
		return nil, instance.Counts{}, fmt.Errorf("%d of %d rows are settled at the end", settled, m.H)
	}
	return all, b.Counts(), nil
}

// equalWhole fails unless bands give what the whole map gives, pixel by pixel
// and number by number.
func equalWhole(t *testing.T, m instance.Maps, o instance.Options) (objects int) {
	t.Helper()
	want := instance.WholeSegment(m, o)
	labels, err := instance.Segment(t.Context(), m, o)
	require.NoError(t, err)
	require.Equal(t, want, labels)
	got, err := instance.Find(t.Context(), m, o)
	require.NoError(t, err)
	rows, counts, err := banded(t.Context(), m, o, instance.Limits{Pixels: m.H * m.W, Rows: m.H})
	require.NoError(t, err)
	require.Zero(t, counts)
	sameSet(t, want, rows, m)
	whole, err := instance.Objects(want, m)
	require.NoError(t, err)
	require.Len(t, got, len(whole))
	for i, k := range whole {
		require.Equal(t, k.Deep, got[i].Deep)
		require.Equal(t, k.Foreground, got[i].Foreground)
	}
	return len(got)
}

// TestBandsEqualWhole compares bands with the post-processing of whole maps, on
// parts of all shapes, on ties and plateaus, and on pictures narrower than the
// filters.
func TestBandsEqualWhole(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind, func(t *testing.T) {
			r := rand.New(rand.NewPCG(21, uint64(len(kind))))
			objects := 0
			for range 40 {
				h, w := 1+r.IntN(90), 1+r.IntN(200)
				if r.IntN(8) == 0 {
					h = 1 + r.IntN(6)
				}
				objects += equalWhole(t, invented(r, h, w, kind), anyOptions(r))
			}
			assert.Greater(t, objects, 200)
		})
	}
}

// TestBandsWideFilters has filters that reach from what is foreground only by
// smoothing far into where nothing is computed for want of foreground.
func TestBandsWideFilters(t *testing.T) {
	m := invented(rand.New(rand.NewPCG(7, 8)), 60, 320, "noise")
	for i := range m.Foreground {
		m.Foreground[i] = 0
		if i%m.W >= 128 && i%m.W < 192 {
			m.Foreground[i] = 1
		}
	}
	o := instance.Defaults()
	o.ForegroundThreshold, o.ForegroundSmoothing, o.DistanceSmoothing = 0.05, 20, 25
	o.BoundaryThreshold, o.CentreThreshold = 0.5, 1
	assert.Positive(t, equalWhole(t, m, o))
}

// FuzzBands compares bands with the whole map on maps made of the input: a
// byte for each pixel of the three maps, four values of each.
func FuzzBands(f *testing.F) {
	f.Add(uint8(5), false, []byte("a part whose seeds are many, with ties all over it"))
	f.Add(uint8(1), true, []byte{0, 255, 3, 63, 12, 48})
	f.Fuzz(func(t *testing.T, width uint8, smooth bool, data []byte) {
		w := int(width)%70 + 1
		h := len(data) / w
		if h == 0 || h > 200 {
			return
		}
		m := instance.Maps{H: h, W: w, Foreground: make([]float32, h*w), Centre: make([]float32, h*w), Boundary: make([]float32, h*w)}
		for i, b := range data[:h*w] {
			m.Foreground[i], m.Centre[i], m.Boundary[i] = float32(b&3)/3, float32(b>>2&3)/3, float32(b>>4&7)/7
		}
		o := instance.Defaults()
		if !smooth {
			o.ForegroundSmoothing, o.DistanceSmoothing = 0, 0
		}
		equalWhole(t, m, o)
	})
}

// TestBandsLimit bounds the pixels that wait: a field of touching discs that
// goes on for long is handed on early, and every object is still as in the
// whole. A sheet without a seed is cut.
func TestBandsLimit(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	o := instance.Defaults()
	m := invented(r, 3000, 120, "discs")
	for i := range m.Foreground { // a web between the discs joins them all
		m.Foreground[i] = max(m.Foreground[i], 0.6)
	}
	want := instance.WholeSegment(m, o)
	all, counts, err := banded(t.Context(), m, o, instance.Limits{Pixels: 1 << 30, Rows: 1 << 30})
	require.NoError(t, err)
	assert.Zero(t, counts)
	sameSet(t, want, all, m)
	all, counts, err = banded(t.Context(), m, o, instance.Limits{Pixels: 120 * 500, Rows: 1 << 30})
	require.NoError(t, err)
	assert.Greater(t, counts.Early, 4)
	assert.Zero(t, counts.Cut)
	sameSet(t, want, all, m)

	all, counts, err = banded(t.Context(), m, o, instance.Limits{Pixels: 1 << 30, Rows: 700})
	require.NoError(t, err)
	assert.Greater(t, counts.Early, 2)
	assert.Zero(t, counts.Cut)
	sameSet(t, want, all, m)

	for i := range m.Boundary { // seeds in the last row alone
		m.Boundary[i] = 0.9
	}
	for x := range m.W {
		m.Centre[(m.H-1)*m.W+x], m.Boundary[(m.H-1)*m.W+x] = 0, 0
	}
	o.DistanceSmoothing = 0
	all, counts, err = banded(t.Context(), m, o, instance.Limits{Pixels: 120 * 500, Rows: 1 << 30})
	require.NoError(t, err)
	assert.Equal(t, instance.Counts{Early: 5, Cut: 5}, counts)
	require.Len(t, all, 1)
	assert.Equal(t, m.W*(m.H-5*501), all[0].Mask.Area(), "what is below the last cut")
	all, counts, err = banded(t.Context(), m, o, instance.Limits{Pixels: 1 << 30, Rows: 700})
	require.NoError(t, err)
	assert.Equal(t, instance.Counts{Early: 4, Cut: 4}, counts)
	require.Len(t, all, 1)
	assert.Equal(t, m.W*(m.H-4*701), all[0].Mask.Area(), "what is below the last cut")
}

// paint returns the labels of objects, [h, w], counted from 1.
func paint(t *testing.T, objects []instance.Object, h, w int) []uint32 {
	t.Helper()
	labels := make([]uint32, h*w)
	for i, k := range objects {
		for r := range k.Mask.Runs() {
			for x := r.X0; x < r.X1; x++ {
				if labels[r.Y*w+x] != 0 {
					t.Fatalf("objects overlap at (%d, %d)", x, r.Y)
				}
				labels[r.Y*w+x] = uint32(i + 1)
			}
		}
	}
	return labels
}

// sameSet fails unless the objects are those of labels, in whatever order.
func sameSet(t *testing.T, labels []uint32, objects []instance.Object, m instance.Maps) {
	t.Helper()
	seen := map[uint32]uint32{}
	for i, l := range paint(t, objects, m.H, m.W) {
		if was, ok := seen[l]; ok && was != labels[i] || (l == 0) != (labels[i] == 0) {
			t.Fatalf("object %d has pixels of %d and of %d at (%d, %d)", l, was, labels[i], i%m.W, i/m.W)
		}
		seen[l] = labels[i]
	}
	whole, err := instance.Objects(labels, m)
	require.NoError(t, err)
	require.Len(t, objects, len(whole))
}

// TestBandsMemory makes the instances of a picture whose maps would need more
// than a gigabyte, and of one four times as high: the heap does not grow with it.
func TestBandsMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it floods 42 million pixels")
	}
	const w = 4096
	r := rand.New(rand.NewPCG(5, 6))
	block := invented(r, 512, w, "discs")
	most := func(h int) (peak uint64, objects int) {
		o := instance.Defaults()
		row := func(y int) (f, c, b []float32) {
			at := y % block.H * w
			return block.Foreground[at : at+w], block.Centre[at : at+w], block.Boundary[at : at+w]
		}
		runtime.GC()
		var base, now runtime.MemStats
		runtime.ReadMemStats(&base)
		b, err := instance.NewBands(h, w, o, instance.Heights{Most: 1, Any: true}, instance.DefaultLimits, func(instance.Object) error {
			objects++
			return nil
		})
		require.NoError(t, err)
		for y := range h {
			f, c, d := row(y)
			require.NoError(t, b.Add(t.Context(), f, c, d))
			if y%1024 == 1000 {
				runtime.GC()
				runtime.ReadMemStats(&now)
				peak = max(peak, now.HeapAlloc-base.HeapAlloc)
			}
		}
		assert.Zero(t, b.Counts())
		return peak, objects
	}
	low, n := most(2048)
	high, many := most(8192)
	t.Logf("%d rows of %d pixels: %.1f MB, %d objects; %d rows: %.1f MB, %d objects", 2048, w, float64(low)/1e6, n, 8192, float64(high)/1e6, many)
	assert.Greater(t, many, 3*n)
	assert.Less(t, high, low+low/4+(1<<20))
	assert.Less(t, high, uint64(16<<20), "all maps together have %d bytes", 12*w*8192)
}

func TestBandsErrors(t *testing.T) {
	o := instance.Defaults()
	o.MinSize = -1
	_, err := instance.NewBands(3, 3, o, instance.Heights{}, instance.DefaultLimits, nil)
	assert.ErrorContains(t, err, "least size of -1")
	_, err = instance.NewSurvey(3, 3, o)
	assert.ErrorContains(t, err, "least size of -1")

	m := invented(rand.New(rand.NewPCG(1, 2)), 40, 40, "discs")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = banded(ctx, m, instance.Defaults(), instance.DefaultLimits)
	assert.ErrorIs(t, err, context.Canceled)
	b, err := instance.NewBands(m.H, m.W, instance.Defaults(), instance.Heights{Most: 1, Any: true}, instance.DefaultLimits, func(instance.Object) error { return errors.New("full disk") })
	require.NoError(t, err)
	for y := 0; y < m.H && err == nil; y++ {
		err = b.Add(t.Context(), m.Foreground[y*m.W:][:m.W], m.Centre[y*m.W:][:m.W], m.Boundary[y*m.W:][:m.W])
	}
	assert.EqualError(t, err, "full disk")
}
