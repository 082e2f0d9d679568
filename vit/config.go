// Package vit is Segment Anything's image encoder (a ViT with windowed and
// global attention, decomposed relative positions and a convolutional neck)
// as a gorgonia graph.
//
// Maps are channels-last: a picture is [H, W, 3], tokens are [H*W, C] in
// picture order.
//
//	cfg, err := vit.ConfigOf(checkpoint)
//	...
//	bound := struct {
//		E *vit.Params `weight:"image_encoder"`
//	}{vit.NewParams(cfg)}
//	err = weights.Bind(checkpoint, &bound)
//	...
//	enc, err := vit.New(cfg, bound.E)
//	...
//	b := graph.NewBuilder()
//	embedding := enc.Build(b) // [Grid*Grid, Out], from the input vit.Picture
//	prog, err := cpu.Compile(b, graph.CompileOptions{}, embedding)
//
// Source: image_encoder.py, common.py (segment-anything dca509f).
package vit

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/slidesam/sam/weights"
)

// ErrConfig is returned for a configuration that no encoder can have.
var ErrConfig = errors.New("vit: bad configuration")

// maxValues bounds each array of an encoder: 4 GiB, fifty times what
// ViT-H needs.
const maxValues = 1 << 30

// Config is the shape of an encoder.
type Config struct {
	ImageSize int   // pixels of a side of the square input picture
	Patch     int   // pixels of a side of a patch
	Width     int   // channels of a token
	Depth     int   // number of blocks
	Heads     int   // attention heads
	HeadDim   int   // channels of a head
	MLP       int   // hidden channels of a block's perceptron
	Window    int   // tokens of a side of an attention window
	Global    []int // blocks that attend to the whole picture, ascending
	Out       int   // channels of the embedding
	Adapter   int   // hidden channels of AdaptFormer's branches; 0: none
	Adapted   []int // blocks that have such a branch, ascending
}

// Grid is the number of tokens along a side of the picture.
func (c Config) Grid() int { return c.ImageSize / c.Patch }

// IsGlobal reports whether block i attends to the whole picture.
func (c Config) IsGlobal(i int) bool { return slices.Contains(c.Global, i) }

// Validate returns an error that wraps [ErrConfig] and names the first field
// that no encoder can have.
func (c Config) Validate() error {
	for _, f := range []struct {
		name string
		v    int
		max  int
	}{
		{"ImageSize", c.ImageSize, 1 << 14}, {"Patch", c.Patch, 1 << 10}, {"Width", c.Width, 1 << 14},
		{"Depth", c.Depth, 1 << 10}, {"Heads", c.Heads, 1 << 10}, {"HeadDim", c.HeadDim, 1 << 10},
		{"MLP", c.MLP, 1 << 16}, {"Out", c.Out, 1 << 14},
	} {
		if f.v < 1 || f.v > f.max {
			return fmt.Errorf("%w: %s is %d, want 1 to %d", ErrConfig, f.name, f.v, f.max)
		}
	}
	if c.ImageSize%c.Patch != 0 {
		return fmt.Errorf("%w: ImageSize %d is no multiple of Patch %d", ErrConfig, c.ImageSize, c.Patch)
	}
	// A window much larger than the map would be padding, all of which is
	// attended to.
	if w := max(c.Grid(), 128); len(c.Global) < c.Depth && (c.Window < 1 || c.Window > w) {
		return fmt.Errorf("%w: Window is %d, want 1 to %d unless every block is global", ErrConfig, c.Window, w)
	}
	for name, blocks := range map[string][]int{"Global": c.Global, "Adapted": c.Adapted} {
		for i, b := range blocks {
			if b < 0 || b >= c.Depth || (i > 0 && b <= blocks[i-1]) {
				return fmt.Errorf("%w: %s %v, want ascending blocks below %d", ErrConfig, name, blocks, c.Depth)
			}
		}
	}
	if (c.Adapter > 0) != (len(c.Adapted) > 0) || c.Adapter < 0 || c.Adapter > 1<<14 {
		return fmt.Errorf("%w: Adapter is %d for the blocks %v, want 1 to %d, or 0 for none", ErrConfig, c.Adapter, c.Adapted, 1<<14)
	}
	n, a := c.Grid()*c.Grid(), c.Heads*c.HeadDim
	for _, f := range []struct {
		name string
		n    int
	}{
		{"the map", n * c.Width}, {"the perceptron's map", n * c.MLP}, {"queries, keys and values", n * 3 * a},
		{"attn.qkv.weight", 3 * a * c.Width}, {"neck.2.weight", 9 * c.Out * c.Out},
	} {
		if f.n > maxValues {
			return fmt.Errorf("%w: %s would have %d values, at most %d are possible", ErrConfig, f.name, f.n, maxValues)
		}
	}
	return nil
}

// ConfigOf reads the encoder's shape from the tensors of a checkpoint.
//
// Everything follows from the shapes. A block is global if its table of
// relative positions covers the whole grid, 2*Grid-1 rows; otherwise it has
// windows of (rows+1)/2 tokens. The number of heads is the width of the
// attention over the width of that table.
func ConfigOf(ck *weights.Checkpoint) (Config, error) {
	r := shapes{ck: ck}
	var c Config
	patch := r.get("image_encoder.patch_embed.proj.weight", 4)
	pos := r.get("image_encoder.pos_embed", 4)
	neck := r.get("image_encoder.neck.0.weight", 4)
	qkv := r.get("image_encoder.blocks.0.attn.qkv.weight", 2)
	lin := r.get("image_encoder.blocks.0.mlp.lin1.weight", 2)
	rel := r.get("image_encoder.blocks.0.attn.rel_pos_h", 2)
	if r.err != nil {
		return c, fmt.Errorf("vit: read configuration: %w", r.err)
	}
	if pos[1] != pos[2] {
		return c, fmt.Errorf("vit: read configuration: pos_embed is %v: only square pictures are supported", pos)
	}
	c.Width, c.Patch = patch[0], patch[2]
	c.ImageSize, c.Out, c.MLP, c.HeadDim = pos[1]*patch[2], neck[0], lin[0], rel[1]
	if c.HeadDim == 0 || qkv[0]%(3*c.HeadDim) != 0 {
		return c, fmt.Errorf("vit: read configuration: attn.qkv.weight %v does not hold heads of %d channels", qkv, c.HeadDim)
	}
	c.Heads = qkv[0] / 3 / c.HeadDim
	for ; ; c.Depth++ {
		s, ok := ck.Shape("image_encoder.blocks." + strconv.Itoa(c.Depth) + ".attn.rel_pos_h")
		if !ok {
			break
		}
		if len(s) != 2 || s[0]%2 != 1 {
			return c, fmt.Errorf("vit: read configuration: block %d: rel_pos_h is %v, want an odd number of rows", c.Depth, s)
		}
		if down, ok := ck.Shape("image_encoder.blocks." + strconv.Itoa(c.Depth) + ".mlp.adapter.down.weight"); ok && len(down) == 2 {
			c.Adapter = down[0]
			c.Adapted = append(c.Adapted, c.Depth)
		}
		switch w := (s[0] + 1) / 2; {
		case w == pos[1]:
			c.Global = append(c.Global, c.Depth)
		case c.Window == 0:
			c.Window = w
		case c.Window != w:
			return c, fmt.Errorf("vit: read configuration: block %d: window of %d tokens, want %d as in the blocks before it", c.Depth, w, c.Window)
		}
	}
	return c, c.Validate()
}

// shapes collects tensor shapes and the first error.
type shapes struct {
	ck  *weights.Checkpoint
	err error
}

func (r *shapes) get(name string, rank int) []int {
	s, ok := r.ck.Shape(name)
	switch {
	case r.err != nil:
	case !ok:
		r.err = fmt.Errorf("%s: missing", name)
	case len(s) != rank:
		r.err = fmt.Errorf("%s: shape %v, want rank %d", name, s, rank)
	default:
		return s
	}
	return make([]int, rank)
}
