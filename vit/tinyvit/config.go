// Package tinyvit is the image encoder of MobileSAM, TinyViT (convolutions
// first, then attention over windows with a bias for each offset), as a plain
// graph. What comes after it, prompt encoder and mask decoder, is Segment
// Anything's.
//
// Maps are channels-last: a picture is [H, W, 3], tokens are [H*W, C] in
// picture order. Batch norms are folded into the convolutions before them when
// the weights are read.
//
//	cfg, err := tinyvit.ConfigOf(checkpoint)
//	params := tinyvit.NewParams(cfg)
//	err = weights.Bind(checkpoint, &struct{ E *tinyvit.Params `weight:"image_encoder"` }{params})
//	enc, err := tinyvit.New(cfg, params)
//	b := graph.NewBuilder()
//	embedding := enc.Build(b) // [64*64, Out]
//
// Source: mobile_sam/modeling/tiny_vit_sam.py (MobileSAM 34bbbfd).
package tinyvit

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/slidesam/sam/weights"
)

// ErrConfig is returned for a configuration that no encoder can have.
var ErrConfig = errors.New("tinyvit: bad configuration")

// ImageSize is the side of the published encoder's input, which no tensor
// tells.
const ImageSize = 1024

// Stages is the number of stages of an encoder.
const Stages = 4

// Config is the shape of an encoder.
type Config struct {
	ImageSize int           // pixels of a side of the square input picture
	Hidden    int           // channels after the first convolution
	Stages    [Stages]Stage // the first is of convolutions
	Out       int           // channels of the embedding
	Classes   int           // of the head that the encoder was trained with, which is not used; 0: none
}

// Stage is the shape of some blocks.
type Stage struct {
	Width  int // channels of a token
	Depth  int // number of blocks
	Hidden int // channels in the middle of a convolutional block, or of a perceptron
	Heads  int // attention heads; 0 in the first stage
	Window int // tokens of a side of an attention window; 0 in the first stage
}

// unscaled are the widths before which a map is not made smaller, as upstream
// has it: so the last stage has the resolution of the third.
var unscaled = []int{320, 448, 576}

// stride is that of the layer that leads to a stage of that width.
func stride(width int) int {
	if slices.Contains(unscaled, width) {
		return 1
	}
	return 2
}

// Side is the number of tokens of a side of a stage's map.
func (c Config) Side(stage int) int {
	side := c.ImageSize / 4
	for i := 1; i <= stage; i++ {
		side /= stride(c.Stages[i].Width)
	}
	return side
}

// Grid is the number of tokens of a side of the embedding.
func (c Config) Grid() int { return c.Side(Stages - 1) }

// MobileSAM is the shape of the published encoder.
func MobileSAM() Config {
	return Config{
		ImageSize: ImageSize, Hidden: 32, Out: 256, Classes: 1000,
		Stages: [Stages]Stage{
			{Width: 64, Depth: 2, Hidden: 256},
			{Width: 128, Depth: 2, Hidden: 512, Heads: 4, Window: 7},
			{Width: 160, Depth: 6, Hidden: 640, Heads: 5, Window: 14},
			{Width: 320, Depth: 2, Hidden: 1280, Heads: 10, Window: 7},
		},
	}
}

// Validate returns an error that wraps [ErrConfig] and names the first field
// that no encoder can have.
func (c Config) Validate() error {
	type field struct {
		name        string
		v, min, max int
	}
	fields := []field{
		{"ImageSize", c.ImageSize, 32, 1 << 12}, {"Hidden", c.Hidden, 1, 1 << 10}, {"Out", c.Out, 1, 1 << 12},
		{"Classes", c.Classes, 0, 1 << 20},
	}
	for i, s := range c.Stages {
		at := func(name string) string { return fmt.Sprintf("Stages[%d].%s", i, name) }
		fields = append(fields, field{at("Width"), s.Width, 1, 1 << 11}, field{at("Depth"), s.Depth, 1, 1 << 8}, field{at("Hidden"), s.Hidden, 1, 1 << 12})
		if i > 0 {
			fields = append(fields, field{at("Heads"), s.Heads, 1, 1 << 8}, field{at("Window"), s.Window, 1, 1 << 6})
		}
	}
	for _, f := range fields {
		if f.v < f.min || f.v > f.max {
			return fmt.Errorf("%w: %s is %d, want %d to %d", ErrConfig, f.name, f.v, f.min, f.max)
		}
	}
	if c.ImageSize%32 != 0 {
		return fmt.Errorf("%w: ImageSize %d is no multiple of 32", ErrConfig, c.ImageSize)
	}
	for i, s := range c.Stages[1:] {
		if s.Width%s.Heads != 0 {
			return fmt.Errorf("%w: Stages[%d]: %d channels are not %d heads", ErrConfig, i+1, s.Width, s.Heads)
		}
	}
	return nil
}

// Is reports whether a checkpoint's image encoder is a TinyViT.
func Is(ck *weights.Checkpoint) bool {
	_, ok := ck.Shape("image_encoder.patch_embed.seq.0.c.weight")
	return ok
}

// ConfigOf reads the encoder's shape from the tensors of a checkpoint, for
// pictures of [ImageSize].
func ConfigOf(ck *weights.Checkpoint) (Config, error) {
	c := Config{ImageSize: ImageSize}
	var err error
	get := func(rank int, format string, args ...any) []int {
		name := "image_encoder." + fmt.Sprintf(format, args...)
		s, ok := ck.Shape(name)
		switch {
		case err != nil:
		case !ok:
			err = fmt.Errorf("%s: missing", name)
		case len(s) != rank:
			err = fmt.Errorf("%s: shape %v, want rank %d", name, s, rank)
		default:
			return s
		}
		return make([]int, rank)
	}
	c.Hidden = get(4, "patch_embed.seq.0.c.weight")[0]
	c.Out = get(4, "neck.0.weight")[0]
	for i := range c.Stages {
		s := &c.Stages[i]
		first := "layers.%d.blocks.%d.attn.attention_biases"
		if i == 0 {
			first = "layers.%d.blocks.%d.conv1.c.weight"
			conv := get(4, first, 0, 0)
			s.Hidden, s.Width = conv[0], conv[1]
		} else {
			fc := get(2, "layers.%d.blocks.0.mlp.fc1.weight", i)
			bias := get(2, first, i, 0)
			s.Hidden, s.Width, s.Heads = fc[0], fc[1], bias[0]
			s.Window = int(math.Sqrt(float64(bias[1])))
		}
		for ; s.Depth <= 1<<8; s.Depth++ {
			if _, ok := ck.Shape("image_encoder." + fmt.Sprintf(first, i, s.Depth)); !ok {
				break
			}
		}
	}
	if s, ok := ck.Shape("image_encoder.head.weight"); ok && len(s) == 2 {
		c.Classes = s[0]
	}
	if err != nil {
		return c, fmt.Errorf("tinyvit: read configuration: %w", err)
	}
	return c, c.Validate()
}
