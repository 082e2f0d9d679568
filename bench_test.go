package sam_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
)

// BenchmarkPredict decodes prompts with the decoder that all published models
// have, on an embedding of one encoder block.
func BenchmarkPredict(b *testing.B) {
	cfg := sam.ViTB()
	cfg.Encoder.Depth, cfg.Encoder.Global = 1, nil
	m, err := sam.NewRandom(cfg, 1)
	require.NoError(b, err)
	ctx := context.Background()
	e, err := m.Embed(ctx, golden.Picture(golden.Size{H: 1024, W: 1024}, 1))
	require.NoError(b, err)
	for _, n := range []int{1, 64} {
		var ps []sam.Prompt
		for i := 0; i < n; i++ {
			ps = append(ps, sam.Prompt{Points: []sam.Point{{X: float64(13 * i), Y: float64(7 * i), Label: sam.Foreground}}})
		}
		b.Run(fmt.Sprintf("points=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := m.PredictBatch(ctx, e, ps, sam.PredictOptions{})
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkEmbed runs ViT-B's encoder on a picture of its size.
func BenchmarkEmbed(b *testing.B) {
	m, err := sam.NewRandom(sam.ViTB(), 1)
	require.NoError(b, err)
	img := golden.Picture(golden.Size{H: 1024, W: 1024}, 1)
	b.ReportAllocs()
	for b.Loop() {
		_, err := m.Embed(context.Background(), img)
		require.NoError(b, err)
	}
}
