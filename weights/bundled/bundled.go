// Package bundled holds a small model for H&E slides and a picture to try it
// on, both inside the binary.
//
// The model has the architecture of every other checkpoint with small widths:
// pictures of 1024 x 1024, patches of 16, encoder width 192, depth 6, windows
// of 16 with two global blocks, prompt width 128. It learned from synthetic
// slides and one real one; README.md is its card.
//
//	c, err := bundled.Checkpoint()
//	...
//	img, truth := bundled.Picture(), bundled.Truth()
package bundled

import (
	"bytes"
	_ "embed"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"sync"

	"github.com/slidesam/sam/weights"
)

//go:generate go run ./train/picture -out .

var (
	//go:embed model.safetensors
	model []byte
	//go:embed instances.safetensors
	decoder []byte
	//go:embed picture.jpg
	picture []byte
	//go:embed nuclei.png
	nuclei []byte
	//go:embed regions.png
	regions []byte
)

// MPP is the bundled picture's scale in micrometres per pixel.
const MPP = 0.25

// Checkpoint returns the bundled model's weights, stored as float16. Every call
// returns a new one, which aliases the binary's read-only data.
func Checkpoint() (*weights.Checkpoint, error) {
	c, err := weights.OpenBytes(model)
	if err != nil {
		return nil, fmt.Errorf("bundled: %w", err)
	}
	return c, nil
}

// Decoder returns the weights of the model's instance decoder, which finds
// nuclei without a prompt, as Checkpoint does.
func Decoder() (*weights.Checkpoint, error) {
	c, err := weights.OpenDecoderBytes(decoder)
	if err != nil {
		return nil, fmt.Errorf("bundled: decoder: %w", err)
	}
	return c, nil
}

// Picture returns the bundled picture: 1024 x 1024 pixels at MPP, drawn by
// internal/synth. It shows fat with a vessel, a gland, the border of a tumour
// and lymphocytes. The caller may draw on it.
func Picture() *image.RGBA {
	img, err := jpeg.Decode(bytes.NewReader(picture))
	if err != nil {
		panic("bundled: picture.jpg: " + err.Error()) // embedded: a test decodes it
	}
	b := img.Bounds()
	out := image.NewRGBA(b)
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			out.Set(x, y, img.At(x, y))
		}
	}
	return out
}

// Objects is what the bundled picture shows. All maps are row-major [H, W].
type Objects struct {
	W, H   int
	Nuclei []int32 // 0: none; else a nucleus, 1..N
	N      int     // nuclei
	Glands []int32 // 0: none; else a gland, 1..GlandN, epithelium and lumen
	GlandN int     // glands
	Tumour []bool  // tumour region
	Tissue []bool  // not glass
}

// Truth returns the bundled picture's ground truth. It is shared: read only.
func Truth() *Objects { return truth() }

var truth = sync.OnceValue(func() *Objects {
	decode := func(name string, b []byte) image.Image {
		img, err := png.Decode(bytes.NewReader(b))
		if err != nil {
			panic("bundled: " + name + ": " + err.Error()) // embedded: a test decodes it
		}
		return img
	}
	nu := decode("nuclei.png", nuclei).(*image.Gray16)
	re := decode("regions.png", regions).(*image.Gray)
	w, h := nu.Rect.Dx(), nu.Rect.Dy()
	o := &Objects{W: w, H: h, Nuclei: make([]int32, w*h), Glands: make([]int32, w*h), Tumour: make([]bool, w*h), Tissue: make([]bool, w*h)}
	for i := range o.Nuclei {
		x, y := i%w, i/w
		o.Nuclei[i] = int32(nu.Gray16At(x, y).Y)
		v := re.GrayAt(x, y).Y
		o.Tumour[i], o.Tissue[i], o.Glands[i] = v&1 > 0, v&2 > 0, int32(v>>2)
		o.N, o.GlandN = max(o.N, int(o.Nuclei[i])), max(o.GlandN, int(o.Glands[i]))
	}
	return o
})
