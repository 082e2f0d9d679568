package train_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/train"
)

// BenchmarkRun is the forward and backward pass of the published decoder.
func BenchmarkRun(b *testing.B) {
	for _, prompts := range []int{1, 2, 4} {
		for _, learn := range []bool{false, true} {
			b.Run(fmt.Sprintf("prompts=%d/learn=%t", prompts, learn), func(b *testing.B) {
				s := reference{Seed: 1, Config: golden.Config{ImgSize: 1024, Patch: 16, Prompt: 256, DecoderDepth: 2, DecoderHeads: 8, DecoderMLP: 2048, MaskChans: 16, IoUDepth: 3, IoUHidden: 256}}
				e, err := train.NewEngine(s.networks(b), train.SAMLoss(), nil)
				require.NoError(b, err)
				var ps []train.Prompt
				var ts []*train.Target
				for range prompts {
					ps = append(ps, train.Prompt{Points: []train.Point{{X: 500, Y: 400, In: true}}})
					ts = append(ts, disk(256, 125, 100, 20))
				}
				emb := make([]float32, 4096*256)
				for b.Loop() {
					_, err := e.Run(context.Background(), emb, ps, ts, 1, learn)
					require.NoError(b, err)
				}
				b.ReportMetric(float64(e.Bytes())/1e6, "arena-MB")
			})
		}
	}
}
