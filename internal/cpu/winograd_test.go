package cpu_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/op"
)

// TestWinogradMaps: a convolution that may be computed by Winograd's algorithm
// takes in the norm and the skip before it and the activation behind it, unless
// somebody else reads what they make; results are those of the ops one by one,
// and of the sum of products.
func TestWinogradMaps(t *testing.T) {
	const h, w = 9, 6
	for _, tt := range []struct {
		name  string
		norm  func(b *graph.Builder, rng *rand.Rand, x *G.Node, c int) *G.Node
		whole bool
		read  bool // the normalised map is an output too
		want  []string
	}{
		{"batch", func(b *graph.Builder, rng *rand.Rand, x *G.Node, c int) *G.Node {
			return b.Apply(op.ChannelNorm{Eps: 0.1}, x, weight(b, rng, "g", c), weight(b, rng, "b", c))
		}, true, false, []string{"winograd3x3"}},
		{"instance", func(b *graph.Builder, _ *rand.Rand, x *G.Node, _ int) *G.Node {
			return b.Apply(op.ChannelNorm{Eps: 0.1}, x)
		}, false, false, []string{"winograd3x3"}},
		{"running", func(b *graph.Builder, rng *rand.Rand, x *G.Node, c int) *G.Node {
			// Weights may be negative; a variance may not.
			v := make([]float32, c)
			for i := range v {
				v[i] = rng.Float32()
			}
			variance := b.Weight(graph.NewWeight("v", []int{c}, func(use func([]float32)) error { use(v); return nil }))
			return b.Apply(op.BatchNorm{Eps: 0.1}, x, weight(b, rng, "g", c), weight(b, rng, "b", c), weight(b, rng, "m", c), variance)
		}, false, false, []string{"winograd3x3"}},
		{"none", func(_ *graph.Builder, _ *rand.Rand, x *G.Node, _ int) *G.Node { return x }, true, false, []string{"winograd3x3"}},
		{"read twice", func(b *graph.Builder, _ *rand.Rand, x *G.Node, _ int) *G.Node {
			return b.Apply(op.ChannelNorm{Eps: 0.1}, x)
		}, true, true, []string{"skip", "channel_norm", "winograd3x3"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var results [3][]float32
			for i, plain := range []bool{false, true, true} {
				rng := rand.New(rand.NewPCG(12, 1))
				b := graph.NewBuilder()
				x, y := b.Input("x", h*w, 3), b.Input("y", h*w, 7)
				c := 6
				if tt.whole {
					c = 10
				}
				m := tt.norm(b, rng, b.Apply(op.Skip{Whole: tt.whole}, x, y), c)
				conv := op.Conv{Batch: 1, H: h, W: w, Stride: 1, Pad: 1, Winograd: i < 2}
				out := []*G.Node{b.Apply(op.ReLU{}, b.Apply(conv, m, weight(b, rng, "w", 5, c, 3, 3), weight(b, rng, "bias", 5)))}
				if tt.read {
					out = append(out, m)
				}
				p, err := cpu.Compile(b, graph.CompileOptions{Plain: plain}, out...)
				require.NoError(t, err)
				copy(p.Input("x"), random(rng, h*w*3))
				copy(p.Input("y"), random(rng, h*w*7))
				require.NoError(t, p.Run(context.Background()))
				results[i] = p.Output(0)
				if i == 0 {
					assert.Equal(t, tt.want, p.Steps())
				}
			}
			for i, v := range results[2] {
				require.InDelta(t, v, results[0][i], 1e-4, "fused, element %d", i)
				require.InDelta(t, v, results[1][i], 1e-4, "one by one, element %d", i)
			}
		})
	}
}
