package eval_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

// drawLabels draws blocks of instances over each other: touching, nested, cut
// off at the border, sometimes none.
func drawLabels(t *rapid.T, h, w int, name string) eval.Labels {
	l := eval.NewLabels(sam.Size{H: h, W: w})
	for range rapid.IntRange(0, 6).Draw(t, name+" n") {
		id := int32(rapid.IntRange(0, 5).Draw(t, name+" id"))
		x0, y0 := rapid.IntRange(0, w-1).Draw(t, "x0"), rapid.IntRange(0, h-1).Draw(t, "y0")
		x1, y1 := rapid.IntRange(x0, w-1).Draw(t, "x1"), rapid.IntRange(y0, h-1).Draw(t, "y1")
		for y := y0; y <= y1; y++ {
			for x := x0; x <= x1; x++ {
				l.Pix[y*w+x] = id
			}
		}
	}
	return l
}

// scores are all bounded scores of two pictures, and distances all distances.
func measure(t require.TestingT, a, b eval.Labels, e eval.Empty) (scores, distances map[string]float64) {
	o, err := eval.NewOverlap(a, b)
	require.NoError(t, err)
	scores, distances = map[string]float64{}, map[string]float64{}
	px := o.Counts()
	scores["dice"], scores["iou"] = px.Dice(e), px.IoU(e)
	scores["dice2"], scores["aji"], scores["aji+"] = o.Dice2(e), o.AJI(e), o.AJIPlus(e)
	scores["object dice"] = o.ObjectDice(e)
	seg := o.Segmentation()
	scores["msa"], scores["sa50"], scores["sa75"] = seg.MSA(e), seg.SA(0.5, e), seg.SA(0.75, e)
	m, _ := o.Match(0.5)
	scores["f1"] = m.F1(e)
	p := o.Panoptic(0.5)
	scores["dq"], scores["sq"], scores["pq"] = p.DQ(e), p.SQ(e), p.PQ(e)
	f, err := eval.CountBoundary(a, b, 1.5, eval.Spacing{})
	require.NoError(t, err)
	scores["boundary f"] = f.F(e)
	for name, c := range map[string]eval.SurfaceConvention{"monai": eval.SurfaceMONAI, "medpy": eval.SurfaceMedPy, "deepmind": eval.SurfaceDeepMind} {
		s, err := eval.NewSurface(a.Mask(), b.Mask(), c, eval.Spacing{})
		require.NoError(t, err)
		scores["nsd "+name] = s.Dice(1, e)
		distances["hd "+name], distances["hd95 "+name], distances["assd "+name] = s.Hausdorff(e), s.HD95(e), s.ASSD(e)
	}
	distances["object hausdorff"], err = eval.ObjectHausdorff(a, b, eval.Spacing{}, e)
	require.NoError(t, err)
	return scores, distances
}

func same(t require.TestingT, want, got map[string]float64, skip ...string) {
	for k, w := range want {
		g := got[k]
		if len(skip) > 0 && skip[0] == k || w == g || math.IsNaN(w) && math.IsNaN(g) {
			continue
		}
		require.InDelta(t, w, g, 1e-9, k) // sums in another order
	}
}

func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w := rapid.IntRange(1, 9).Draw(t, "h"), rapid.IntRange(1, 9).Draw(t, "w")
		a, b := drawLabels(t, h, w, "truth"), drawLabels(t, h, w, "prediction")
		e := rapid.SampledFrom([]eval.Empty{eval.EmptyNaN, eval.EmptyOne, eval.EmptyZero}).Draw(t, "empty")
		ab, dab := measure(t, a, b, e)

		ba, dba := measure(t, b, a, e)
		same(t, ab, ba, "aji") // AJI asks the truth's side only: not symmetric
		same(t, dab, dba)

		for k, v := range ab {
			require.True(t, math.IsNaN(v) && e == eval.EmptyNaN || v >= 0 && v <= 1+1e-12, "%s: %g", k, v)
		}
		for k, v := range dab {
			require.True(t, math.IsNaN(v) && e == eval.EmptyNaN || v >= 0, "%s: %g", k, v)
		}

		aa, daa := measure(t, a, a, eval.EmptyOne)
		for k, v := range aa {
			require.InDelta(t, 1, v, 1e-12, k)
		}
		for k, v := range daa {
			require.Zero(t, v, k)
		}

		// instance numbers are names: any others, in the same order since the
		// lowest wins ties, say the same
		step, off := int32(rapid.IntRange(1, 1<<20).Draw(t, "step")), int32(rapid.IntRange(0, 1<<20).Draw(t, "offset"))
		c := eval.NewLabels(sam.Size{H: h, W: w})
		for i, v := range b.Pix {
			if v != 0 {
				c.Pix[i] = v*step + off
			}
		}
		ac, dac := measure(t, a, c, e)
		same(t, ab, ac)
		same(t, dab, dac)

		require.InDelta(t, zeroed(ab["dq"])*zeroed(ab["sq"]), zeroed(ab["pq"]), 1e-12)
		if e == eval.EmptyNaN && dab["hd95 monai"] < math.Inf(1) {
			require.LessOrEqual(t, dab["hd95 medpy"], dab["hd medpy"])
			require.LessOrEqual(t, dab["hd95 monai"], dab["hd monai"])
		}
	})
}

func zeroed(v float64) float64 {
	if math.IsNaN(v) {
		return 0
	}
	return v
}

// Counts of two pictures added are the counts of both side by side.
func TestCountsPool(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w := rapid.IntRange(1, 6).Draw(t, "h"), rapid.IntRange(1, 6).Draw(t, "w")
		var truth, pred [2]eval.Labels
		var px eval.PixelCounts
		var n eval.Counts
		var seg eval.Segmentation
		var aji, plus, dice eval.Aggregated
		wideT, wideP := eval.NewLabels(sam.Size{H: 2 * h, W: w}), eval.NewLabels(sam.Size{H: 2 * h, W: w})
		for i := range truth {
			truth[i], pred[i] = drawLabels(t, h, w, "truth"), drawLabels(t, h, w, "prediction")
			o, err := eval.NewOverlap(truth[i], pred[i])
			require.NoError(t, err)
			px, n, seg = px.Add(o.Counts()), n.Add(o.Panoptic(0.5)), seg.Add(o.Segmentation())
			aji, plus, dice = aji.Add(o.AJISums()), plus.Add(o.AJIPlusSums()), dice.Add(o.Dice2Sums())
			for j := range h * w {
				if v := truth[i].Pix[j]; v != 0 {
					wideT.Pix[i*h*w+j] = v + int32(10*i)
				}
				if v := pred[i].Pix[j]; v != 0 {
					wideP.Pix[i*h*w+j] = v + int32(10*i)
				}
			}
		}
		o, err := eval.NewOverlap(wideT, wideP)
		require.NoError(t, err)
		require.Equal(t, px, o.Counts())
		got := o.Panoptic(0.5)
		require.InDelta(t, n.SumIoU, got.SumIoU, 1e-12)
		got.SumIoU, n.SumIoU = 0, 0
		require.Equal(t, n, got)
		require.Equal(t, seg[5].TP, o.Segmentation()[5].TP)
		require.Equal(t, aji, o.AJISums())
		require.Equal(t, plus.Total+plus.Inter, o.AJIPlusSums().Total+o.AJIPlusSums().Inter)
		require.Equal(t, dice, o.Dice2Sums())
	})
}

// The outlines of one instance measured from its pixels are those measured
// from the whole picture, in every convention, by comparison or by transform.
func TestMatchedSurfacesAgreeWithSurface(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w := rapid.IntRange(1, 12).Draw(t, "h"), rapid.IntRange(1, 12).Draw(t, "w")
		a, b := drawLabels(t, h, w, "truth"), drawLabels(t, h, w, "prediction")
		c := rapid.SampledFrom([]eval.SurfaceConvention{eval.SurfaceMONAI, eval.SurfaceDeepMind}).Draw(t, "convention")
		s := eval.Spacing{X: 0.5, Y: 0.25}
		o, err := eval.NewOverlap(a, b)
		require.NoError(t, err)
		_, m := o.Match(0.01)
		got, err := eval.MatchedSurfaces(a, b, o, m, c, s)
		require.NoError(t, err)
		for i, q := range m {
			want, err := eval.NewSurface(a.Only(o.TrueIDs[q.True]), b.Only(o.PredIDs[q.Pred]), c, s)
			require.NoError(t, err)
			require.Equal(t, want, got[i])
		}
	})
}
