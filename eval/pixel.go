package eval

import "fmt"

// PixelCounts is the confusion table of one mask against another. Add pools
// the tables of several pictures.
type PixelCounts struct {
	TP, FP, FN, TN int64
}

// CountPixels compares a prediction with the truth pixel by pixel. The error
// wraps ErrSize.
func CountPixels(truth, pred Mask) (PixelCounts, error) {
	if err := checkMasks(truth, pred); err != nil {
		return PixelCounts{}, fmt.Errorf("eval: count pixels: %w", err)
	}
	var both, nt, np int64
	for i, t := range truth.Pix {
		p := pred.Pix[i]
		if t {
			nt++
		}
		if p {
			np++
		}
		if t && p {
			both++
		}
	}
	n := int64(len(truth.Pix))
	return PixelCounts{TP: both, FP: np - both, FN: nt - both, TN: n - nt - np + both}, nil
}

// Add returns the counts of both pictures together.
func (c PixelCounts) Add(d PixelCounts) PixelCounts {
	return PixelCounts{TP: c.TP + d.TP, FP: c.FP + d.FP, FN: c.FN + d.FN, TN: c.TN + d.TN}
}

// Dice returns 2TP / (2TP + FP + FN), the F1 of the pixels. It is MONAI's
// DiceMetric with ignore_empty=False for EmptyOne, apart from an empty truth,
// which MONAI's default skips.
func (c PixelCounts) Dice(e Empty) float64 {
	return e.Ratio(2*float64(c.TP), float64(2*c.TP+c.FP+c.FN))
}

// DiceOmniSeg returns 2TP / (2TP + FP + FN + 1), the smoothed Dice that the
// tissue task's peer Omni-Seg reports. It is never above Dice and is 0 for two
// empty masks.
//
// Source: Testing_2D_patch_scale_aug_fourmetrics_final.py, Omni-Seg.
func (c PixelCounts) DiceOmniSeg() float64 {
	return 2 * float64(c.TP) / float64(2*c.TP+c.FP+c.FN+1)
}

// IoU returns TP / (TP + FP + FN), the Jaccard index.
func (c PixelCounts) IoU(e Empty) float64 {
	return e.Ratio(float64(c.TP), float64(c.TP+c.FP+c.FN))
}

// Precision returns TP / (TP + FP).
func (c PixelCounts) Precision(e Empty) float64 {
	return e.Ratio(float64(c.TP), float64(c.TP+c.FP))
}

// Recall returns TP / (TP + FN), the sensitivity.
func (c PixelCounts) Recall(e Empty) float64 {
	return e.Ratio(float64(c.TP), float64(c.TP+c.FN))
}

// Specificity returns TN / (TN + FP).
func (c PixelCounts) Specificity(e Empty) float64 {
	return e.Ratio(float64(c.TN), float64(c.TN+c.FP))
}
