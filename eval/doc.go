// Package eval measures segmentations of histology pictures and runs the
// zero-shot protocol of Deng et al., arXiv 2304.04155.
//
// It has four parts. The metrics compare a picture of truth with a prediction
// and know nothing of any model: binary masks are Mask values, pictures of
// instances are Labels values, both [H, W] row-major. The statistics turn a
// column of scores into a mean with its confidence interval and compare two
// columns. The prompt simulation draws points, boxes and correction clicks
// from the truth, from a seed. Run puts the three together over a data set
// (package dataset) and a model, and package report writes down what came out.
//
// Numbers are float64. Lengths are pixels unless a Spacing says otherwise. What
// a metric is where nothing is there to measure is decided by an Empty value,
// never silently. Where the field's programs disagree, the convention is named
// after the program.
//
//	o, err := eval.NewOverlap(truth, prediction)
//	if err != nil {
//		return err
//	}
//	fmt.Println(o.AJI(eval.EmptyNaN), o.Panoptic(0.5).PQ(eval.EmptyNaN))
package eval
