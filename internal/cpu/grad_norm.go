package cpu

import (
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

func runLayerNormGradX(l op.LayerNormGradX, out graph.View, in []graph.View) error {
	kernel.LayerNormGradX(out.Data, in[0].Data, in[1].Data, in[2].Data, out.Shape[0], out.Shape[1], l.Eps)
	return nil
}

func runLayerNormGradParams(l op.LayerNormGradParams, out graph.View, in []graph.View) error {
	c := in[0].Shape[1]
	kernel.LayerNormGradParams(out.Data[:c], out.Data[c:], in[0].Data, in[1].Data, in[0].Shape[0], c, l.Eps)
	return nil
}

func runGELUGrad(out graph.View, in []graph.View) error {
	kernel.GELUGrad(out.Data, in[0].Data, in[1].Data)
	return nil
}

func runReLUGrad(out graph.View, in []graph.View) error {
	kernel.ReLUGrad(out.Data, in[0].Data, in[1].Data)
	return nil
}
