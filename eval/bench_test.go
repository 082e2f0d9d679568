package eval_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/internal/rng"
)

// nuclei draws n discs on a picture of side pixels, and a prediction: the same
// discs, moved by up to 3 pixels, some lost and some with the number of
// another, so that instances in two far pieces are among them. testdata/speed.py draws the same.
func nuclei(side, n int) (truth, pred eval.Labels) {
	r := rng.New(4, "speed")
	radius := 0.35 * float64(side) / math.Sqrt(float64(n))
	truth, pred = eval.NewLabels(sam.Size{H: side, W: side}), eval.NewLabels(sam.Size{H: side, W: side})
	for i := range n {
		x, y := r.Float64()*float64(side), r.Float64()*float64(side)
		s := radius * (0.6 + 0.8*r.Float64())
		disc(truth, x, y, s, int32(i+1))
		dx, dy, lost, merged := 6*r.Float64()-3, 6*r.Float64()-3, r.Float64() < 0.1, r.Float64() < 0.1
		id := int32(i + 1)
		if merged {
			id--
		}
		if !lost {
			disc(pred, x+dx, y+dy, s, id)
		}
	}
	return truth, pred
}

func disc(l eval.Labels, cx, cy, r float64, id int32) {
	for y := max(0, int(cy-r)); y <= min(l.H-1, int(cy+r)+1); y++ {
		for x := max(0, int(cx-r)); x <= min(l.W-1, int(cx+r)+1); x++ {
			dx, dy := float64(x)-cx, float64(y)-cy
			if dx*dx+dy*dy <= r*r {
				l.Pix[y*l.W+x] = id
			}
		}
	}
}

func BenchmarkMetrics(b *testing.B) {
	for _, s := range []struct{ side, n int }{{1000, 1000}, {3162, 10000}} {
		truth, pred := nuclei(s.side, s.n)
		name := fmt.Sprintf("side=%d/n=%d", s.side, s.n)
		o, err := eval.NewOverlap(truth, pred)
		if err != nil {
			b.Fatal(err)
		}
		run := func(what string, f func()) {
			b.Run(what+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
			})
		}
		run("overlap", func() { _, _ = eval.NewOverlap(truth, pred) })
		run("segmentation", func() { o.Segmentation() })
		run("aji+", func() { o.AJIPlusSums() })
		run("detection", func() {
			_, _ = eval.CountCentroids(eval.Centroids(truth), eval.Centroids(pred), 12, eval.DetectWithin, eval.Spacing{})
		})
		run("all but surfaces", func() { allButSurfaces(truth, pred) })
		run("surfaces", func() { surfaces(truth, pred) })
		run("surfaces of instances", func() {
			_, m := o.Match(0.5)
			_, _ = eval.MatchedSurfaces(truth, pred, o, m, eval.SurfaceMONAI, eval.Spacing{})
		})
		run("object hausdorff", func() { _, _ = eval.ObjectHausdorff(truth, pred, eval.Spacing{}, eval.EmptyNaN) })
	}
}

func allButSurfaces(truth, pred eval.Labels) float64 {
	o, err := eval.NewOverlap(truth, pred)
	if err != nil {
		panic(err)
	}
	e := eval.EmptyNaN
	px := o.Counts()
	sum := px.Dice(e) + px.IoU(e) + px.Precision(e) + px.Recall(e) + px.Specificity(e)
	seg := o.Segmentation()
	sum += seg.MSA(e) + seg.SA(0.5, e) + seg.SA(0.75, e) + o.Dice2(e) + o.AJI(e) + o.AJIPlus(e)
	n, _ := o.Match(0.5)
	sum += n.F1(e) + n.AP(e) + o.Panoptic(0.5).PQ(e) + o.ObjectDice(e)
	d, err := eval.CountCentroids(eval.Centroids(truth), eval.Centroids(pred), 12, eval.DetectWithin, eval.Spacing{})
	if err != nil {
		panic(err)
	}
	return sum + d.F1(e)
}

func surfaces(truth, pred eval.Labels) float64 {
	s, err := eval.NewSurface(truth.Mask(), pred.Mask(), eval.SurfaceMONAI, eval.Spacing{})
	if err != nil {
		panic(err)
	}
	e := eval.EmptyNaN
	sum := s.Hausdorff(e) + s.HD95(e) + s.ASSD(e) + s.Dice(2, e)
	f, err := eval.CountBoundary(truth, pred, 2, eval.Spacing{})
	if err != nil {
		panic(err)
	}
	return sum + f.F(e)
}
