package vit

import (
	"slices"

	"github.com/slidesam/sam/weights"
)

// Params are the encoder's weights by their checkpoint names.
type Params struct {
	PosEmbed   weights.Param `weight:"pos_embed"`               // [1, Grid, Grid, Width]
	PatchProj  weights.Param `weight:"patch_embed.proj.weight"` // [Width, 3, Patch, Patch]
	PatchBias  weights.Param `weight:"patch_embed.proj.bias"`   // [Width]
	Blocks     []BlockParams `weight:"blocks"`
	NeckConv1  weights.Param `weight:"neck.0.weight"` // [Out, Width, 1, 1]
	NeckNorm1W weights.Param `weight:"neck.1.weight"` // [Out]
	NeckNorm1B weights.Param `weight:"neck.1.bias"`   // [Out]
	NeckConv2  weights.Param `weight:"neck.2.weight"` // [Out, Out, 3, 3]
	NeckNorm2W weights.Param `weight:"neck.3.weight"` // [Out]
	NeckNorm2B weights.Param `weight:"neck.3.bias"`   // [Out]
}

// BlockParams are the weights of one block; A is Heads*HeadDim, R is twice
// the side of the block's attention window less one.
type BlockParams struct {
	Norm1W  weights.Param `weight:"norm1.weight"`     // [Width]
	Norm1B  weights.Param `weight:"norm1.bias"`       // [Width]
	QKVW    weights.Param `weight:"attn.qkv.weight"`  // [3*A, Width]
	QKVB    weights.Param `weight:"attn.qkv.bias"`    // [3*A]
	RelPosH weights.Param `weight:"attn.rel_pos_h"`   // [R, HeadDim]
	RelPosW weights.Param `weight:"attn.rel_pos_w"`   // [R, HeadDim]
	ProjW   weights.Param `weight:"attn.proj.weight"` // [Width, A]
	ProjB   weights.Param `weight:"attn.proj.bias"`   // [Width]
	Norm2W  weights.Param `weight:"norm2.weight"`     // [Width]
	Norm2B  weights.Param `weight:"norm2.bias"`       // [Width]
	Lin1W   weights.Param `weight:"mlp.lin1.weight"`  // [MLP, Width]
	Lin1B   weights.Param `weight:"mlp.lin1.bias"`    // [MLP]
	Lin2W   weights.Param `weight:"mlp.lin2.weight"`  // [Width, MLP]
	Lin2B   weights.Param `weight:"mlp.lin2.bias"`    // [Width]

	Adapter *AdapterParams `weight:"mlp.adapter,nilable"`
}

// AdapterParams are the weights of AdaptFormer's branch beside a perceptron,
// with its factor alpha multiplied in; R is Adapter.
type AdapterParams struct {
	DownW weights.Param `weight:"down.weight"` // [R, Width]
	DownB weights.Param `weight:"down.bias"`   // [R]
	UpW   weights.Param `weight:"up.weight"`   // [Width, R]
	UpB   weights.Param `weight:"up.bias"`     // [Width]
}

func param(shape ...int) weights.Param { return weights.Param{Shape: shape} }

// NewParams returns the weights that an encoder of this shape needs, not yet
// bound to tensors.
func NewParams(c Config) *Params {
	a, g := c.Heads*c.HeadDim, c.Grid()
	p := &Params{
		PosEmbed:   param(1, g, g, c.Width),
		PatchProj:  param(c.Width, 3, c.Patch, c.Patch),
		PatchBias:  param(c.Width),
		NeckConv1:  param(c.Out, c.Width, 1, 1),
		NeckNorm1W: param(c.Out),
		NeckNorm1B: param(c.Out),
		NeckConv2:  param(c.Out, c.Out, 3, 3),
		NeckNorm2W: param(c.Out),
		NeckNorm2B: param(c.Out),
	}
	for i := 0; i < c.Depth; i++ {
		r := 2*c.Window - 1
		if c.IsGlobal(i) {
			r = 2*g - 1
		}
		var adapter *AdapterParams
		if slices.Contains(c.Adapted, i) {
			adapter = &AdapterParams{param(c.Adapter, c.Width), param(c.Adapter), param(c.Width, c.Adapter), param(c.Width)}
		}
		p.Blocks = append(p.Blocks, BlockParams{
			Norm1W: param(c.Width), Norm1B: param(c.Width),
			QKVW: param(3*a, c.Width), QKVB: param(3 * a),
			RelPosH: param(r, c.HeadDim), RelPosW: param(r, c.HeadDim),
			ProjW: param(c.Width, a), ProjB: param(c.Width),
			Norm2W: param(c.Width), Norm2B: param(c.Width),
			Lin1W: param(c.MLP, c.Width), Lin1B: param(c.MLP),
			Lin2W: param(c.Width, c.MLP), Lin2B: param(c.Width),
			Adapter: adapter,
		})
	}
	return p
}
