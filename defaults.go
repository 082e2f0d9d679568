package sam

import (
	"math"

	"github.com/slidesam/sam/internal/wholeslide"
)

// Defaults are the working resolution and the thresholds that suit a model:
// what zero values of [EverythingOptions] and [SegmentOptions] mean for it.
type Defaults struct {
	// MPP is the resolution, in micrometres per pixel, at which the model sees
	// best; 0: that of the slide. A slide that is coarser is enlarged twice at
	// most.
	MPP float64
	// PredIoUThresh and StabilityScoreThresh are the least scores of a mask.
	PredIoUThresh, StabilityScoreThresh float64
}

// publishedDefaults are those of the original's automatic mask generator.
var publishedDefaults = Defaults{PredIoUThresh: 0.88, StabilityScoreThresh: 0.95}

// bundledDefaults were chosen on pictures with truth: the bundled model is less
// sure of its masks than the published ones, and learned nuclei at 0.2 to 0.5
// micrometres per pixel.
var bundledDefaults = Defaults{MPP: 0.25, PredIoUThresh: 0.56, StabilityScoreThresh: 0.4}

// bundledFingerprint is that of the bundled model: its weights in another file,
// converted for instance, are the same model.
const bundledFingerprint = "637c4391d334dc49be65301ae7c6c5af"

// Defaults returns what zero values of options mean for the model: the
// original's for checkpoints, its own for the bundled model, whatever file its
// weights come from, and those that [FineTune] wrote beside the weights of a
// model that it made from another.
func (m *Model) Defaults() Defaults { return m.defaults }

// fill puts the thresholds into options that leave them open.
func (d Defaults) fill(o EverythingOptions) EverythingOptions {
	if o.PredIoUThresh == 0 {
		o.PredIoUThresh = d.PredIoUThresh
	}
	if o.StabilityScoreThresh == 0 {
		o.StabilityScoreThresh = d.StabilityScoreThresh
	}
	return o
}

// How much less sure a model with a resolution of its own is of masks on a slide
// that is enlarged by a fifth or more, each time that the slide is twice as
// coarse as the model likes: blur lowers the scores more than it harms the
// masks. That counts once at least, and enlargedMost times at most, where it was
// measured; from a little above the least predicted IoU of others.
const enlargedFirstIoU, enlargedLessIoU, enlargedLessStability, enlargedMost = 0.04, 0.1, 0.05, 2

// at returns the defaults for work at mpp on a slide of own micrometres per
// pixel, 0 if unknown.
func (d Defaults) at(mpp, own float64) Defaults {
	if d.MPP > 0 && mpp > 0 && own >= wholeslide.Enlarged*mpp {
		twice := min(max(math.Round(20*math.Log2(own/d.MPP))/20, 1), enlargedMost) // alike on all machines
		d.PredIoUThresh = math.Round(1000*(d.PredIoUThresh+enlargedFirstIoU-enlargedLessIoU*twice)) / 1000
		d.StabilityScoreThresh -= enlargedLessStability * twice
	}
	return d
}

// Resolution returns the resolution to work at on a slide of mpp micrometres
// per pixel, 0 if unknown; 0 is the slide's own.
func (d Defaults) Resolution(mpp float64) float64 {
	if d.MPP == 0 || mpp == 0 {
		return 0
	}
	return max(d.MPP, mpp/2) // more than twice as fine shows nothing more
}
