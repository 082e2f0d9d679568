package eval_test

import (
	"math"
	"os"
	"strings"
	"testing"

	"github.com/sbinet/npyio/npz"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
)

// goldenVersion must be VERSION of testdata/make.py.
const goldenVersion = 1

type goldenCase struct {
	name        string
	truth, pred eval.Labels
	row         []float64
}

type golden struct {
	columns map[string]int
	cases   []goldenCase
}

// value returns what a reference program said of a case.
func (g *golden) value(t testing.TB, c goldenCase, column string) float64 {
	i, ok := g.columns[column]
	require.True(t, ok, "no column %q: run testdata/make.py", column)
	return c.row[i]
}

func loadGolden(t testing.TB) *golden {
	t.Helper()
	f, err := os.Open("testdata/metrics.npz")
	require.NoError(t, err)
	defer f.Close()
	st, err := f.Stat()
	require.NoError(t, err)
	r, err := npz.NewReader(f, st.Size())
	require.NoError(t, err)
	var version, shapes []int64
	var truth, pred []uint16
	var columns, cases []uint8
	var values []float64
	for name, dst := range map[string]any{
		"version": &version, "shapes": &shapes, "truth": &truth, "pred": &pred,
		"values": &values, "columns": &columns, "cases": &cases,
	} {
		require.NoError(t, r.Read(name+".npy", dst), name)
	}
	require.Equal(t, []int64{goldenVersion}, version, "run testdata/make.py")
	g := &golden{columns: map[string]int{}}
	names := strings.Split(string(columns), "\n")
	for i, n := range names {
		g.columns[n] = i
	}
	at := 0
	for i, name := range strings.Split(string(cases), "\n") {
		h, w := int(shapes[2*i]), int(shapes[2*i+1])
		c := goldenCase{name: name, truth: eval.NewLabels(sam.Size{H: h, W: w}), pred: eval.NewLabels(sam.Size{H: h, W: w}), row: values[i*len(names) : (i+1)*len(names)]}
		for j := range h * w {
			c.truth.Pix[j], c.pred.Pix[j] = int32(truth[at+j]), int32(pred[at+j])
		}
		at += h * w
		g.cases = append(g.cases, c)
	}
	return g
}

// agree compares every case with one column. Cases where differ holds are
// documented differences and left out; most cases must remain.
func (g *golden) agree(t *testing.T, column string, tol float64, got func(goldenCase) float64, differ func(goldenCase) bool) {
	t.Run(strings.ReplaceAll(column, " ", "_"), func(t *testing.T) {
		n := 0
		for _, c := range g.cases {
			if differ != nil && differ(c) {
				continue
			}
			n++
			want, have := g.value(t, c, column), got(c)
			if math.IsNaN(want) && math.IsNaN(have) || want == have {
				continue
			}
			if d := math.Abs(want - have); !(d <= tol*max(1, math.Abs(want))) {
				t.Errorf("%s: want %.17g, got %.17g", c.name, want, have)
			}
		}
		require.GreaterOrEqual(t, n, 200, "too few cases compared")
	})
}

// exact is the agreement the issue asks for: both sides compute in float64 and
// differ by the order of summation only.
const exact = 1e-9

// single is for programs that keep their result in float32.
const single = 2e-7

func overlaps(t testing.TB, g *golden) map[string]*eval.Overlap {
	out := map[string]*eval.Overlap{}
	for _, c := range g.cases {
		o, err := eval.NewOverlap(c.truth, c.pred)
		require.NoError(t, err)
		out[c.name] = o
	}
	return out
}

func TestGoldenHoVerNet(t *testing.T) {
	g := loadGolden(t)
	os := overlaps(t, g)
	oneEmpty := func(c goldenCase) bool {
		o := os[c.name]
		return (len(o.TrueIDs) == 0) != (len(o.PredIDs) == 0)
	}
	nan := eval.EmptyNaN
	g.agree(t, "hovernet dice1", exact, func(c goldenCase) float64 { return os[c.name].Counts().Dice(nan) }, nil)
	// nothing overlaps: hover_net divides by zero, we say 0
	g.agree(t, "hovernet dice2", exact, func(c goldenCase) float64 { return os[c.name].Dice2(nan) },
		func(c goldenCase) bool {
			o := os[c.name]
			return len(o.Pairs) == 0 && len(o.TrueIDs)+len(o.PredIDs) > 0
		})
	// one side empty: hover_net raises an error, we say 0
	g.agree(t, "hovernet aji", exact, func(c goldenCase) float64 { return os[c.name].AJI(nan) }, oneEmpty)
	g.agree(t, "hovernet aji+", exact, func(c goldenCase) float64 { return os[c.name].AJIPlus(nan) },
		// several assignments with the same sum of IoU: AJI+ is any of theirs
		func(c goldenCase) bool { return g.value(t, c, "hovernet aji+ ambiguous") == 1 })
	for tag, thr := range map[string]float64{"": 0.5, "@0.3": 0.3, "@0.7": 0.7} {
		counts := func(c goldenCase) eval.Counts { return os[c.name].Panoptic(thr) }
		pq := func(c goldenCase, i int) float64 {
			dq, sq, pq := counts(c).Panoptic(eval.PQHoVerNet, nan)
			return []float64{dq, sq, pq}[i]
		}
		bothEmpty := func(c goldenCase) bool { o := os[c.name]; return len(o.TrueIDs)+len(o.PredIDs) == 0 }
		g.agree(t, "hovernet tp"+tag, 0, func(c goldenCase) float64 { return float64(counts(c).TP) }, nil)
		g.agree(t, "hovernet sum"+tag, exact, func(c goldenCase) float64 { return counts(c).SumIoU }, nil)
		g.agree(t, "hovernet dq"+tag, exact, func(c goldenCase) float64 { return pq(c, 0) }, nil)
		g.agree(t, "hovernet sq"+tag, exact, func(c goldenCase) float64 { return pq(c, 1) }, bothEmpty)
		g.agree(t, "hovernet pq"+tag, exact, func(c goldenCase) float64 { return pq(c, 2) }, nil)
	}
	for tag, radius := range map[string]float64{" 2": 2, " 12": 12} {
		detect := func(c goldenCase) eval.Counts {
			n, err := eval.CountCentroids(eval.Centroids(c.truth), eval.Centroids(c.pred), radius, eval.DetectHoVerNet, eval.Spacing{})
			require.NoError(t, err)
			return n
		}
		g.agree(t, "hovernet detect tp"+tag, 0, func(c goldenCase) float64 { return float64(detect(c).TP) }, nil)
		g.agree(t, "hovernet detect fp"+tag, 0, func(c goldenCase) float64 { return float64(detect(c).FP) }, nil)
		g.agree(t, "hovernet detect fn"+tag, 0, func(c goldenCase) float64 { return float64(detect(c).FN) }, nil)
	}
}

func TestGoldenStarDist(t *testing.T) {
	g := loadGolden(t)
	os := overlaps(t, g)
	zero := eval.EmptyZero
	scores := map[string]func(eval.Counts) float64{
		"tp":                 func(c eval.Counts) float64 { return float64(c.TP) },
		"fp":                 func(c eval.Counts) float64 { return float64(c.FP) },
		"fn":                 func(c eval.Counts) float64 { return float64(c.FN) },
		"precision":          func(c eval.Counts) float64 { return c.Precision(zero) },
		"recall":             func(c eval.Counts) float64 { return c.Recall(zero) },
		"accuracy":           func(c eval.Counts) float64 { return c.AP(zero) },
		"f1":                 func(c eval.Counts) float64 { return c.F1(zero) },
		"mean_true_score":    func(c eval.Counts) float64 { return c.MeanTrue(zero) },
		"mean_matched_score": func(c eval.Counts) float64 { return c.MeanMatched(zero) },
		"panoptic_quality":   func(c eval.Counts) float64 { return c.PQ(zero) },
	}
	for name, score := range scores {
		for thr, tag := range map[float64]string{0.1: "0.10", 0.3: "0.30", 0.5: "0.50", 0.55: "0.55", 0.6: "0.60", 0.75: "0.75", 0.95: "0.95"} {
			g.agree(t, "stardist "+name+" @"+tag, exact, func(c goldenCase) float64 {
				m, _ := os[c.name].Match(thr)
				return score(m)
			}, nil)
		}
		g.agree(t, "stardist32 "+name+" @0.50", single, func(c goldenCase) float64 {
			m, _ := os[c.name].Match(0.5)
			return score(m)
		}, nil)
	}
	t.Run("mSA", func(t *testing.T) {
		for _, c := range g.cases {
			want := 0.0
			for _, tag := range []string{"50", "55", "60", "65", "70", "75", "80", "85", "90", "95"} {
				want += g.value(t, c, "stardist accuracy @0."+tag) / 10
			}
			require.InDelta(t, want, os[c.name].Segmentation().MSA(zero), exact, c.name)
		}
	})
}

func TestGoldenMONAIPanoptic(t *testing.T) {
	g := loadGolden(t)
	os := overlaps(t, g)
	for tag, thr := range map[string]float64{" @0.3": 0.3, " @0.5": 0.5} {
		n := func(c goldenCase) eval.Counts { return os[c.name].Panoptic(thr) }
		g.agree(t, "monai tp"+tag, 0, func(c goldenCase) float64 { return float64(n(c).TP) }, nil)
		g.agree(t, "monai fp"+tag, 0, func(c goldenCase) float64 { return float64(n(c).FP) }, nil)
		g.agree(t, "monai fn"+tag, 0, func(c goldenCase) float64 { return float64(n(c).FN) }, nil)
		g.agree(t, "monai sum"+tag, exact, func(c goldenCase) float64 { return n(c).SumIoU }, nil)
		for i, k := range []string{"rq", "sq", "pq"} {
			g.agree(t, "monai "+k+tag, exact, func(c goldenCase) float64 {
				dq, sq, pq := n(c).Panoptic(eval.PQMONAI, eval.EmptyNaN)
				return []float64{dq, sq, pq}[i]
			}, nil)
		}
	}
}

func TestGoldenPixels(t *testing.T) {
	g := loadGolden(t)
	counts := map[string]eval.PixelCounts{}
	for _, c := range g.cases {
		n, err := eval.CountPixels(c.truth.Mask(), c.pred.Mask())
		require.NoError(t, err)
		counts[c.name] = n
		o, err := eval.NewOverlap(c.truth, c.pred)
		require.NoError(t, err)
		require.Equal(t, n, o.Counts(), c.name)
	}
	of := func(f func(eval.PixelCounts, eval.Empty) float64, e eval.Empty) func(goldenCase) float64 {
		return func(c goldenCase) float64 { return f(counts[c.name], e) }
	}
	g.agree(t, "torchmetrics tp", 0, func(c goldenCase) float64 { return float64(counts[c.name].TP) }, nil)
	g.agree(t, "torchmetrics fp", 0, func(c goldenCase) float64 { return float64(counts[c.name].FP) }, nil)
	g.agree(t, "torchmetrics fn", 0, func(c goldenCase) float64 { return float64(counts[c.name].FN) }, nil)
	g.agree(t, "torchmetrics tn", 0, func(c goldenCase) float64 { return float64(counts[c.name].TN) }, nil)
	zero := eval.EmptyZero
	g.agree(t, "torchmetrics f1", single, of(eval.PixelCounts.Dice, zero), nil)
	g.agree(t, "torchmetrics iou", single, of(eval.PixelCounts.IoU, zero), nil)
	g.agree(t, "torchmetrics precision", single, of(eval.PixelCounts.Precision, zero), nil)
	g.agree(t, "torchmetrics recall", single, of(eval.PixelCounts.Recall, zero), nil)
	g.agree(t, "torchmetrics specificity", single, of(eval.PixelCounts.Specificity, zero), nil)
	// MONAI skips a picture without truth unless told to keep it
	noTruth := func(c goldenCase) bool { return counts[c.name].TP+counts[c.name].FN == 0 }
	g.agree(t, "monai dice", exact, of(eval.PixelCounts.Dice, eval.EmptyNaN), noTruth)
	g.agree(t, "monai iou", exact, of(eval.PixelCounts.IoU, eval.EmptyNaN), noTruth)
	g.agree(t, "monai dice keep", exact, of(eval.PixelCounts.Dice, eval.EmptyOne), nil)
	g.agree(t, "monai iou keep", exact, of(eval.PixelCounts.IoU, eval.EmptyOne), nil)
}

func TestGoldenSurfaces(t *testing.T) {
	g := loadGolden(t)
	nan := eval.EmptyNaN
	for tag, s := range map[string]eval.Spacing{"": {}, " aniso": {X: 0.25, Y: 0.5}} {
		surfaces := map[eval.SurfaceConvention]map[string]*eval.Surface{}
		for _, k := range []eval.SurfaceConvention{eval.SurfaceMONAI, eval.SurfaceMedPy, eval.SurfaceDeepMind} {
			surfaces[k] = map[string]*eval.Surface{}
			for _, c := range g.cases {
				m, err := eval.NewSurface(c.truth.Mask(), c.pred.Mask(), k, s)
				require.NoError(t, err)
				surfaces[k][c.name] = m
			}
		}
		of := func(k eval.SurfaceConvention, f func(*eval.Surface) float64) func(goldenCase) float64 {
			return func(c goldenCase) float64 { return f(surfaces[k][c.name]) }
		}
		empties := func(c goldenCase) int {
			n := 0
			for _, l := range []eval.Labels{c.truth, c.pred} {
				if l.Mask().Area() == 0 {
					n++
				}
			}
			return n
		}
		anyEmpty := func(c goldenCase) bool { return empties(c) > 0 }
		both := func(c goldenCase) bool { return empties(c) == 2 }
		hd := func(s *eval.Surface) float64 { return s.Hausdorff(nan) }
		hd95 := func(s *eval.Surface) float64 { return s.HD95(nan) }
		asd := func(s *eval.Surface) float64 { return s.ASD(nan) }
		assd := func(s *eval.Surface) float64 { return s.ASSD(nan) }
		asdTrue := func(s *eval.Surface) float64 { return s.ASDTrue(nan) }
		g.agree(t, "monai hd"+tag, exact, of(eval.SurfaceMONAI, hd), nil)
		// torch.quantile makes NaN of infinite distances, where MONAI's maximum is Inf
		g.agree(t, "monai hd95"+tag, exact, of(eval.SurfaceMONAI, hd95), func(c goldenCase) bool { return empties(c) == 1 })
		g.agree(t, "monai asd"+tag, exact, of(eval.SurfaceMONAI, asd), nil)
		g.agree(t, "monai assd"+tag, exact, of(eval.SurfaceMONAI, assd), nil)
		// medpy raises an error if either mask is empty
		g.agree(t, "medpy hd"+tag, exact, of(eval.SurfaceMedPy, hd), anyEmpty)
		g.agree(t, "medpy hd95"+tag, exact, of(eval.SurfaceMedPy, hd95), anyEmpty)
		g.agree(t, "medpy asd"+tag, exact, of(eval.SurfaceMedPy, asd), anyEmpty)
		g.agree(t, "medpy assd"+tag, exact, of(eval.SurfaceMedPy, assd), anyEmpty)
		// DeepMind calls two empty masks infinitely far apart, as EmptyZero does
		g.agree(t, "deepmind hd"+tag, exact, of(eval.SurfaceDeepMind, hd), both)
		g.agree(t, "deepmind hd"+tag, exact, of(eval.SurfaceDeepMind, func(s *eval.Surface) float64 { return s.Hausdorff(eval.EmptyZero) }), nil)
		g.agree(t, "deepmind hd95"+tag, exact, of(eval.SurfaceDeepMind, hd95), both)
		// and the mean from the empty one's side undefined, where we say infinite
		g.agree(t, "deepmind asd truth"+tag, exact, of(eval.SurfaceDeepMind, asdTrue), anyEmpty)
		g.agree(t, "deepmind asd pred"+tag, exact, of(eval.SurfaceDeepMind, asd), anyEmpty)
		for name, tol := range map[string]float64{"0.3": 0.3, "1.0": 1, "2.0": 2} {
			g.agree(t, "monai nsd "+name+tag, exact, of(eval.SurfaceMONAI, func(s *eval.Surface) float64 { return s.Dice(tol, nan) }), nil)
			g.agree(t, "deepmind nsd "+name+tag, exact, of(eval.SurfaceDeepMind, func(s *eval.Surface) float64 { return s.Dice(tol, nan) }), nil)
			g.agree(t, "deepmind overlap truth "+name+tag, exact, of(eval.SurfaceDeepMind, func(s *eval.Surface) float64 { a, _ := s.Overlaps(tol, nan); return a }), nil)
			g.agree(t, "deepmind overlap pred "+name+tag, exact, of(eval.SurfaceDeepMind, func(s *eval.Surface) float64 { _, b := s.Overlaps(tol, nan); return b }), nil)
		}
	}
}

// scikit-image's Hausdorff distance is over all pixels, so that it is the
// object Hausdorff of two pictures with one instance each.
func TestGoldenObjects(t *testing.T) {
	g := loadGolden(t)
	os := overlaps(t, g)
	g.agree(t, "glas dice", exact, func(c goldenCase) float64 { return os[c.name].ObjectDice(eval.EmptyNaN) }, nil)
	object := func(a, b eval.Labels) float64 {
		v, err := eval.ObjectHausdorff(a, b, eval.Spacing{}, eval.EmptyNaN)
		require.NoError(t, err)
		return v
	}
	g.agree(t, "glas hausdorff", exact, func(c goldenCase) float64 { return object(c.truth, c.pred) }, nil)
	g.agree(t, "skimage hausdorff", exact, func(c goldenCase) float64 {
		return object(c.truth.Mask().Labels(), c.pred.Mask().Labels())
	}, func(c goldenCase) bool { o := os[c.name]; return len(o.TrueIDs)+len(o.PredIDs) == 0 }) // 0 for two empty masks
}

// The values that hover_net's README prints for its sample.
func TestHoVerNetSample(t *testing.T) {
	dir := dataDir(t)
	truth, pred := grayLabels(t, dir+"/metrics-golden/true.png"), grayLabels(t, dir+"/metrics-golden/pred_1.png")
	o, err := eval.NewOverlap(truth, pred)
	require.NoError(t, err)
	require.Len(t, o.TrueIDs, 5)
	require.Len(t, o.PredIDs, 4)
	// printed with four decimals
	require.InDelta(t, 0.6477, o.Dice2(eval.EmptyNaN), 5e-5)
	require.InDelta(t, 0.4790, o.AJI(eval.EmptyNaN), 5e-5)
	require.InDelta(t, 0.6375, o.AJIPlus(eval.EmptyNaN), 5e-5)
	_, _, pq := o.Panoptic(0.5).Panoptic(eval.PQHoVerNet, eval.EmptyNaN)
	require.InDelta(t, 0.6803, pq, 5e-5)
}

func dataDir(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("SAM_TESTDATA")
	if dir == "" {
		t.Skip("SAM_TESTDATA is not set: real pictures are not compared")
	}
	return dir
}
