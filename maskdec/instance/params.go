package instance

import (
	"strconv"

	"github.com/slidesam/sam/weights"
)

// Params are the decoder's weights by their checkpoint names.
type Params struct {
	Deconv1  DeconvParams    `weight:"deconv1.block"`
	Deconv2  DeconvParams    `weight:"deconv2.block"`
	Deconv3  DeconvParams    `weight:"deconv3.block"`
	Deconv4  DeconvParams    `weight:"deconv4.block"`
	Base     BlockParams     `weight:"base.block"`
	Blocks   []LevelParams   `weight:"decoder.blocks"`
	Samplers []SamplerParams `weight:"decoder.samplers"`
	Up       SamplerParams   `weight:"deconv_out"`
	Head     BlockParams     `weight:"decoder_head.block"`
	Out      ConvParams      `weight:"out_conv"` // [Out, Features[3], 1, 1]
}

// DeconvParams are a layer that enlarges the map of the level before.
type DeconvParams struct {
	Sampler SamplerParams   `weight:"0"`
	Conv    ConvParams      `weight:"1.block"` // [F, F, 3, 3]
	Norm    BatchNormParams `weight:"2"`
}

// SamplerParams are a layer that doubles a map's sides: one of the two.
type SamplerParams struct {
	Bilinear   *ConvParams `weight:"conv,optional"`  // [F, G, 1, 1]
	Transposed *ConvParams `weight:"block,optional"` // [G, F, 2, 2]
}

// BatchNormParams are a batch norm, each [F] but the count, which is a scalar.
type BatchNormParams struct {
	W        weights.Param `weight:"weight"`
	B        weights.Param `weight:"bias"`
	Mean     weights.Param `weight:"running_mean"`
	Variance weights.Param `weight:"running_var"`
	Count    weights.Param `weight:"num_batches_tracked,optional"`
}

// LevelParams are the convolutions of a level.
type LevelParams struct {
	Block BlockParams `weight:"block"`
}

// BlockParams are two convolutions, each with a norm before it: without
// weights, or a batch norm.
type BlockParams struct {
	FirstNorm  *BatchNormParams `weight:"0,optional"` // of First's channels
	First      ConvParams       `weight:"1"`
	SecondNorm *BatchNormParams `weight:"3,optional"` // of Second's channels
	Second     ConvParams       `weight:"4"`
}

// ConvParams are the weight and the bias of a convolution.
type ConvParams struct {
	W weights.Param `weight:"weight"`
	B weights.Param `weight:"bias"`
}

func param(shape ...int) weights.Param { return weights.Param{Shape: shape} }

func convParams(out, in, size int) ConvParams {
	return ConvParams{param(out, in, size, size), param(out)}
}

func normParams(n int) BatchNormParams {
	return BatchNormParams{param(n), param(n), param(n), param(n), weights.Param{Shape: []int{}}}
}

func blockParams(in, out int, normed bool) BlockParams {
	p := BlockParams{First: convParams(out, in, 3), Second: convParams(out, out, 3)}
	if normed {
		first, second := normParams(in), normParams(out)
		p.FirstNorm, p.SecondNorm = &first, &second
	}
	return p
}

// NewParams returns the weights that a decoder of this shape needs, not yet
// bound to tensors.
func NewParams(c Config) *Params {
	sampler := func(in, out int) SamplerParams {
		if c.Transposed {
			return SamplerParams{Transposed: &ConvParams{param(in, out, 2, 2), param(out)}}
		}
		p := convParams(out, in, 1)
		return SamplerParams{Bilinear: &p}
	}
	deconv := func(in, out int) DeconvParams {
		return DeconvParams{sampler(in, out), convParams(out, out, 3), normParams(out)}
	}
	f := c.Features
	p := &Params{
		Deconv1: deconv(c.Embed, f[0]), Deconv2: deconv(f[0], f[1]), Deconv3: deconv(f[1], f[2]), Deconv4: deconv(f[2], f[3]),
		Base: blockParams(c.Embed, f[0], c.BatchNorm), Up: sampler(f[3], f[3]), Head: blockParams(2*f[3], f[3], c.BatchNorm), Out: convParams(c.Out, f[3], 1),
	}
	for i := range Levels - 1 {
		p.Samplers = append(p.Samplers, sampler(f[i], f[i+1]))
		p.Blocks = append(p.Blocks, LevelParams{blockParams(2*f[i+1], f[i+1], c.BatchNorm)})
	}
	return p
}

// Specs returns the names and shapes of the weights that a decoder of this
// shape needs, those of its samplers and of its blocks' norms included, which
// [weights.Specs] leaves out as no decoder has all of them.
func Specs(c Config) []weights.Spec {
	p := NewParams(c)
	specs := weights.Specs(p)
	kind := "conv"
	if c.Transposed {
		kind = "block"
	}
	add := func(prefix string, s SamplerParams) {
		at := s.Bilinear
		if c.Transposed {
			at = s.Transposed
		}
		name := prefix + "." + kind
		specs = append(specs, weights.Spec{Name: name + ".weight", Shape: at.W.Shape}, weights.Spec{Name: name + ".bias", Shape: at.B.Shape})
	}
	for i, d := range []DeconvParams{p.Deconv1, p.Deconv2, p.Deconv3, p.Deconv4} {
		add("deconv"+strconv.Itoa(i+1)+".block.0", d.Sampler)
	}
	for i, s := range p.Samplers {
		add("decoder.samplers."+strconv.Itoa(i), s)
	}
	add("deconv_out", p.Up)
	norm := func(prefix string, n *BatchNormParams) {
		if n != nil {
			for _, s := range weights.Specs(n) {
				specs = append(specs, weights.Spec{Name: prefix + "." + s.Name, Shape: s.Shape})
			}
		}
	}
	block := func(prefix string, b BlockParams) {
		norm(prefix+".block.0", b.FirstNorm)
		norm(prefix+".block.3", b.SecondNorm)
	}
	block("base", p.Base)
	for i, b := range p.Blocks {
		block("decoder.blocks."+strconv.Itoa(i), b.Block)
	}
	block("decoder_head", p.Head)
	return specs
}
