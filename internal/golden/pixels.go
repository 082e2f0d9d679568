package golden

import (
	"fmt"
)

// ResizeCase is one bilinear resize by Pillow: Image.resize with
// Image.BILINEAR of a uint8 RGB picture.
type ResizeCase struct {
	Kind     string // "picture" (PictureRGB) or "noise" (NoiseRGB)
	Seed     uint64
	Src, Dst Size
	CRC      uint32         // IEEE CRC-32 of the whole result, [H, W, 3]
	Out      *Tensor[uint8] `json:"-"` // the result, sampled when it is large
}

// Input returns the picture that was resized, [H, W, 3].
func (c ResizeCase) Input() []uint8 {
	if c.Kind == "noise" {
		return NoiseRGB(c.Src, c.Seed)
	}
	return PictureRGB(c.Src, c.Seed)
}

// Resizes returns the references of package resample. Results must be equal
// bit for bit.
func Resizes() ([]ResizeCase, error) {
	f, err := Load("resample")
	if err != nil {
		return nil, err
	}
	var meta struct {
		What  string
		Cases []ResizeCase
	}
	if err := f.Meta(&meta); err != nil {
		return nil, err
	}
	for i := range meta.Cases {
		if meta.Cases[i].Out, err = f.Bytes(fmt.Sprintf("c%d/out", i)); err != nil {
			return nil, err
		}
	}
	return meta.Cases, nil
}

// InterpolateCase is one call of PyTorch's F.interpolate with mode "bilinear"
// and align_corners=False, float32.
type InterpolateCase struct {
	Seed     uint64
	Src, Dst Size
	Out      *Tensor[float32] `json:"-"` // [H, W], sampled when it is large
}

// Input returns the plane that was interpolated, [H, W], in [-8, 8).
func (c InterpolateCase) Input() []float32 {
	in := Uniform(c.Src.H*c.Src.W, c.Seed)
	for i := range in {
		in[i] *= 8
	}
	return in
}

// PostprocessCase is one call of Sam.postprocess_masks: logits of Low x Low
// pixels are interpolated to Size x Size, cropped to Cropped, and interpolated
// to Picture.
type PostprocessCase struct {
	Seed      uint64
	Low, Size int
	Picture   Size             // the picture's size
	Cropped   Size             `json:"input"` // the resized picture's size inside the model's square
	Area      int              // pixels above 0
	Out       *Tensor[float32] `json:"-"` // logits [1, H, W], sampled when large
	Mask      *Masks           `json:"-"` // logits > 0
}

// Input returns the low-resolution logits, [Low, Low].
func (c PostprocessCase) Input() []float32 {
	s := Size{H: c.Low, W: c.Low}
	in := MaskLogits(s, c.Seed)
	for i, u := range Uniform(c.Low*c.Low, c.Seed) {
		in[i] += u
	}
	return in
}

// Interpolations returns the references of bilinear interpolation, one step
// and two.
func Interpolations() ([]InterpolateCase, []PostprocessCase, error) {
	f, err := Load("interpolate")
	if err != nil {
		return nil, nil, err
	}
	var meta struct {
		What             string
		PostprocessInput string `json:"postprocess_input"`
		Interpolate      []InterpolateCase
		Postprocess      []PostprocessCase
	}
	if err := f.Meta(&meta); err != nil {
		return nil, nil, err
	}
	for i := range meta.Interpolate {
		if meta.Interpolate[i].Out, err = f.Float32s(fmt.Sprintf("i%d/out", i)); err != nil {
			return nil, nil, err
		}
	}
	for i := range meta.Postprocess {
		c := &meta.Postprocess[i]
		if c.Out, err = f.Float32s(fmt.Sprintf("p%d/out", i)); err != nil {
			return nil, nil, err
		}
		if c.Mask, err = f.Masks(fmt.Sprintf("p%d/mask", i)); err != nil {
			return nil, nil, err
		}
	}
	return meta.Interpolate, meta.Postprocess, nil
}

// RLECase is one mask as pycocotools writes it.
type RLECase struct {
	Kind   string // blobs, zeros, ones, noise, checker, first: see Mask
	Seed   uint64
	Size   Size
	String string // COCO's compressed string
	Counts []int  // uncompressed runs; nil when there are more than 400
	Runs   int    // number of runs
	Area   int
	BBox   [4]int // x, y, width, height
}

// Mask returns the mask that was encoded, [H, W].
func (c RLECase) Mask() []bool {
	m := make([]bool, c.Size.H*c.Size.W)
	switch c.Kind {
	case "blobs":
		for i, v := range MaskLogits(c.Size, c.Seed) {
			m[i] = v > 0
		}
	case "noise":
		rgb := NoiseRGB(c.Size, c.Seed)
		for i := range m {
			m[i] = rgb[3*i] >= 200
		}
	case "checker":
		for i := range m {
			m[i] = (i/c.Size.W+i%c.Size.W)%2 == 0
		}
	case "first":
		m[0] = true
	case "ones":
		for i := range m {
			m[i] = true
		}
	}
	return m
}

// RLEs returns the references of COCO's run-length code.
func RLEs() ([]RLECase, error) {
	f, err := Load("rle")
	if err != nil {
		return nil, err
	}
	var meta struct {
		What  string
		Cases []RLECase
	}
	if err := f.Meta(&meta); err != nil {
		return nil, err
	}
	return meta.Cases, nil
}
