package op_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
)

type differs struct {
	op     graph.Op
	shapes []tensor.Shape
	fixed  map[int][]float32 // inputs without a gradient
}

func s(d ...int) tensor.Shape { return d }

// cases has every op with a gradient, at shapes that take its branches.
func cases() map[string]differs {
	return map[string]differs{
		"linear":             {op: op.Linear{}, shapes: []tensor.Shape{s(3, 4), s(5, 4), s(5)}},
		"linear, 1x1":        {op: op.Linear{}, shapes: []tensor.Shape{s(3, 4), s(5, 4, 1, 1)}},
		"conv, patches":      {op: op.Conv{Batch: 2, H: 4, W: 2, Stride: 2}, shapes: []tensor.Shape{s(16, 2), s(3, 2, 2, 2), s(3)}},
		"conv, 3x3":          {op: op.Conv{Batch: 1, H: 3, W: 4, Stride: 1, Pad: 1}, shapes: []tensor.Shape{s(12, 2), s(3, 2, 3, 3)}},
		"upscale":            {op: op.Upscale2x2{Batch: 2, H: 2, W: 1}, shapes: []tensor.Shape{s(4, 3), s(3, 2, 2, 2), s(2)}},
		"low rank":           {op: op.LowRank{First: []int{0, 4}}, shapes: []tensor.Shape{s(6, 4), s(3, 4), s(2, 3), s(1, 4), s(2, 1)}},
		"layer norm":         {op: op.LayerNorm{Eps: 1e-2}, shapes: []tensor.Shape{s(3, 5), s(5), s(5)}},
		"gelu":               {op: op.GELU{}, shapes: []tensor.Shape{s(3, 5)}},
		"relu":               {op: op.ReLU{}, shapes: []tensor.Shape{s(3, 5)}},
		"add":                {op: op.Add{}, shapes: []tensor.Shape{s(3, 5), s(3, 5)}},
		"add, repeated":      {op: op.Add{}, shapes: []tensor.Shape{s(6, 2), s(3, 2)}},
		"attention":          {op: op.Attention{Batch: 2, Heads: 2, HeadDim: 3, NQ: 2, NK: 4}, shapes: []tensor.Shape{s(4, 6), s(8, 6), s(8, 6)}},
		"attention, keys":    {op: op.Attention{Batch: 2, Heads: 2, HeadDim: 3, NQ: 2, NK: 4}, shapes: []tensor.Shape{s(4, 6), s(4, 6), s(4, 6)}},
		"window attention":   {op: op.RelPosAttention{H: 3, W: 2, Window: 2, Heads: 2, HeadDim: 2}, shapes: []tensor.Shape{s(6, 12), s(3, 2), s(3, 2), s(12)}},
		"global attention":   {op: op.RelPosAttention{H: 3, W: 2, Heads: 1, HeadDim: 3}, shapes: []tensor.Shape{s(6, 9), s(5, 3), s(3, 3), s(9)}},
		"tokens":             {op: op.Tokens{Batch: 2, N: 2}, shapes: []tensor.Shape{s(3, 2), s(4, 2)}},
		"tokens, one":        {op: op.Tokens{Batch: 1}, shapes: []tensor.Shape{s(3, 2)}},
		"pick":               {op: op.Pick{Rows: 3, Which: []int{2, 0, 2}}, shapes: []tensor.Shape{s(6, 2)}},
		"rows":               {op: op.Rows{}, shapes: []tensor.Shape{s(3, 2), s(1, 2)}},
		"masks":              {op: op.Masks{Batch: 2}, shapes: []tensor.Shape{s(6, 2), s(2, 2), s(2, 2)}},
		"bilinear":           {op: op.Bilinear2x{H: 3, W: 2}, shapes: []tensor.Shape{s(6, 2)}},
		"channel norm":       {op: op.ChannelNorm{Eps: 1e-2}, shapes: []tensor.Shape{s(5, 3), s(3), s(3)}},
		"channel norm, bare": {op: op.ChannelNorm{Eps: 1e-2}, shapes: []tensor.Shape{s(5, 3)}},
		"batch norm":         {op: op.BatchNorm{Eps: 1e-2}, shapes: []tensor.Shape{s(5, 2), s(2), s(2), s(2), s(2)}, fixed: map[int][]float32{3: {0.5, -1}, 4: {2, 0.25}}},
		"skip":               {op: op.Skip{}, shapes: []tensor.Shape{s(3, 2), s(3, 6)}},
		"skip, as wide":      {op: op.Skip{}, shapes: []tensor.Shape{s(3, 2), s(3, 2)}},
		"skip, whole":        {op: op.Skip{Whole: true}, shapes: []tensor.Shape{s(3, 2), s(3, 5)}},
		"sigmoid":            {op: op.Sigmoid{}, shapes: []tensor.Shape{s(3, 5)}},
		"points":             {op: op.Points{Size: 8}, shapes: []tensor.Shape{s(3, 3), s(2, 2), s(5, 4)}, fixed: map[int][]float32{0: {1, 2, -1, 3, 4, 0, 5, 6, 0}, 1: {1, 2, 3, 4}}},
	}
}

// TestGradients compares each op's gradient, as a graph, with differences of
// its results, and with the graph that gorgonia's own differentiation makes.
func TestGradients(t *testing.T) {
	for name, c := range cases() {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			b := graph.NewBuilder()
			b.Run(cpu.Run)
			var in, wrt []*G.Node
			data := make([][]float32, len(c.shapes))
			for i, shape := range c.shapes {
				in = append(in, b.Input(string(rune('a'+i)), shape...))
				data[i] = c.fixed[i]
				if data[i] == nil {
					data[i] = random(rng, shape.TotalSize())
					wrt = append(wrt, in[i])
				}
			}
			out := b.Apply(c.op, in...)
			seed := b.Input("seed", out.Shape()...)
			weight := random(rng, out.Shape().TotalSize())
			grads := b.Backward(op.Sum{}, []*G.Node{out}, []*G.Node{seed}, wrt)
			require.NoError(t, b.Err())
			theirs, err := G.Backpropagate(G.Nodes{out}, G.Nodes{seed}, wrt)
			require.NoError(t, err)
			p, err := cpu.Compile(b, graph.CompileOptions{}, append(append([]*G.Node{out}, grads...), theirs...)...)
			require.NoError(t, err)
			for i, x := range data {
				copy(p.Input(string(rune('a'+i))), x)
			}
			copy(p.Input("seed"), weight)
			run := func() float64 {
				require.NoError(t, p.Run(context.Background()))
				var sum float64
				for i, v := range p.Output(0) {
					sum += float64(v) * float64(weight[i])
				}
				return sum
			}
			run()
			got := make([][]float32, len(wrt))
			for k := range wrt {
				got[k] = append([]float32(nil), p.Output(1+k)...)
				assert.Equal(t, got[k], p.Output(1+len(wrt)+k), "gorgonia's Backpropagate asks the same op")
			}
			for k, n := range wrt {
				x := p.Input(n.Name())
				for i, v := range x {
					const h = 1.0 / 256
					if r, ok := c.op.(op.ReLU); ok && r == (op.ReLU{}) && v < h && v > -h {
						continue
					}
					x[i] = v + h
					up := run()
					x[i] = v - h
					// Third derivatives and float32's rounding, over 2h.
					assert.InDelta(t, (up-run())/(2*h), got[k][i], 3e-3, "input %s element %d", n.Name(), i)
					x[i] = v
				}
			}
		})
	}
}

func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
	}
	return x
}

// TestGradientsMeet: a value that several ops read has the sum of their
// gradients, and what leads to nothing is not computed.
func TestGradientsMeet(t *testing.T) {
	b := graph.NewBuilder()
	x, y, w := b.Input("x", 1, 2), b.Input("y", 1, 2), b.Input("w", 2, 2)
	h := b.Apply(op.Linear{}, x, w)
	z := b.Apply(op.Add{}, b.Apply(op.Linear{}, h, w), b.Apply(op.Add{}, h, y))
	grads := b.Backward(op.Sum{}, []*G.Node{z}, []*G.Node{b.Input("seed", 1, 2)}, []*G.Node{w, b.Input("apart", 3)})
	require.NoError(t, b.Err())
	assert.Nil(t, grads[1])
	p, err := cpu.Compile(b, graph.CompileOptions{}, grads[0])
	require.NoError(t, err)
	copy(p.Input("x"), []float32{1, 2})
	copy(p.Input("w"), []float32{1, 0, 0, 3})
	copy(p.Input("seed"), []float32{1, 1})
	require.NoError(t, p.Run(context.Background()))
	// h = (1, 6); dz/dh = (2, 4); dw = dz·hᵀ + dh·xᵀ.
	assert.Equal(t, []float32{1 + 2, 6 + 4, 1 + 4, 6 + 8}, p.Output(0))

	b = graph.NewBuilder()
	x = b.Input("x", 25, 1)
	k := b.Input("k", 1, 1, 3, 3)
	z = b.Apply(op.Conv{Batch: 1, H: 5, W: 5, Stride: 2, Pad: 1}, x, k)
	b.Backward(op.Sum{}, []*G.Node{z}, []*G.Node{b.Input("seed", 9, 1)}, []*G.Node{k})
	assert.ErrorContains(t, b.Err(), "gradient of conv: input 1")
}

// TestGradientShapes gives each op of a gradient inputs that do not fit it.
func TestGradientShapes(t *testing.T) {
	for name, tt := range map[string]struct {
		op graph.Op
		in []tensor.Shape
	}{
		"low rank":      {op.LowRank{First: []int{5}}, []tensor.Shape{s(6, 4), s(3, 4), s(2, 3)}},
		"linear x":      {op.LinearGradX{}, []tensor.Shape{s(2, 3), s(4, 3)}},
		"linear w":      {op.LinearGradW{Dims: s(3, 4)}, []tensor.Shape{s(2, 3), s(3, 4)}},
		"linear w dims": {op.LinearGradW{Dims: s(3, 5)}, []tensor.Shape{s(2, 3), s(2, 4)}},
		"sum":           {op.SumBlocks{Dims: s(4)}, []tensor.Shape{s(2, 3)}},
		"part":          {op.Part{At: 3, Dims: s(4)}, []tensor.Shape{s(2, 3)}},
		"norm x":        {op.LayerNormGradX{}, []tensor.Shape{s(2, 3), s(2, 3), s(2)}},
		"norm params":   {op.LayerNormGradParams{}, []tensor.Shape{s(2, 3), s(3, 3)}},
		"gelu":          {op.GELUGrad{}, []tensor.Shape{s(2, 3), s(3, 2)}},
		"relu":          {op.ReLUGrad{}, []tensor.Shape{s(2, 3)}},
		"attention":     {op.AttentionGrad{Attention: op.Attention{Batch: 1, Heads: 1, HeadDim: 2, NQ: 2, NK: 2}}, []tensor.Shape{s(2, 2), s(2, 2), s(2, 2), s(2, 2), s(3, 2)}},
		"relative":      {op.RelPosGrad{RelPosAttention: op.RelPosAttention{H: 2, W: 2, Heads: 1, HeadDim: 1}}, []tensor.Shape{s(4, 1)}},
		"place":         {op.Place{Pick: op.Pick{Rows: 3, Which: []int{0, 1}}}, []tensor.Shape{s(3, 2)}},
		"points":        {op.PointsGrad{Rows: 5}, []tensor.Shape{s(3, 2), s(2, 3)}},
		"masks up":      {op.MasksGradUp{Masks: op.Masks{Batch: 2}}, []tensor.Shape{s(4, 3), s(2, 2)}},
		"masks hyper":   {op.MasksGradHyper{Masks: op.Masks{Batch: 2}}, []tensor.Shape{s(4, 3), s(4, 2)}},
		"quarters":      {op.Quarters{Batch: 1, H: 1, W: 1}, []tensor.Shape{s(3, 2)}},
		"upscale x":     {op.UpscaleGradX{}, []tensor.Shape{s(3, 4), s(2, 2, 2, 2)}},
		"upscale w":     {op.UpscaleGradW{}, []tensor.Shape{s(3, 6), s(3, 2)}},
		"patches":       {op.Patches{Batch: 1, H: 3, W: 2, Size: 2}, []tensor.Shape{s(6, 1)}},
		"patches grad":  {op.PatchesGrad{Patches: op.Patches{Batch: 1, H: 2, W: 2, Size: 2}}, []tensor.Shape{s(1, 3)}},
		"3x3 x":         {op.Conv3x3GradX{H: 1, W: 2}, []tensor.Shape{s(2, 3), s(2, 3, 3, 3)}},
		"bilinear":      {op.Bilinear2xGrad{H: 2, W: 1}, []tensor.Shape{s(7, 2)}},
		"channel x":     {op.ChannelNormGradX{}, []tensor.Shape{s(4, 2)}},
		"channel gamma": {op.ChannelNormGradX{}, []tensor.Shape{s(4, 2), s(4, 2), s(3)}},
		"channel dy":    {op.ChannelNormGradX{}, []tensor.Shape{s(3, 2), s(4, 2)}},
		"channel norm":  {op.ChannelNormGradParams{}, []tensor.Shape{s(4, 2), s(4, 3)}},
		"moments":       {op.ChannelMoments{}, []tensor.Shape{s(4)}},
		"batch x":       {op.BatchNormGradX{}, []tensor.Shape{s(4, 2), s(2)}},
		"batch gamma":   {op.BatchNormGradX{}, []tensor.Shape{s(4, 2), s(3), s(2)}},
		"batch norm":    {op.BatchNormGradParams{}, []tensor.Shape{s(4, 2), s(4, 2), s(2), s(3)}},
		"columns":       {op.Columns{First: 2, N: 2}, []tensor.Shape{s(4, 3)}},
		"columns grad":  {op.ColumnsGrad{Columns: op.Columns{First: 2, N: 2}, Of: 3}, []tensor.Shape{s(4, 2)}},
		"sigmoid":       {op.SigmoidGrad{}, []tensor.Shape{s(4, 2), s(2, 4)}},
		"3x3 w":         {op.Conv3x3GradW{H: 1, W: 2}, []tensor.Shape{s(2, 3), s(3, 3)}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := tt.op.Shape(tt.in)
			assert.ErrorIs(t, err, graph.ErrShape)
		})
	}
}
