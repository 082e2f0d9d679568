package cpu

import (
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// maskHead is [kernel.MaskHead]: the decoder's upscaling path and its masks.
//
// Inputs:
//   - x: the prompts' maps in panels, [>= Batch*N, C] with N =
//     kernel.PackedLen(H*W, 1), as [twoWay] returns them;
//   - w1: tiles of [4*Up1, C], outputs in the order (y, x, channel), and its
//     bias [4*Up1, kernel.PanelLanes()], the same in all lanes;
//   - gamma, beta [Up1] of the norm;
//   - w2, tiles of [4*Up2, Up1], and its bias [4*Up2, kernel.PanelLanes()];
//   - one [Batch, Up2] for each mask;
//   - with Which, quality [Batch, *] and floor [1], as [op.Floor] has them:
//     masks that it leaves out are not computed.
//
// Output: [Batch*masks, 16*H*W].
type maskHead struct {
	Batch, H, W, Up1, Up2, Masks int
	Eps                          float32
	Which                        []int // the masks' columns of quality
}

func (maskHead) Name() string { return "mask_head" }

const maskHeadFixed = 7 // inputs before the masks

// Forward implements [graph.Forwarder].
func (m maskHead) Forward(out graph.View, in []graph.View) error {
	k := kernel.MaskHead{
		Prompts: m.Batch, H: m.H, W: m.W, Channels: in[0].Shape[1], Up1: m.Up1, Up2: m.Up2, Masks: m.Masks,
		X: in[0].Data, W1: in[1].Data, B1: in[2].Data, Gamma: in[3].Data, Beta: in[4].Data, W2: in[5].Data, B2: in[6].Data,
		Eps: m.Eps, Hyper: make([]float32, m.Batch*m.Masks*m.Up2), Skip: make([]bool, m.Batch),
	}
	for p := range m.Batch {
		for j := range m.Masks {
			copy(k.Hyper[(p*m.Masks+j)*m.Up2:], in[maskHeadFixed+j].Data[p*m.Up2:(p+1)*m.Up2])
		}
		if n := maskHeadFixed + m.Masks; m.Which != nil {
			k.Skip[p] = below(m.Which, in[n], p, in[n+1].Data[0])
		}
	}
	k.Run(out.Data)
	return nil
}
