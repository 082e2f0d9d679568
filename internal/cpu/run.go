package cpu

import (
	"errors"
	"fmt"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
	"github.com/slidesam/sam/internal/op"
)

// errUnknown is returned for an op that this backend does not know.
var errUnknown = errors.New("the processor has no such op")

// Run runs one op on logical tensors: for gorgonia's own machines, and where
// no lowering applies. Weights are packed for each call.
func Run(o graph.Op, out graph.View, in []graph.View) error {
	switch o := o.(type) {
	case graph.Forwarder:
		return o.Forward(out, in)
	case op.Linear:
		runLinear(out, in, nil)
	case op.Conv:
		return runConv(o, out, in)
	case op.Upscale2x2:
		return runUpscale(o, out, in)
	case op.LayerNorm:
		kernel.LayerNorm(out.Data, in[0].Data, in[1].Data, in[2].Data, in[0].Shape[0], in[0].Shape[1], o.Eps)
	case op.GELU:
		kernel.GELU(out.Data, in[0].Data)
	case op.ReLU:
		kernel.ReLU(out.Data, in[0].Data)
	case op.Add:
		n := len(in[1].Data)
		for at := 0; at < len(in[0].Data); at += n {
			kernel.Add(out.Data[at:at+n], in[0].Data[at:at+n], in[1].Data)
		}
	case op.RelPosAttention:
		g := kernel.Grid{H: o.H, W: o.W, Window: o.Window, Heads: o.Heads, HeadDim: o.HeadDim}
		kernel.RelPosAttention(out.Data, in[0].Data, g, in[1].Data, in[2].Data, in[3].Data)
	case op.Attention:
		attend(o, out, in)
	case op.Tokens:
		runTokens(o, out, in)
	case op.Pick:
		runPick(o, out, in)
	case op.Rows:
		at := 0
		for _, x := range in {
			at += copy(out.Data[at:], x.Data)
		}
	case op.Masks:
		runMasks(o, out, in)
	case op.Floor:
		runFloor(o, out, in)
	case op.Points:
		return runPoints(o, out, in)
	case op.DensePositions:
		densePositions(o, out, in)
	default:
		if runMap(o, out, in) {
			return nil
		}
		if known, err := runGrad(o, out, in); known {
			return err
		}
		return fmt.Errorf("cpu: %s: %w", o.Name(), errUnknown)
	}
	return nil
}

// attend runs the attention of each prompt. Queries, keys and values may each
// be shared by all.
func attend(a op.Attention, out graph.View, in []graph.View) {
	part := func(v graph.View, p, rows int) []float32 {
		if v.Shape[0] == rows {
			return v.Data
		}
		n := rows * v.Shape[1]
		return v.Data[p*n : (p+1)*n]
	}
	one := func(p int) {
		n := a.NQ * a.Heads * a.HeadDim
		kernel.Attention(out.Data[p*n:(p+1)*n], part(in[0], p, a.NQ), part(in[1], p, a.NK), part(in[2], p, a.NK),
			a.Heads, a.HeadDim, a.NQ, a.NK)
	}
	if in[1].Shape[0] == a.NK && in[2].Shape[0] == a.NK && in[0].Shape[0] == a.Batch*a.NQ {
		// All prompts look at one map, or there is one prompt: its keys are packed once.
		kernel.Attention(out.Data, in[0].Data, in[1].Data, in[2].Data, a.Heads, a.HeadDim, a.Batch*a.NQ, a.NK)
		return
	}
	kernel.Parallel(a.Batch, one)
}

func runTokens(t op.Tokens, out graph.View, in []graph.View) {
	head, n := in[0].Data, t.N*in[0].Shape[1]
	for p := range t.Batch {
		dst := out.Data[p*(len(head)+n):]
		copy(dst, head)
		if n > 0 {
			copy(dst[len(head):], in[1].Data[p*n:(p+1)*n])
		}
	}
}

func runPick(k op.Pick, out graph.View, in []graph.View) {
	c := in[0].Shape[1]
	for i := range out.Shape[0] {
		from := i/len(k.Which)*k.Rows + k.Which[i%len(k.Which)]
		copy(out.Data[i*c:(i+1)*c], in[0].Data[from*c:])
	}
}

func runMasks(m op.Masks, out graph.View, in []graph.View) {
	c, k := in[0].Shape[1], len(in)-1
	n := out.Shape[1]
	hyper := make([]float32, k*c)
	for p := range m.Batch {
		for j := range k {
			copy(hyper[j*c:(j+1)*c], in[1+j].Data[p*c:(p+1)*c])
		}
		kernel.MaskProduct(out.Data[p*k*n:(p+1)*k*n], in[0].Data[p*n*c:(p+1)*n*c], hyper, n, c, k)
	}
}

func runFloor(f op.Floor, out graph.View, in []graph.View) {
	n := len(f.Which) * out.Shape[1]
	for p := range in[1].Shape[0] {
		dst := out.Data[p*n : (p+1)*n]
		if below(f.Which, in[1], p, in[2].Data[0]) {
			clear(dst)
			continue
		}
		copy(dst, in[0].Data[p*n:])
	}
}

// below reports whether none of prompt p's masks has a quality above floor,
// if that is positive.
func below(which []int, quality graph.View, p int, floor float32) bool {
	if floor <= 0 {
		return false
	}
	for _, col := range which {
		if quality.Data[p*quality.Shape[1]+col] > floor {
			return false
		}
	}
	return true
}
