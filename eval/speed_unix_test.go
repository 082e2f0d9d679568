//go:build unix

package eval_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/slidesam/sam/eval"
	"github.com/stretchr/testify/require"
)

// cpu is the processor time that the process has used, which other programs on
// the machine do not lengthen.
func cpu(t *testing.T) time.Duration {
	var r syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestSpeed prints the processor time of each metric for testdata/speed.py,
// which sets EVAL_SPEED and compares.
func TestSpeed(t *testing.T) {
	if os.Getenv("EVAL_SPEED") == "" {
		t.Skip("EVAL_SPEED is not set: testdata/speed.py times this")
	}
	for _, s := range []struct{ side, n int }{{1000, 1000}, {3162, 10000}} {
		truth, pred := nuclei(s.side, s.n)
		sum := 0
		for i, v := range truth.Pix {
			sum = (sum*31 + int(v)*7 + int(pred.Pix[i])) % 1000003
		}
		fmt.Printf("check %d %d\n", s.n, sum)
		mt, mp := truth.Mask(), pred.Mask()
		surface := func(c eval.SurfaceConvention) func() {
			return func() {
				f, err := eval.NewSurface(mt, mp, c, eval.Spacing{})
				require.NoError(t, err)
				f.HD95(eval.EmptyNaN)
				f.ASSD(eval.EmptyNaN)
			}
		}
		for _, m := range []struct {
			name string
			f    func()
		}{
			{"matching at ten thresholds", func() {
				o, err := eval.NewOverlap(truth, pred)
				require.NoError(t, err)
				o.Segmentation()
			}},
			{"panoptic quality", func() {
				o, err := eval.NewOverlap(truth, pred)
				require.NoError(t, err)
				o.Panoptic(0.5)
			}},
			{"all but surfaces", func() { allButSurfaces(truth, pred) }},
			{"MONAI HD95 and ASSD", surface(eval.SurfaceMONAI)},
			{"medpy HD95 and ASSD", surface(eval.SurfaceMedPy)},
			{"DeepMind HD95 and ASD", surface(eval.SurfaceDeepMind)},
			{"all surfaces (MONAI, boundary F)", func() { surfaces(truth, pred) }},
			{"object Hausdorff", func() {
				_, err := eval.ObjectHausdorff(truth, pred, eval.Spacing{}, eval.EmptyNaN)
				require.NoError(t, err)
			}},
		} {
			best := time.Hour
			for range 5 {
				begin := cpu(t)
				m.f()
				best = min(best, cpu(t)-begin)
			}
			fmt.Printf("go|%d|%s|%.3f\n", s.n, m.name, best.Seconds()*1000)
		}
	}
}
