package op

import (
	"fmt"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// MaskHead is [kernel.MaskHead]: the decoder's upscaling path and its masks.
//
// Inputs:
//   - x: the prompts' maps in panels, [>= Batch*N, C] with N =
//     kernel.PackedLen(H*W, 1), as [TwoWay] returns them;
//   - w1: tiles of [4*Up1, C], outputs in the order (y, x, channel), and its
//     bias [4*Up1, kernel.PanelLanes()], the same in all lanes;
//   - gamma, beta [Up1] of the norm;
//   - w2, tiles of [4*Up2, Up1], and its bias [4*Up2, kernel.PanelLanes()];
//   - quality [Batch, *] and floor [1]: if floor is positive, the masks of a
//     prompt are left out, and 0, where the quality of none of them, the
//     columns Which, exceeds it;
//   - one [Batch, Up2] for each mask.
//
// Output: [Batch*masks, 16*H*W].
type MaskHead struct {
	Batch, H, W, Up1, Up2 int
	Eps                   float32
	Which                 []int // the masks' columns of quality
}

// Name implements [graph.Kernel].
func (MaskHead) Name() string { return "mask_head" }

// Params implements [graph.Kernel].
func (m MaskHead) Params() string {
	return fmt.Sprintf("batch=%d %dx%d up=%d,%d eps=%g which=%v", m.Batch, m.H, m.W, m.Up1, m.Up2, m.Eps, m.Which)
}

const maskHeadFixed = 9 // inputs before the masks

// Shape implements [graph.Kernel].
func (m MaskHead) Shape(in []tensor.Shape) (tensor.Shape, error) {
	if len(in) < maskHeadFixed || len(in[0]) != 2 || in[0][0] < m.Batch*kernel.PackedLen(m.H*m.W, 1) || len(m.Which) == 0 {
		return nil, fmt.Errorf("inputs %v for %d masks of %d prompts of %d cells: %w", in, len(m.Which), m.Batch, m.H*m.W, graph.ErrShape)
	}
	l := kernel.PanelLanes()
	want := []tensor.Shape{
		in[0], {4 * m.Up1 * in[0][1]}, {4 * m.Up1, l}, {m.Up1}, {m.Up1}, {4 * m.Up2 * m.Up1}, {4 * m.Up2, l}, {m.Batch, -1}, {1},
	}
	for range m.Which {
		want = append(want, tensor.Shape{m.Batch, m.Up2})
	}
	if err := match(in, want...); err != nil {
		return nil, err
	}
	for _, i := range m.Which {
		if i < 0 || i >= in[7][1] {
			return nil, fmt.Errorf("quality %v has no column %d: %w", in[7], i, graph.ErrShape)
		}
	}
	return tensor.Shape{m.Batch * len(m.Which), 16 * m.H * m.W}, nil
}

// Forward implements [graph.Kernel].
func (m MaskHead) Forward(out graph.View, in []graph.View) error {
	k := kernel.MaskHead{
		Prompts: m.Batch, H: m.H, W: m.W, Channels: in[0].Shape[1], Up1: m.Up1, Up2: m.Up2, Masks: len(m.Which),
		X: in[0].Data, W1: in[1].Data, B1: in[2].Data, Gamma: in[3].Data, Beta: in[4].Data, W2: in[5].Data, B2: in[6].Data,
		Eps: m.Eps, Hyper: make([]float32, m.Batch*len(m.Which)*m.Up2), Skip: make([]bool, m.Batch),
	}
	floor, all := in[8].Data[0], in[7].Shape[1]
	for p := range m.Batch {
		k.Skip[p] = floor > 0
		for j, col := range m.Which {
			k.Skip[p] = k.Skip[p] && !(in[7].Data[p*all+col] > floor)
			copy(k.Hyper[(p*len(m.Which)+j)*m.Up2:], in[maskHeadFixed+j].Data[p*m.Up2:(p+1)*m.Up2])
		}
	}
	k.Run(out.Data)
	return nil
}
