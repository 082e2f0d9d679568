// Package sam is Segment Anything (Kirillov et al. 2023) in pure Go, for
// digital pathology: from a checkpoint and a picture or a whole slide to
// masks, numerically equal to Meta's PyTorch code.
//
// Coordinates are pixels of the picture the caller gave, x right, y down,
// (0, 0) the corner of the first pixel. Sizes are {H, W}. Maps are row-major
// float32. A [Model] is safe for any number of goroutines, and the same input
// gives the same bits whatever their number.
//
//	m, err := sam.Load("sam_vit_b_01ec64.pth") // or sam.Bundled()
//	...
//	e, err := m.Embed(ctx, img)
//	...
//	p, err := m.Predict(ctx, e, sam.Prompt{Box: &sam.Box{X0: 40, Y0: 60, X1: 200, Y1: 190}}, sam.PredictOptions{})
//	...
//	mask := p.Masks[p.Best()]
//
// The networks are gorgonia graphs in the packages vit, promptenc and maskdec;
// package weights reads checkpoints and package eval measures masks.
package sam
