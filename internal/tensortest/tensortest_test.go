package tensortest_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tensortest"
)

// recorder keeps what a test would have printed.
type recorder struct{ lines []string }

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) {
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

func TestClose(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, tt := range []struct {
		name       string
		want, got  []float32
		atol, rtol float64
		report     string // a part of the report; "" means close
	}{
		{"empty", nil, []float32{}, 0, 0, ""},
		{"equal", []float32{1, -2}, []float32{1, -2}, 0, 0, ""},
		{"signed zeros", []float32{0}, []float32{float32(math.Copysign(0, -1))}, 0, 0, ""},
		{"within atol", []float32{1}, []float32{1.25}, 0.25, 0, ""},
		{"within rtol", []float32{-8}, []float32{-10}, 0, 0.25, ""},
		{"out of both", []float32{4, 8}, []float32{4, 11}, 1, 0.125, "1 of 2 elements differ"},
		{"index of the worst by tolerance, not by gap", []float32{1000, 0.5}, []float32{1001, 0.75}, 0, 0.01, "worst at [1]: want 0.5, got 0.75, gap 0.25 (50 times"},
		{"zero tolerance", []float32{1}, []float32{2}, 0, 0, "+Inf times"},
		{"lengths", []float32{1, 2}, []float32{1}, 1, 1, "1 elements, want 2"},
		{"NaN got", []float32{1}, []float32{nan}, 1e9, 0, "got NaN"},
		{"NaN both", []float32{nan}, []float32{nan}, 1e9, 0, "want NaN"},
		{"infinity equal", []float32{inf}, []float32{inf}, 0, 0, ""},
		{"infinity opposite", []float32{inf}, []float32{-inf}, 1, 1, "want +Inf, got -Inf"},
		{"infinity got", []float32{1}, []float32{inf}, 1, 1, "got +Inf"},
		{"infinity want", []float32{inf}, []float32{1}, 1, 1, "want +Inf"},
		{"largest float32", []float32{math.MaxFloat32}, []float32{-math.MaxFloat32}, 0, 3, ""},
		{"negative tolerance", []float32{1}, []float32{1}, -1, 0, "not a number >= 0"},
		{"NaN tolerance", []float32{1}, []float32{1}, 0, math.NaN(), "not a number >= 0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var r recorder
			ok := tensortest.Close(&r, tt.want, tt.got, tt.atol, tt.rtol)
			assert.Equal(t, tt.report == "", ok)
			if tt.report == "" {
				assert.Empty(t, r.lines)
				return
			}
			require.Len(t, r.lines, 1)
			assert.Contains(t, r.lines[0], tt.report)
		})
	}
}

func TestRelL2(t *testing.T) {
	inf := math.Inf(1)
	for _, tt := range []struct {
		name      string
		want, got []float32
		dist      float64
	}{
		{"empty", nil, nil, 0},
		{"equal", []float32{3, 4}, []float32{3, 4}, 0},
		{"a fifth", []float32{3, 4}, []float32{3, 3}, 0.2},
		{"zero want", []float32{0}, []float32{1}, inf},
		{"both zero", []float32{0}, []float32{0}, 0},
		{"lengths", []float32{0}, nil, inf},
		{"NaN", []float32{1}, []float32{float32(math.NaN())}, inf},
		{"infinity", []float32{1}, []float32{float32(inf)}, inf},
		{"want infinity", []float32{float32(inf)}, []float32{1}, inf},
	} {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.dist, tensortest.RelL2(tt.want, tt.got))
		})
	}
}

func TestMaskDiff(t *testing.T) {
	n, share := tensortest.MaskDiff([]bool{true, false, true, false}, []bool{true, true, true, false})
	assert.Equal(t, 1, n)
	assert.Equal(t, 0.25, share)
	n, share = tensortest.MaskDiff(nil, nil)
	assert.Zero(t, n)
	assert.Zero(t, share)
	n, share = tensortest.MaskDiff(make([]bool, 3), nil)
	assert.Equal(t, 3, n)
	assert.Equal(t, 1.0, share)
}

// printer prints what a test would report.
type printer struct{}

func (printer) Helper() {}

func (printer) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func Example() {
	want := []float32{1, 2, 4}
	got := []float32{1, 2.5, 4}
	fmt.Println(tensortest.Close(printer{}, want, got, 0, 0.125))
	// Output:
	// 1 of 3 elements differ by more than 0 + 0.125*|want|; worst at [1]: want 2, got 2.5, gap 0.5 (2 times the tolerance); relative L2 0.109
	// false
}

func ExampleRelL2() {
	fmt.Println(tensortest.RelL2([]float32{3, 4}, []float32{3, 3}))
	// Output: 0.2
}

func ExampleMaskDiff() {
	n, share := tensortest.MaskDiff([]bool{true, false}, []bool{true, true})
	fmt.Println(n, share)
	// Output: 1 0.5
}
