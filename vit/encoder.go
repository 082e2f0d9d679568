package vit

import (
	"fmt"
	"slices"
	"strconv"

	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/layer"
	"github.com/slidesam/sam/internal/op"
)

// Picture names the encoder's input, [ImageSize, ImageSize, 3]: normalised
// colours, padded with 0 at the right and the bottom.
const Picture = "picture"

// eps is the epsilon of every norm of the encoder, the neck's included.
// Source: build_sam.py, norm_layer; common.py, LayerNorm2d.
const eps = 1e-6

// Encoder is the image encoder: its shape and its weights, ready for use.
// It is immutable and safe for any number of goroutines.
type Encoder struct {
	cfg    Config
	patch  layer.Linear
	pos    []float32 // [Grid*Grid, Width]
	blocks []block
	conv1  layer.Linear
	norm1  layer.Norm
	conv2  []float32 // packed [Out, 9*Out], (y, x, channel)
	norm2  layer.Norm
	bytes  int64
}

type block struct {
	norm1, norm2          layer.Norm
	qkv, proj, lin1, lin2 layer.Linear
	relH, relW            []float32
}

// New reads the bound weights into an encoder. It returns an error that
// names the tensor if a value is not finite.
func New(c Config, p *Params) (*Encoder, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	c.Global = slices.Clone(c.Global)
	var r layer.Reader
	e := &Encoder{
		cfg:   c,
		patch: r.Linear(&p.PatchProj, &p.PatchBias),
		pos:   r.Array(&p.PosEmbed),
		conv1: r.Linear(&p.NeckConv1, nil),
		norm1: r.Norm(&p.NeckNorm1W, &p.NeckNorm1B, eps),
		norm2: r.Norm(&p.NeckNorm2W, &p.NeckNorm2B, eps),
	}
	r.Use(&p.NeckConv2, func(w []float32) { e.conv2 = r.Pack(layer.ChannelsLast(w, c.Out, c.Out, 3), c.Out, 9*c.Out) })
	e.blocks = make([]block, len(p.Blocks))
	readers := make([]layer.Reader, len(p.Blocks))
	kernel.Parallel(len(p.Blocks), func(i int) { e.blocks[i] = readBlock(&readers[i], &p.Blocks[i]) })
	for i := range readers {
		r.Join(&readers[i])
	}
	if err := r.Err(); err != nil {
		return nil, fmt.Errorf("vit: load: %w", err)
	}
	e.bytes = r.Bytes
	return e, nil
}

func readBlock(r *layer.Reader, b *BlockParams) block {
	return block{
		norm1: r.Norm(&b.Norm1W, &b.Norm1B, eps),
		norm2: r.Norm(&b.Norm2W, &b.Norm2B, eps),
		qkv:   r.Linear(&b.QKVW, &b.QKVB),
		proj:  r.Linear(&b.ProjW, &b.ProjB),
		lin1:  r.Linear(&b.Lin1W, &b.Lin1B),
		lin2:  r.Linear(&b.Lin2W, &b.Lin2B),
		relH:  r.Array(&b.RelPosH),
		relW:  r.Array(&b.RelPosW),
	}
}

// Config returns the encoder's shape; it is the caller's to change.
func (e *Encoder) Config() Config {
	c := e.cfg
	c.Global = slices.Clone(c.Global)
	return c
}

// Bytes is the memory that the weights take.
func (e *Encoder) Bytes() int64 { return e.bytes }

// Build adds the encoder to b and returns the embedding, [Grid*Grid, Out].
//
// Its stages are "patch_embed" (positions added), "block0", "block1", ...,
// and "neck".
func (e *Encoder) Build(b *graph.Builder) *G.Node {
	c, g := e.cfg, e.cfg.Grid()
	x := b.Input(Picture, c.ImageSize*c.ImageSize, 3)
	x = b.Apply(op.Patches{Batch: 1, H: c.ImageSize, W: c.ImageSize, Size: c.Patch, ChannelFirst: true}, x)
	pos := b.Weight("pos_embed", e.pos, g*g, c.Width)
	x = b.Stage("patch_embed", e.patch.Apply(b, "patch_embed.proj", x, kernel.ActNone, pos))
	for i := range e.blocks {
		x = b.Stage("block"+strconv.Itoa(i), e.block(b, i, x))
	}
	x = e.conv1.Apply(b, "neck.0", x, kernel.ActNone, nil)
	x = e.norm1.Apply(b, "neck.1", x)
	x = b.Apply(op.Conv3x3{H: g, W: g, In: c.Out, Out: c.Out}, x, b.Weight("neck.2.weight", e.conv2, len(e.conv2)))
	return b.Stage("neck", e.norm2.Apply(b, "neck.3", x))
}

func (e *Encoder) block(b *graph.Builder, i int, x *G.Node) *G.Node {
	c, k, name := e.cfg, &e.blocks[i], "blocks."+strconv.Itoa(i)
	at := kernel.Grid{H: c.Grid(), W: c.Grid(), Window: c.Window, Heads: c.Heads, HeadDim: c.HeadDim}
	rows := 2*c.Window - 1
	if c.IsGlobal(i) {
		at.Window, rows = 0, 2*c.Grid()-1
	}
	qkv := k.qkv.Apply(b, name+".attn.qkv", k.norm1.Apply(b, name+".norm1", x), kernel.ActNone, nil)
	a := b.Apply(op.RelPosAttention{Grid: at}, qkv,
		b.Weight(name+".attn.rel_pos_h", k.relH, rows, c.HeadDim),
		b.Weight(name+".attn.rel_pos_w", k.relW, rows, c.HeadDim),
		b.Weight(name+".attn.pad", k.qkv.B, len(k.qkv.B)))
	x = k.proj.Apply(b, name+".attn.proj", a, kernel.ActNone, x)
	h := k.lin1.Apply(b, name+".mlp.lin1", k.norm2.Apply(b, name+".norm2", x), kernel.ActGELU, nil)
	return k.lin2.Apply(b, name+".mlp.lin2", h, kernel.ActNone, x)
}

// Program builds and compiles the encoder's graph. Its only output is the
// embedding, [Grid*Grid, Out].
func (e *Encoder) Program(o graph.CompileOptions) (*graph.Program, error) {
	b := graph.NewBuilder()
	out := e.Build(b)
	p, err := b.CompileWith(o, out)
	if err != nil {
		return nil, fmt.Errorf("vit: build: %w", err)
	}
	return p, nil
}
