//go:build gpu && cgo && linux

package sam_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/golden"
)

// BenchmarkGPU measures the published sizes on the first GPU: an embedding,
// one and 64 points, and everything on a grid of 32 x 32 points. On the
// stand-in it would take hours.
func BenchmarkGPU(b *testing.B) {
	ctx := context.Background()
	img := golden.Picture(golden.Size{H: 1024, W: 1024}, 3)
	for name, cfg := range map[string]sam.Config{"vit-b": sam.ViTB(), "vit-h": sam.ViTH()} {
		for _, p := range []sam.Precision{sam.FP32, sam.TF32, sam.FP16, sam.BF16} {
			b.Run(fmt.Sprintf("model=%s/precision=%v", name, p), func(b *testing.B) {
				m, err := sam.NewRandom(cfg, 1)
				require.NoError(b, err)
				g, err := m.On("cuda:0", p)
				if err != nil {
					b.Skip(err)
				}
				b.Logf("on %v", g.Device())
				e, err := g.Embed(ctx, img)
				require.NoError(b, err)
				b.Run("embed", func(b *testing.B) {
					for b.Loop() {
						_, err := g.Embed(ctx, img)
						require.NoError(b, err)
					}
				})
				for _, n := range []int{1, 64} {
					ps := make([]sam.Prompt, n)
					for i := range ps {
						ps[i].Points = []sam.Point{{X: float64(16*i + 8), Y: 512, Label: sam.Foreground}}
					}
					b.Run(fmt.Sprintf("points=%d", n), func(b *testing.B) {
						for b.Loop() {
							_, err := g.PredictBatch(ctx, e, ps, sam.PredictOptions{})
							require.NoError(b, err)
						}
					})
				}
				b.Run("everything", func(b *testing.B) {
					for b.Loop() {
						_, err := g.Everything(ctx, img, sam.EverythingOptions{})
						require.NoError(b, err)
					}
				})
			})
		}
	}
}
