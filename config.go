package sam

import (
	"fmt"
	"slices"

	"github.com/slidesam/sam/internal/encoder"
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/promptenc"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/vit/tinyvit"
	"github.com/slidesam/sam/weights"
)

// Config is the shape of a model: that of its three networks.
type Config struct {
	// Encoder is the image encoder. Of another kind of encoder only the sides of
	// its input and of a patch and the channels of its embedding are here.
	Encoder vit.Config
	// TinyViT is MobileSAM's image encoder; nil for a ViT.
	TinyViT *tinyvit.Config
	Prompt  promptenc.Config
	Decoder maskdec.Config
}

// ViTB is the shape of Meta's vit_b: 91 million weights in the encoder.
func ViTB() Config { return published(768, 12, 12, 2, 5, 8, 11) }

// ViTL is the shape of Meta's vit_l: 308 million weights in the encoder.
func ViTL() Config { return published(1024, 24, 16, 5, 11, 17, 23) }

// ViTH is the shape of Meta's vit_h: 636 million weights in the encoder.
func ViTH() Config { return published(1280, 32, 16, 7, 15, 23, 31) }

// MobileSAM is the shape of MobileSAM's vit_t: 6 million weights in the
// encoder, a twelfth of vit_b's work.
func MobileSAM() Config {
	c := ViTB()
	t := tinyvit.MobileSAM()
	c.Encoder, c.TinyViT = encoder.Outline(t), &t
	return c
}

// published is the shape of a model that build_sam.py (segment-anything
// dca509f) makes.
func published(width, depth, heads int, global ...int) Config {
	enc := vit.Config{
		ImageSize: 1024, Patch: 16, Width: width, Depth: depth, Heads: heads, HeadDim: width / heads, MLP: 4 * width,
		Window: 14, Global: global, Out: 256,
	}
	return Config{
		Encoder: enc,
		Prompt:  promptenc.Config{ImageSize: 1024, Grid: 64, Channels: 256, MaskChannels: 16},
		Decoder: maskdec.Config{
			Grid: 64, Channels: 256, Depth: 2, Heads: maskdec.Heads, SelfDim: 256, CrossDim: 128, MLP: 2048, MaskTokens: 4,
			IoUHidden: 256, IoUDepth: 3, Up1: 64, Up2: 32, HyperHidden: 256, HyperDepth: 3,
		},
	}
}

// clone returns a copy that shares nothing with c.
func (c Config) clone() Config {
	c.Encoder.Global, c.Encoder.Adapted = slices.Clone(c.Encoder.Global), slices.Clone(c.Encoder.Adapted)
	if c.TinyViT != nil {
		t := *c.TinyViT
		c.TinyViT = &t
	}
	return c
}

// Validate returns an error if no model can have this shape.
func (c Config) Validate() error {
	if err := c.encoder().Validate(); err != nil {
		return fmt.Errorf("sam: %w", err)
	}
	if err := c.Prompt.Validate(); err != nil {
		return fmt.Errorf("sam: %w", err)
	}
	if err := c.Decoder.Validate(); err != nil {
		return fmt.Errorf("sam: %w", err)
	}
	e, p, d := c.Encoder, c.Prompt, c.Decoder
	switch {
	case p.ImageSize != e.ImageSize:
		return fmt.Errorf("sam: prompt encoder for pictures of %d pixels, image encoder for %d", p.ImageSize, e.ImageSize)
	case p.Grid != e.Grid() || d.Grid != e.Grid():
		return fmt.Errorf("sam: grids differ: image encoder %d, prompt encoder %d, mask decoder %d", e.Grid(), p.Grid, d.Grid)
	case p.Channels != e.Out || d.Channels != e.Out:
		return fmt.Errorf("sam: channels differ: image encoder %d, prompt encoder %d, mask decoder %d", e.Out, p.Channels, d.Channels)
	}
	return nil
}

// encoder is the shape of the image encoder, of either kind.
func (c Config) encoder() encoder.Shape { return encoder.Shape{ViT: c.Encoder, Tiny: c.TinyViT} }

// configOf reads the shape from a checkpoint's tensors.
func configOf(ck *weights.Checkpoint) (Config, error) {
	shape, err := encoder.ShapeOf(ck)
	if err != nil {
		return Config{}, err
	}
	c := Config{Encoder: shape.ViT, TinyViT: shape.Tiny}
	if c.Prompt, err = promptenc.ConfigOf(ck, c.Encoder.ImageSize, c.Encoder.Grid()); err != nil {
		return c, err
	}
	if c.Decoder, err = maskdec.ConfigOf(ck, c.Encoder.Grid()); err != nil {
		return c, err
	}
	return c, c.Validate()
}
