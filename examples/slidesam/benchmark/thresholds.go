package benchmark

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/slidesam/sam"
)

// thresholds returns the least predicted IoU and stability that about a share
// of the masks of an 8 x 8 grid passes, each filter taking as much as the
// other. Models have scores of their own: with the original's thresholds all
// masks of one pass and none of another, and neither is an honest load.
func thresholds(ctx context.Context, m *sam.Model, e *sam.Embedding, share float64) (iou, stability float64, err error) {
	all, err := m.EverythingIn(ctx, e, sam.EverythingOptions{
		PointsPerSide: 8, PredIoUThresh: -1, StabilityScoreThresh: -1, BoxNMSThresh: 2,
	})
	if err != nil {
		return 0, 0, err
	}
	each := math.Sqrt(share)
	iou = cut(all, each, func(r sam.Region) float64 { return float64(r.IoUPred) })
	all = slices.DeleteFunc(all, func(r sam.Region) bool { return float64(r.IoUPred) <= iou })
	stability = cut(all, each, func(r sam.Region) float64 { return float64(r.Stability) })
	return iou, stability, nil
}

// cut returns a value between scores that a share of the regions exceeds, not
// below 0: there the filters are off.
func cut(rs []sam.Region, share float64, score func(sam.Region) float64) float64 {
	s := make([]float64, len(rs))
	for i, r := range rs {
		s[i] = score(r)
	}
	slices.SortFunc(s, func(a, b float64) int { return cmp.Compare(b, a) })
	n := int(math.Round(share * float64(len(s))))
	if n >= len(s) || n == 0 {
		return 0
	}
	return max(0, (s[n-1]+s[n])/2)
}
