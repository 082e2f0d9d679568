// Package instance is the decoder that finds all objects of a picture without
// a prompt: the UNETR decoder that micro-sam and patho-sam train on Segment
// Anything's image encoder, as a plain graph. Its maps say for each pixel how
// likely it is foreground and how far it is from its object's centre and
// boundary; patho-sam's semantic decoder has a map for each class instead.
//
// Blocks have instance norms, as micro-sam trains them, or batch norms, the
// other choice of torch-em's ConvBlock, which the bundled model has.
//
// Maps are channels-last, [H*W, C].
//
//	cfg, err := instance.ConfigOf(checkpoint, 64)
//	params := instance.NewParams(cfg)
//	err = weights.Bind(checkpoint, params)
//	dec, err := instance.New(cfg, params)
//	b := graph.NewBuilder()
//	maps := dec.Build(b, b.Input("embedding", 64*64, cfg.Embed), instance.BatchStats)
//
// Source: torch_em/model/unetr.py, UNETR; torch_em/model/unet.py, Decoder and
// ConvBlock2d (torch-em 6f71247c); micro_sam/instance_segmentation.py,
// DecoderAdapter (micro-sam 3acdcd72).
package instance

import (
	"errors"
	"fmt"

	"github.com/slidesam/sam/weights"
)

// ErrConfig is returned for a configuration that no decoder can have.
var ErrConfig = errors.New("instance: bad configuration")

// Levels is the number of times that the decoder doubles the sides of the
// embedding.
const Levels = 4

// maxValues bounds each array of a decoder: 4 GiB, eight times what the
// published shape needs.
const maxValues = 1 << 30

// Config is the shape of a decoder.
type Config struct {
	Grid       int         // cells of a side of the embedding
	Embed      int         // channels of the embedding
	Features   [Levels]int // channels of the levels, from twice the grid to sixteen times
	Out        int         // maps: 3 for instances, classes for the semantic decoder
	Transposed bool        // maps are enlarged by transposed convolutions instead of bilinearly
	BatchNorm  bool        // the norms within blocks are batch norms, with weights and statistics, instead of instance norms
}

// Side is the number of pixels of a side of the maps.
func (c Config) Side() int { return c.Grid << Levels }

// Validate returns an error that wraps [ErrConfig] and names the first field
// that no decoder can have.
func (c Config) Validate() error {
	for _, f := range []struct {
		name   string
		v, max int
	}{
		{"Grid", c.Grid, 1 << 10}, {"Embed", c.Embed, 1 << 14}, {"Out", c.Out, 1 << 10},
		{"Features[0]", c.Features[0], 1 << 14}, {"Features[1]", c.Features[1], 1 << 14},
		{"Features[2]", c.Features[2], 1 << 14}, {"Features[3]", c.Features[3], 1 << 14},
	} {
		if f.v < 1 || f.v > f.max {
			return fmt.Errorf("%w: %s is %d, want 1 to %d", ErrConfig, f.name, f.v, f.max)
		}
	}
	for i := range Levels {
		if i > 0 && (c.Features[i] > c.Features[i-1] || (c.Features[i-1]-c.Features[i])%2 != 0) {
			return fmt.Errorf("%w: Features %v: the channels of a level have no middle as wide as the next level", ErrConfig, c.Features)
		}
		side := c.Grid << (i + 1)
		if n := side * side * 2 * c.Features[i]; n > maxValues {
			return fmt.Errorf("%w: the map of level %d would have %d values, at most %d are possible", ErrConfig, i, n, maxValues)
		}
	}
	if n := 9 * c.Features[0] * max(c.Features[0], c.Embed); n > maxValues {
		return fmt.Errorf("%w: base would have %d weights, at most %d are possible", ErrConfig, n, maxValues)
	}
	return nil
}

// ConfigOf reads the decoder's shape from the tensors of a checkpoint, such as
// [weights.OpenDecoder] returns. grid is the side of the embedding, which no
// tensor of the decoder tells.
func ConfigOf(ck *weights.Checkpoint, grid int) (Config, error) {
	c := Config{Grid: grid}
	var err error
	get := func(name string) []int {
		s, ok := ck.Shape(name)
		switch {
		case err != nil:
		case !ok:
			err = fmt.Errorf("%s: missing", name)
		case len(s) != 4:
			err = fmt.Errorf("%s: shape %v, want rank 4", name, s)
		default:
			return s
		}
		return make([]int, 4)
	}
	c.Embed, c.Out = get("base.block.1.weight")[1], get("out_conv.weight")[0]
	for i := range Levels {
		c.Features[i] = get(fmt.Sprintf("deconv%d.block.1.block.weight", i+1))[0]
	}
	if err != nil {
		return c, fmt.Errorf("instance: read configuration: %w", err)
	}
	_, c.Transposed = ck.Shape("decoder.samplers.0.block.weight")
	_, c.BatchNorm = ck.Shape("base.block.0.running_mean")
	return c, c.Validate()
}
