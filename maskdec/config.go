// Package maskdec is Segment Anything's mask decoder (a two-way transformer,
// an upscaling path and hypernetworks) as gorgonia nodes.
//
// What does not depend on the prompt are the nodes of [Decoder.Image], which a
// graph of their own may compute once per picture; [Decoder.Masks] decodes a
// batch of prompts.
//
//	dec, err := maskdec.New(cfg, params)
//	...
//	img := dec.Image(b, rows, positions)
//	logits, iou := dec.Masks(b, maskdec.Batch{Prompts: 8, Tokens: 2, Masks: []int{1, 2, 3}}, img, sparse)
//
// Source: mask_decoder.py, transformer.py (segment-anything dca509f).
package maskdec

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/slidesam/sam/weights"
)

// ErrConfig is returned for a configuration that no mask decoder can have.
var ErrConfig = errors.New("maskdec: bad configuration")

// Config is the shape of a mask decoder.
type Config struct {
	Grid        int // cells of a side of the embedding
	Channels    int // channels of a token and of the embedding
	Depth       int // two-way blocks
	Heads       int // heads of every attention
	SelfDim     int // channels inside the attention among tokens
	CrossDim    int // channels inside the attentions between tokens and picture
	MLP         int // hidden channels of a block's perceptron
	MaskTokens  int // masks the decoder can give: the single one, then the others
	IoUHidden   int // hidden channels of the quality head
	IoUDepth    int // layers of the quality head
	Up1, Up2    int // channels after each upscaling
	HyperHidden int // hidden channels of a hypernetwork
	HyperDepth  int // layers of a hypernetwork
}

// Heads is what every published Segment Anything decoder has. No tensor
// tells it.
const Heads = 8

// MaskSize is the side of the low-resolution masks.
func (c Config) MaskSize() int { return 4 * c.Grid }

// Validate returns an error that wraps [ErrConfig] and names the first field
// that no decoder can have.
func (c Config) Validate() error {
	// Counts of layers are multiplied, and a file can name a million of them
	// without holding a value, so they are bounded more closely than widths.
	const wide, many = 1 << 16, 1 << 8
	for _, f := range []struct {
		name string
		v    int
		max  int
	}{
		{"Grid", c.Grid, wide}, {"Channels", c.Channels, wide}, {"Depth", c.Depth, many}, {"Heads", c.Heads, wide},
		{"SelfDim", c.SelfDim, wide}, {"CrossDim", c.CrossDim, wide}, {"MLP", c.MLP, wide}, {"MaskTokens", c.MaskTokens, many},
		{"IoUHidden", c.IoUHidden, wide}, {"IoUDepth", c.IoUDepth, many}, {"Up1", c.Up1, wide}, {"Up2", c.Up2, wide},
		{"HyperHidden", c.HyperHidden, wide}, {"HyperDepth", c.HyperDepth, many},
	} {
		if f.v < 1 || f.v > f.max {
			return fmt.Errorf("%w: %s is %d, want 1 to %d", ErrConfig, f.name, f.v, f.max)
		}
	}
	if c.SelfDim%c.Heads != 0 || c.CrossDim%c.Heads != 0 {
		return fmt.Errorf("%w: %d heads do not divide %d and %d channels", ErrConfig, c.Heads, c.SelfDim, c.CrossDim)
	}
	return nil
}

// ConfigOf reads the decoder's shape from the tensors of a checkpoint whose
// image encoder has the given grid. Everything but the number of heads
// follows from the shapes; that is [Heads].
func ConfigOf(ck *weights.Checkpoint, grid int) (Config, error) {
	var err error
	get := func(name string, rank int) []int {
		name = "mask_decoder." + name
		s, ok := ck.Shape(name)
		if (!ok || len(s) != rank) && err == nil {
			err = fmt.Errorf("maskdec: read configuration: %s: shape %v, want rank %d", name, s, rank)
		}
		if len(s) != rank {
			return make([]int, rank)
		}
		return s
	}
	count := func(prefix, suffix string) int {
		for n := 0; ; n++ {
			if _, ok := ck.Shape("mask_decoder." + prefix + strconv.Itoa(n) + suffix); !ok {
				return n
			}
		}
	}
	tokens := get("mask_tokens.weight", 2)
	self := get("transformer.layers.0.self_attn.q_proj.weight", 2)
	cross := get("transformer.layers.0.cross_attn_token_to_image.q_proj.weight", 2)
	mlp := get("transformer.layers.0.mlp.lin1.weight", 2)
	up1 := get("output_upscaling.0.weight", 4)
	up2 := get("output_upscaling.3.weight", 4)
	iou := get("iou_prediction_head.layers.0.weight", 2)
	hyper := get("output_hypernetworks_mlps.0.layers.0.weight", 2)
	if err != nil {
		return Config{}, err
	}
	c := Config{
		Grid: grid, Channels: tokens[1], Heads: Heads, SelfDim: self[0], CrossDim: cross[0], MLP: mlp[0], MaskTokens: tokens[0],
		Depth:     count("transformer.layers.", ".self_attn.q_proj.weight"),
		IoUHidden: iou[0], IoUDepth: count("iou_prediction_head.layers.", ".weight"),
		Up1: up1[1], Up2: up2[1],
		HyperHidden: hyper[0], HyperDepth: count("output_hypernetworks_mlps.0.layers.", ".weight"),
	}
	return c, c.Validate()
}
