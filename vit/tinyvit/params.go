package tinyvit

import "github.com/slidesam/sam/weights"

// Params are the encoder's weights by their checkpoint names.
type Params struct {
	Patch1   ConvNormParams  `weight:"patch_embed.seq.0"` // [Hidden, 3, 3, 3]
	Patch2   ConvNormParams  `weight:"patch_embed.seq.2"` // [Width, Hidden, 3, 3]
	Stage0   ConvStageParams `weight:"layers.0"`
	Stage1   StageParams     `weight:"layers.1"`
	Stage2   StageParams     `weight:"layers.2"`
	Stage3   LastParams      `weight:"layers.3"`
	Neck1    weights.Param   `weight:"neck.0.weight"` // [Out, Width, 1, 1]
	Norm1    NormParams      `weight:"neck.1"`
	Neck2    weights.Param   `weight:"neck.2.weight"` // [Out, Out, 3, 3]
	Norm2    NormParams      `weight:"neck.3"`
	NormHead *NormParams     `weight:"norm_head,optional"` // not used
	Head     *LinearParams   `weight:"head,optional"`      // not used
}

// ConvNormParams are a convolution without a bias and its batch norm.
type ConvNormParams struct {
	Conv     weights.Param `weight:"c.weight"`
	W        weights.Param `weight:"bn.weight"`
	B        weights.Param `weight:"bn.bias"`
	Mean     weights.Param `weight:"bn.running_mean"`
	Variance weights.Param `weight:"bn.running_var"`
	Count    weights.Param `weight:"bn.num_batches_tracked,optional"`
}

// ConvStageParams are the first stage.
type ConvStageParams struct {
	Blocks     []ConvBlockParams `weight:"blocks"`
	Downsample ConvBlockParams   `weight:"downsample"`
}

// StageParams are a stage with attention, and the layer that leads to the next.
type StageParams struct {
	Blocks     []BlockParams   `weight:"blocks"`
	Downsample ConvBlockParams `weight:"downsample"`
}

// LastParams are the last stage.
type LastParams struct {
	Blocks []BlockParams `weight:"blocks"`
}

// ConvBlockParams are three convolutions, the second one of each channel by
// itself.
type ConvBlockParams struct {
	Conv1 ConvNormParams `weight:"conv1"`
	Conv2 ConvNormParams `weight:"conv2"`
	Conv3 ConvNormParams `weight:"conv3"`
}

// BlockParams are a block with attention.
type BlockParams struct {
	Norm   NormParams     `weight:"attn.norm"`
	QKV    LinearParams   `weight:"attn.qkv"`              // rows (head, q, k or v, channel)
	Biases weights.Param  `weight:"attn.attention_biases"` // [Heads, Window*Window]
	Proj   LinearParams   `weight:"attn.proj"`
	Local  ConvNormParams `weight:"local_conv"` // [Width, 1, 3, 3]
	MLP    NormParams     `weight:"mlp.norm"`
	FC1    LinearParams   `weight:"mlp.fc1"`
	FC2    LinearParams   `weight:"mlp.fc2"`
}

// LinearParams are a linear layer.
type LinearParams struct {
	W weights.Param `weight:"weight"`
	B weights.Param `weight:"bias"`
}

// NormParams are a layer norm.
type NormParams struct {
	W weights.Param `weight:"weight"`
	B weights.Param `weight:"bias"`
}

func param(shape ...int) weights.Param { return weights.Param{Shape: shape} }

func convNorm(out, in, size int) ConvNormParams {
	return ConvNormParams{param(out, in, size, size), param(out), param(out), param(out), param(out), weights.Param{Shape: []int{}}}
}

func convBlock(in, hidden, out int) ConvBlockParams {
	return ConvBlockParams{convNorm(hidden, in, 1), convNorm(hidden, 1, 3), convNorm(out, hidden, 1)}
}

func norm(c int) NormParams { return NormParams{param(c), param(c)} }

func linear(out, in int) LinearParams { return LinearParams{param(out, in), param(out)} }

// NewParams returns the weights that an encoder of this shape needs, not yet
// bound to tensors.
func NewParams(c Config) *Params {
	first, last := c.Stages[0], c.Stages[Stages-1]
	p := &Params{
		Patch1: convNorm(c.Hidden, 3, 3), Patch2: convNorm(first.Width, c.Hidden, 3),
		Neck1: param(c.Out, last.Width, 1, 1), Norm1: norm(c.Out), Neck2: param(c.Out, c.Out, 3, 3), Norm2: norm(c.Out),
	}
	if c.Classes > 0 {
		n, h := norm(last.Width), linear(c.Classes, last.Width)
		p.NormHead, p.Head = &n, &h
	}
	down := func(i int) ConvBlockParams {
		next := c.Stages[i+1].Width
		return convBlock(c.Stages[i].Width, next, next)
	}
	p.Stage0.Downsample = down(0)
	for range first.Depth {
		p.Stage0.Blocks = append(p.Stage0.Blocks, convBlock(first.Width, first.Hidden, first.Width))
	}
	for i, to := range []*[]BlockParams{&p.Stage1.Blocks, &p.Stage2.Blocks, &p.Stage3.Blocks} {
		s := c.Stages[i+1]
		for range s.Depth {
			*to = append(*to, BlockParams{
				Norm: norm(s.Width), QKV: linear(3*s.Width, s.Width), Biases: param(s.Heads, s.Window*s.Window),
				Proj: linear(s.Width, s.Width), Local: convNorm(s.Width, 1, 3),
				MLP: norm(s.Width), FC1: linear(s.Hidden, s.Width), FC2: linear(s.Width, s.Hidden),
			})
		}
	}
	p.Stage1.Downsample, p.Stage2.Downsample = down(1), down(2)
	return p
}
