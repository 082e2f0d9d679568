package cpu

import (
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// runGrad runs an op of a gradient, if it is one.
func runGrad(o graph.Op, out graph.View, in []graph.View) (known bool, err error) {
	switch o := o.(type) {
	case op.Sum:
		kernel.Add(out.Data, in[0].Data, in[1].Data)
		return true, nil
	case op.AttentionGrad:
		return true, runAttentionGrad(o, out, in)
	case op.RelPosGrad:
		return true, runRelPosGrad(o, out, in)
	case op.Quarters:
		return true, runQuarters(o, out, in)
	case op.UpscaleGradX:
		return true, runUpscaleGradX(out, in)
	case op.UpscaleGradW:
		return true, runUpscaleGradW(out, in)
	case op.Patches:
		return true, runPatches(o, out, in)
	case op.PatchesGrad:
		return true, runPatchesGrad(o, out, in)
	case op.Conv3x3GradX:
		return true, runConv3x3GradX(o, out, in)
	case op.Conv3x3GradW:
		return true, runConv3x3GradW(o, out, in)
	case op.LinearGradX:
		return true, runLinearGradX(out, in)
	case op.LinearGradW:
		return true, runLinearGradW(out, in)
	case op.SumBlocks:
		return true, runSumBlocks(out, in)
	case op.Part:
		return true, runPart(o, out, in)
	case op.LayerNormGradX:
		return true, runLayerNormGradX(o, out, in)
	case op.LayerNormGradParams:
		return true, runLayerNormGradParams(o, out, in)
	case op.GELUGrad:
		return true, runGELUGrad(out, in)
	case op.ReLUGrad:
		return true, runReLUGrad(out, in)
	case op.Place:
		return true, runPlace(o, out, in)
	case op.PointsGrad:
		return true, runPointsGrad(o, out, in)
	case op.MasksGradUp:
		return true, runMasksGradUp(o, out, in)
	case op.MasksGradHyper:
		return true, runMasksGradHyper(o, out, in)
	case op.LowRank:
		return true, runLowRank(o, out, in)
	}
	return runMapGrad(o, out, in), nil
}
