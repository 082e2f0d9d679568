// Package dataset reads the field's annotated pictures: MoNuSeg, PanNuke,
// CoNSeP, Lizard, CoNIC, NuInsSeg, TNBC, GlaS, CAMELYON16, the NEPTUNE patches
// of Omni-Seg, COCO, pictures with QuPath annotations, and any two folders of
// pictures and masks.
//
// A Set lists its pictures when it is opened and reads one when asked. Opening
// checks the folder's shape: a missing annotation or a picture without a
// partner is an error that says what was expected where, so that a half copied
// data set does not give a number. Truth is a label picture, [H, W], zero for
// background; where annotations overlap the later one wins; a binary mask
// becomes its connected parts (8 neighbours).
//
//	set, err := dataset.MoNuSeg("MoNuSegTestData")
//	if err != nil {
//		return err
//	}
//	p, err := set.Load(ctx, 0)
//
// Sizes that a file claims are checked before memory is taken for them.
package dataset
