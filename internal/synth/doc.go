// Package synth draws H&E slides that never existed, with exact ground truth.
//
// A Slide is a pure function of a seed: every pixel follows from the seed, the
// options and its own place, so any region at any scale can be asked for in any
// order, and the memory used depends on the region alone, never on the slide.
// Everything random comes from hashes of lattice cells (no random state).
//
//	s := synth.New(7, synth.Options{})
//	img, truth := s.Region(40000, 30000, 1024, 1024, 0.25)
//	fmt.Println(len(truth.List), "nuclei")
//
// Lengths inside the package are micrometres. A picture is row-major, its
// pixel (i, j) covers the square [(x+i)*mpp, (x+i+1)*mpp) x [(y+j)*mpp,
// (y+j+1)*mpp) of the slide, so that neighbouring regions join without a seam.
//
// Layers, from the glass up: tissue outline, stroma (fibres along a warped
// direction field, clefts), fat, tumour regions with nests and septa, glands
// with lumen and epithelium, vessels, nuclei; then Beer-Lambert absorption with
// the slide's own stain vectors, pen, fold and bubble artefacts, uneven light,
// blur and sensor noise.
package synth
