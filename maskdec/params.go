package maskdec

import "github.com/slidesam/sam/weights"

// Params are the decoder's weights by their checkpoint names.
type Params struct {
	IoUToken   weights.Param   `weight:"iou_token.weight"`   // [1, Channels]
	MaskTokens weights.Param   `weight:"mask_tokens.weight"` // [MaskTokens, Channels]
	Layers     []LayerParams   `weight:"transformer.layers"`
	Final      AttentionParams `weight:"transformer.final_attn_token_to_image"`
	FinalNorm  NormParams      `weight:"transformer.norm_final_attn"`
	Up1        LinearParams    `weight:"output_upscaling.0"` // [Channels, Up1, 2, 2]
	UpNorm     NormParams      `weight:"output_upscaling.1"`
	Up2        LinearParams    `weight:"output_upscaling.3"` // [Up1, Up2, 2, 2]
	Hyper      []MLPParams     `weight:"output_hypernetworks_mlps"`
	IoU        MLPParams       `weight:"iou_prediction_head"`
}

// LayerParams are the weights of one two-way block.
type LayerParams struct {
	Self         AttentionParams `weight:"self_attn"`
	Norm1        NormParams      `weight:"norm1"`
	TokenToImage AttentionParams `weight:"cross_attn_token_to_image"`
	Norm2        NormParams      `weight:"norm2"`
	Lin1         LinearParams    `weight:"mlp.lin1"`
	Lin2         LinearParams    `weight:"mlp.lin2"`
	Norm3        NormParams      `weight:"norm3"`
	ImageToToken AttentionParams `weight:"cross_attn_image_to_token"`
	Norm4        NormParams      `weight:"norm4"`
}

// AttentionParams are the four projections of an attention.
type AttentionParams struct {
	Q   LinearParams `weight:"q_proj"`
	K   LinearParams `weight:"k_proj"`
	V   LinearParams `weight:"v_proj"`
	Out LinearParams `weight:"out_proj"`
}

// LinearParams are the weight and the bias of a linear layer or of a
// convolution.
type LinearParams struct {
	W weights.Param `weight:"weight"`
	B weights.Param `weight:"bias"`
}

// NormParams are the scale and the shift of a layer norm.
type NormParams struct {
	W weights.Param `weight:"weight"`
	B weights.Param `weight:"bias"`
}

// MLPParams are the layers of a perceptron.
type MLPParams struct {
	Layers []LinearParams `weight:"layers"`
}

func param(shape ...int) weights.Param { return weights.Param{Shape: shape} }

func linearParams(out, in int) LinearParams { return LinearParams{param(out, in), param(out)} }

func normParams(c int) NormParams { return NormParams{param(c), param(c)} }

func attentionParams(channels, inner int) AttentionParams {
	in := linearParams(inner, channels)
	return AttentionParams{in, in, in, linearParams(channels, inner)}
}

func mlpParams(in, hidden, out, depth int) (p MLPParams) {
	for i := 0; i < depth; i++ {
		n := hidden
		if i == depth-1 {
			n = out
		}
		p.Layers = append(p.Layers, linearParams(n, in))
		in = n
	}
	return p
}

// NewParams returns the weights that a decoder of this shape needs, not yet
// bound to tensors.
func NewParams(c Config) *Params {
	p := &Params{
		IoUToken: param(1, c.Channels), MaskTokens: param(c.MaskTokens, c.Channels),
		Final: attentionParams(c.Channels, c.CrossDim), FinalNorm: normParams(c.Channels),
		Up1:    LinearParams{param(c.Channels, c.Up1, 2, 2), param(c.Up1)},
		UpNorm: normParams(c.Up1),
		Up2:    LinearParams{param(c.Up1, c.Up2, 2, 2), param(c.Up2)},
		IoU:    mlpParams(c.Channels, c.IoUHidden, c.MaskTokens, c.IoUDepth),
	}
	for i := 0; i < c.Depth; i++ {
		p.Layers = append(p.Layers, LayerParams{
			Self: attentionParams(c.Channels, c.SelfDim), Norm1: normParams(c.Channels),
			TokenToImage: attentionParams(c.Channels, c.CrossDim), Norm2: normParams(c.Channels),
			Lin1: linearParams(c.MLP, c.Channels), Lin2: linearParams(c.Channels, c.MLP), Norm3: normParams(c.Channels),
			ImageToToken: attentionParams(c.Channels, c.CrossDim), Norm4: normParams(c.Channels),
		})
	}
	for i := 0; i < c.MaskTokens; i++ {
		p.Hyper = append(p.Hyper, mlpParams(c.Channels, c.HyperHidden, c.Up2, c.HyperDepth))
	}
	return p
}
