package cpu

import (
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

func runAttentionGrad(a op.AttentionGrad, out graph.View, in []graph.View) error {
	nq, nk, nv := len(in[1].Data), len(in[2].Data), len(in[3].Data)
	g := kernel.AttentionGrad{
		Batch: a.Batch, Heads: a.Heads, HeadDim: a.HeadDim, NQ: a.NQ, NK: a.NK,
		DOut: in[0].Data, Q: in[1].Data, K: in[2].Data, V: in[3].Data, Out: in[4].Data,
		DQ: out.Data[:nq], DK: out.Data[nq:][:nk], DV: out.Data[nq+nk:][:nv],
	}
	g.Run()
	return nil
}

func runRelPosGrad(a op.RelPosGrad, out graph.View, in []graph.View) error {
	g := kernel.RelPosGrad{
		Grid: kernel.Grid{H: a.H, W: a.W, Window: a.Window, Heads: a.Heads, HeadDim: a.HeadDim}, DOut: in[0].Data, QKV: in[1].Data, RelH: in[2].Data, RelW: in[3].Data, Pad: in[4].Data, Out: in[5].Data,
	}
	at := 0
	for i, d := range []*[]float32{&g.DQKV, &g.DRelH, &g.DRelW, &g.DPad} {
		n := len(in[1+i].Data)
		*d = out.Data[at:][:n]
		at += n
	}
	g.Run()
	return nil
}
