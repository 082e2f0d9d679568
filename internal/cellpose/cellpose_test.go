package cellpose_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cellpose"
	"github.com/slidesam/sam/internal/golden"
)

// drawn repeats drawn of internal/golden/reference/cellpose_sam.py: flows and
// logits of round cells on a jittered lattice.
func drawn(h, w, cell int, seed uint64, amp float64) cellpose.Maps {
	cols := w/cell + 3
	key := golden.Hash(seed)
	part := func(i, j int, shift uint, n int) int {
		return int(golden.Hash(key+uint64(i*cols+j))>>shift&0xFFFF) % n
	}
	n := h * w
	noise := golden.Uniform(3*n, golden.Hash(seed+1))
	m := cellpose.Maps{H: h, W: w, Down: make([]float32, n), Right: make([]float32, n), Logit: make([]float32, n)}
	for p := range n {
		y, x := p/w, p%w
		best := math.MaxInt
		var dy, dx, r, kind int
		for i := y / cell; i < y/cell+3; i++ {
			for j := x / cell; j < x/cell+3; j++ {
				ty, tx := (i-1)*cell+part(i, j, 0, cell)-y, (j-1)*cell+part(i, j, 16, cell)-x
				if d := ty*ty + tx*tx; d < best {
					best, dy, dx, r, kind = d, ty, tx, 1+part(i, j, 32, 2*cell/3), part(i, j, 48, 10)
				}
			}
		}
		d := math.Sqrt(float64(best))
		fy, fx := float64(dy), float64(dx)
		if kind == 1 {
			fy, fx = float64(dx), float64(-dy)
		}
		logit := float64(r) - d
		if kind == 2 && d < 3 {
			logit = -1
		}
		// Conversions keep the compiler from fusing.
		m.Down[p] = float32(float64(5*fy/max(d, 1)) + float64(amp*float64(noise[p])))
		m.Right[p] = float32(float64(5*fx/max(d, 1)) + float64(amp*float64(noise[n+p])))
		m.Logit[p] = float32(logit + float64(amp*float64(noise[2*n+p])))
	}
	return m
}

// flowCase is one case of cellpose_flows.npz.
type flowCase struct {
	Name    string
	Size    golden.Size
	Cell    int
	Seed    uint64
	Amp     float64
	Options struct {
		FlowThreshold float64 `json:"flow_threshold"`
		MinSize       int     `json:"min_size"`
		CellThreshold float32 `json:"cellprob_threshold"`
		Niter         int
	}
	Foreground, Objects int
	Raw                 int // objects before thresholds of flow and size
}

func flowCases(t testing.TB) (*golden.File, []flowCase) {
	t.Helper()
	f, err := golden.Load("cellpose_flows")
	require.NoError(t, err)
	var meta struct {
		Cases []flowCase
		Torch json.RawMessage
	}
	require.NoError(t, f.Meta(&meta))
	return f, meta.Cases
}

// TestLabel compares label pictures with those of cellpose's own dynamics,
// pixel by pixel.
func TestLabel(t *testing.T) {
	f, cases := flowCases(t)
	require.GreaterOrEqual(t, len(cases), 9)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			if testing.Short() && c.Size.H > 1000 {
				t.Skip("a million pixels")
			}
			m := drawn(c.Size.H, c.Size.W, c.Cell, c.Seed, c.Amp)
			foreground := 0
			for _, v := range m.Logit {
				if v > c.Options.CellThreshold {
					foreground++
				}
			}
			require.Equal(t, c.Foreground, foreground, "maps are not the reference's")
			o := cellpose.Options{CellThreshold: c.Options.CellThreshold, FlowThreshold: c.Options.FlowThreshold, Iterations: c.Options.Niter, MinSize: c.Options.MinSize}
			if o.FlowThreshold == 0 {
				o.FlowThreshold = -1
			}
			if f.Has(c.Name + "/ends") {
				want, err := f.Float32s(c.Name + "/ends")
				require.NoError(t, err)
				got, err := want.Pick(cellpose.Ends(t, m, o))
				require.NoError(t, err)
				other := 0
				for i := range got {
					if got[i] != want.Data[i] {
						other++
					}
				}
				t.Logf("%d of %d coordinates where pixels end differ in some bit", other, len(got))
			}
			got, err := cellpose.Label(t.Context(), m, o)
			require.NoError(t, err)
			bytes, err := f.Bytes(c.Name)
			require.NoError(t, err)
			differ, most := 0, 0
			for i, l := range got {
				most = max(most, int(l))
				if want := uint32(bytes.Data[i]) | uint32(bytes.Data[len(got)+i])<<8; want != l {
					differ++
				}
			}
			assert.Equal(t, c.Objects, most)
			assert.Zero(t, differ, "of %d pixels", len(got))
		})
	}
}

func TestLabelErrors(t *testing.T) {
	ok := func() cellpose.Maps {
		return cellpose.Maps{H: 1, W: 2, Down: make([]float32, 2), Right: make([]float32, 2), Logit: make([]float32, 2)}
	}
	for _, tt := range []struct {
		name   string
		change func(*cellpose.Maps, *cellpose.Options)
		want   string
	}{
		{"no pixels", func(m *cellpose.Maps, _ *cellpose.Options) { m.H = 0 }, "2 x 0 pixels"},
		{"too many", func(m *cellpose.Maps, _ *cellpose.Options) { m.H, m.W = math.MaxInt, math.MaxInt }, "pixels"},
		{"short", func(m *cellpose.Maps, _ *cellpose.Options) { m.Right = nil }, "flow right: 0 values, want 2"},
		{"not a number", func(m *cellpose.Maps, _ *cellpose.Options) { m.Logit[1] = float32(math.NaN()) }, "logit: NaN at (1, 0)"},
		{"steps", func(_ *cellpose.Maps, o *cellpose.Options) { o.Iterations = -2 }, "-2 steps"},
		{"threshold", func(_ *cellpose.Maps, o *cellpose.Options) { o.FlowThreshold = math.NaN() }, "not a number"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, o := ok(), cellpose.Options{}
			tt.change(&m, &o)
			_, err := cellpose.Label(t.Context(), m, o)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	m := drawn(60, 60, 20, 1, 0)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := cellpose.Label(cancelled, m, cellpose.Options{})
	assert.ErrorIs(t, err, context.Canceled)
	// One row and one column of cells: no way along them.
	for _, s := range [][2]int{{1, 40}, {40, 1}, {1, 1}} {
		_, err := cellpose.Label(t.Context(), drawn(s[0], s[1], 20, 1, 0), cellpose.Options{})
		assert.NoError(t, err)
	}
}

func ExampleLabel() {
	// A round cell of radius 6, whose flows point to its middle.
	const side = 20
	m := cellpose.Maps{H: side, W: side, Down: make([]float32, side*side), Right: make([]float32, side*side), Logit: make([]float32, side*side)}
	for i := range m.Logit {
		x, y := float64(i%side-9), float64(i/side-9)
		d := math.Hypot(x, y)
		m.Down[i], m.Right[i] = float32(-5*y/max(d, 1)), float32(-5*x/max(d, 1))
		m.Logit[i] = float32(6 - d)
	}
	labels, err := cellpose.Label(context.Background(), m, cellpose.Options{})
	n := 0
	for _, l := range labels {
		n += int(l)
	}
	fmt.Println(n, "pixels", err)
	// Output: 109 pixels <nil>
}
