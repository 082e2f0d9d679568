package eval_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

func labels(rows ...[]int32) eval.Labels {
	l := eval.NewLabels(sam.Size{H: len(rows), W: len(rows[0])})
	for y, r := range rows {
		copy(l.Pix[y*l.W:], r)
	}
	return l
}

func TestBadPictures(t *testing.T) {
	a, b := eval.NewLabels(sam.Size{H: 2, W: 3}), eval.NewLabels(sam.Size{H: 3, W: 2})
	short := eval.Labels{H: 2, W: 3, Pix: make([]int32, 5)}
	neg := eval.NewLabels(sam.Size{H: 2, W: 3})
	neg.Pix[4] = -1
	_, err := eval.NewOverlap(a, b)
	require.ErrorIs(t, err, eval.ErrSize)
	require.EqualError(t, err, "eval: overlap: sizes differ: truth [2, 3], prediction [3, 2]")
	_, err = eval.NewOverlap(a, short)
	require.ErrorIs(t, err, eval.ErrSize)
	_, err = eval.NewOverlap(a, neg)
	require.ErrorIs(t, err, eval.ErrLabel)
	require.EqualError(t, err, "eval: overlap: negative label: truth 0, prediction -1 at x 1, y 1")
	require.ErrorIs(t, neg.Check(), eval.ErrLabel)
	require.ErrorIs(t, short.Check(), eval.ErrSize)
	require.NoError(t, a.Check())
	_, err = eval.CountPixels(a.Mask(), b.Mask())
	require.ErrorIs(t, err, eval.ErrSize)
	_, err = eval.NewSurface(a.Mask(), b.Mask(), eval.SurfaceMONAI, eval.Spacing{})
	require.ErrorIs(t, err, eval.ErrSize)
	_, err = eval.NewSurface(a.Mask(), a.Mask(), eval.SurfaceMONAI, eval.Spacing{X: 1})
	require.EqualError(t, err, "eval: surface: spacing 1 x 0, want two positive lengths")
	_, err = eval.CountBoundary(a, b, 1, eval.Spacing{})
	require.ErrorIs(t, err, eval.ErrSize)
	_, err = eval.ObjectHausdorff(a, b, eval.Spacing{}, eval.EmptyNaN)
	require.ErrorIs(t, err, eval.ErrSize)
	_, err = eval.CountClasses(eval.Instances{Labels: a}, eval.Instances{Labels: b}, 2, 0.5)
	require.ErrorIs(t, err, eval.ErrSize)
	require.ErrorIs(t, eval.Mask{H: -1, W: 0}.Check(), eval.ErrSize)
	_, err = eval.CountCentroids([]eval.Centroid{{X: math.NaN()}}, nil, 12, eval.DetectWithin, eval.Spacing{})
	require.Error(t, err)
}

func TestEmptyPolicy(t *testing.T) {
	z := eval.NewLabels(sam.Size{H: 4, W: 4})
	for _, tt := range []struct {
		e               eval.Empty
		score, distance float64
	}{
		{eval.EmptyNaN, math.NaN(), math.NaN()},
		{eval.EmptyOne, 1, 0},
		{eval.EmptyZero, 0, math.Inf(1)},
	} {
		t.Run(tt.e.String(), func(t *testing.T) {
			scores, distances := measure(t, z, z, tt.e)
			for k, v := range scores {
				assert.True(t, v == tt.score || math.IsNaN(v) && math.IsNaN(tt.score), "%s: %g", k, v)
			}
			for k, v := range distances {
				assert.True(t, v == tt.distance || math.IsNaN(v) && math.IsNaN(tt.distance), "%s: %g", k, v)
			}
			back, err := eval.ParseEmpty(tt.e.String())
			require.NoError(t, err)
			assert.Equal(t, tt.e, back)
		})
	}
	_, err := eval.ParseEmpty("two")
	require.Error(t, err)

	one := z
	one.Pix = append([]int32(nil), z.Pix...)
	one.Pix[5] = 1
	for _, e := range []eval.Empty{eval.EmptyNaN, eval.EmptyOne, eval.EmptyZero} {
		for _, p := range [][2]eval.Labels{{z, one}, {one, z}} {
			scores, distances := measure(t, p[0], p[1], e)
			for k, v := range scores {
				assert.Zero(t, v, "%s: the formula defines it, the policy %s is not asked", k, e)
			}
			for k, v := range distances {
				assert.True(t, math.IsInf(v, 1), k)
			}
		}
	}
}

func TestClasses(t *testing.T) {
	truth := eval.Instances{Labels: labels([]int32{1, 1, 0, 2, 2, 0, 3}), Class: map[int32]int{1: 0, 2: 1, 3: 1}}
	pred := eval.Instances{Labels: labels([]int32{5, 5, 0, 6, 6, 0, 0}), Class: map[int32]int{5: 0, 6: 2}}
	c, err := eval.CountClasses(truth, pred, 3, 0.5)
	require.NoError(t, err)
	assert.Equal(t, eval.ClassCounts{{TP: 1, SumIoU: 1}, {FN: 2}, {FP: 1}}, c)
	// class 0 found, class 1 missed, class 2 only predicted: not counted
	assert.InDelta(t, 0.5, c.MPQ(), 1e-6)
	// pooled over all classes, the invented one counts; 1e-6 beneath DQ and SQ
	assert.InDelta(t, 1.0/3, c.MPQPlus(), 1e-6)
	assert.Equal(t, eval.ClassCounts{{TP: 2, SumIoU: 2}, {FN: 4}, {FP: 2}}, c.Add(c))
	assert.Equal(t, c, c.Add(nil))
	assert.True(t, math.IsNaN(eval.ClassCounts{{FP: 3}}.MPQ()))
	assert.True(t, math.IsNaN(eval.ClassCounts(nil).MPQPlus()))
	o, err := eval.NewOverlap(truth.Labels, pred.Labels)
	require.NoError(t, err)
	assert.Equal(t, eval.Counts{TP: 2, FN: 1, SumIoU: 2}, o.Panoptic(0.5))
}

// A far pair that the full assignment insists on breaks up a near one.
func TestDetectionConventionsDiffer(t *testing.T) {
	truth := []eval.Centroid{{X: 0}, {X: 10}}
	pred := []eval.Centroid{{X: -9}, {X: 0}}
	// within 11: 0-(-9) and 10-0 are two pairs, found both ways
	n, err := eval.CountCentroids(truth, pred, 11, eval.DetectWithin, eval.Spacing{})
	require.NoError(t, err)
	assert.Equal(t, eval.Counts{TP: 2}, n)
	// within 5 only 0-0 is near; the full assignment pairs 0 with -9
	n, err = eval.CountCentroids([]eval.Centroid{{X: 0}, {X: 9, Y: 9}}, []eval.Centroid{{X: -9, Y: 9}, {X: 0}}, 5, eval.DetectWithin, eval.Spacing{})
	require.NoError(t, err)
	assert.Equal(t, eval.Counts{TP: 1, FP: 1, FN: 1}, n)
	// micrometres: half the distance in pixels of half a micrometre
	n, err = eval.CountCentroids([]eval.Centroid{{X: 0}}, []eval.Centroid{{X: 20}}, 10, eval.DetectWithin, eval.MPP(0.5))
	require.NoError(t, err)
	assert.Equal(t, 1, n.TP)
	n, err = eval.CountCentroids(nil, pred, 10, eval.DetectHoVerNet, eval.Spacing{})
	require.NoError(t, err)
	assert.Equal(t, eval.Counts{FP: 2}, n)
}

func TestClicks(t *testing.T) {
	cs := []eval.Clicks{{IoU: []float64{0.5, 0.8, 0.95}}, {IoU: []float64{0.6}}, {}}
	n, ok := cs[0].Needed(0.9, 20)
	assert.Equal(t, 3, n)
	assert.True(t, ok)
	n, ok = cs[0].Needed(0.9, 2)
	assert.Equal(t, 2, n)
	assert.False(t, ok)
	noc, err := eval.NumberOfClicks(cs, 0.9, 20)
	require.NoError(t, err)
	assert.Equal(t, eval.NoC{Target: 0.9, Limit: 20, N: 3, Mean: 43.0 / 3, Failed: 2, Reached: 1}, noc)
	assert.InDeltaSlice(t, []float64{0.55, 0.7, 0.775, 0.775}, eval.ClickCurve(cs, 4), 1e-12)
	_, err = eval.NumberOfClicks(cs, 0.9, 0)
	require.Error(t, err)
}

func TestMatchedSurfaces(t *testing.T) {
	truth := labels([]int32{1, 1, 0, 0, 0, 2}, []int32{1, 1, 0, 0, 0, 2})
	pred := labels([]int32{0, 4, 4, 0, 0, 9}, []int32{0, 4, 4, 0, 0, 9})
	o, err := eval.NewOverlap(truth, pred)
	require.NoError(t, err)
	_, m := o.Match(0.3)
	s, err := eval.MatchedSurfaces(truth, pred, o, m, eval.SurfaceMONAI, eval.MPP(0.25))
	require.NoError(t, err)
	require.Len(t, s, 2)
	assert.Equal(t, 0.25, s[0].Hausdorff(eval.EmptyNaN))
	assert.Zero(t, s[1].Hausdorff(eval.EmptyNaN))
	other, err := eval.NewOverlap(pred, eval.NewLabels(sam.Size{H: 2, W: 6}))
	require.NoError(t, err)
	_, err = eval.MatchedSurfaces(truth, pred, other, nil, eval.SurfaceMONAI, eval.Spacing{})
	require.Error(t, err)
}

func TestDiceOmniSegIsBiased(t *testing.T) {
	c := eval.PixelCounts{TP: 2, FP: 1, FN: 0}
	assert.Equal(t, 4.0/6, c.DiceOmniSeg())
	assert.Equal(t, 4.0/5, c.Dice(eval.EmptyNaN))
	assert.Zero(t, eval.PixelCounts{}.DiceOmniSeg())
}

func ExampleNewOverlap() {
	truth := labels([]int32{1, 1, 1, 0, 2, 2})
	pred := labels([]int32{7, 7, 0, 0, 0, 9})
	o, err := eval.NewOverlap(truth, pred)
	if err != nil {
		panic(err)
	}
	counts, _ := o.Match(0.6)
	fmt.Printf("AJI %.3f, PQ %.3f, AP@0.6 %.3f\n", o.AJI(eval.EmptyNaN), o.Panoptic(0.5).PQ(eval.EmptyNaN), counts.AP(eval.EmptyNaN))
	// Output: AJI 0.600, PQ 0.333, AP@0.6 0.333
}

func ExampleCountPixels() {
	truth := eval.Mask{H: 1, W: 4, Pix: []bool{true, true, false, false}}
	pred := eval.Mask{H: 1, W: 4, Pix: []bool{true, false, true, false}}
	c, err := eval.CountPixels(truth, pred)
	if err != nil {
		panic(err)
	}
	fmt.Println(c, c.Dice(eval.EmptyNaN), c.Specificity(eval.EmptyNaN))
	// Output: {1 1 1 1} 0.5 0.5
}

func ExampleNewSurface() {
	truth := eval.Mask{H: 1, W: 6, Pix: []bool{true, true, false, false, false, false}}
	pred := eval.Mask{H: 1, W: 6, Pix: []bool{false, true, true, true, false, false}}
	s, err := eval.NewSurface(truth, pred, eval.SurfaceMONAI, eval.MPP(0.5))
	if err != nil {
		panic(err)
	}
	fmt.Println(s.Hausdorff(eval.EmptyNaN), "micrometres")
	// Output: 1 micrometres
}

// Instances of scattered pixels have so many outline pixels that distances go
// by a transform; they must be what comparison gives.
func TestScatteredInstances(t *testing.T) {
	const side = 60
	a, b := eval.NewLabels(sam.Size{H: side, W: side}), eval.NewLabels(sam.Size{H: side, W: side})
	state := uint32(1)
	for i := range a.Pix {
		state = state*1664525 + 1013904223
		a.Pix[i], b.Pix[i] = int32(state>>30&1), int32(state>>29&1)
	}
	for i := range side * side / 4 {
		b.Pix[i] = 0 // so that some distances are long
	}
	o, err := eval.NewOverlap(a, b)
	require.NoError(t, err)
	_, m := o.Match(0.01)
	require.Len(t, m, 1)
	for _, c := range []eval.SurfaceConvention{eval.SurfaceMONAI, eval.SurfaceDeepMind} {
		got, err := eval.MatchedSurfaces(a, b, o, m, c, eval.Spacing{})
		require.NoError(t, err)
		want, err := eval.NewSurface(a.Mask(), b.Mask(), c, eval.Spacing{})
		require.NoError(t, err)
		assert.Equal(t, want, got[0])
	}
	d, err := eval.ObjectHausdorff(a, b, eval.Spacing{}, eval.EmptyNaN)
	require.NoError(t, err)
	far := 0.0 // by brute force
	for _, p := range [][2]eval.Labels{{a, b}, {b, a}} {
		for i, v := range p[0].Pix {
			best := math.Inf(1)
			for j, u := range p[1].Pix {
				if v != 0 && u != 0 {
					best = min(best, math.Hypot(float64(i%side-j%side), float64(i/side-j/side)))
				}
			}
			if v != 0 {
				far = max(far, best)
			}
		}
	}
	assert.InDelta(t, far, d, 1e-12)
}
