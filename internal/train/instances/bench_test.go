package instances_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/train/instances"
	decoder "github.com/slidesam/sam/maskdec/instance"
)

// BenchmarkStep is one crop of 512 pixels, and one whole frame of 1024, forward
// and backward through the bundled decoder's shape, and a crop through micro-sam's.
func BenchmarkStep(b *testing.B) {
	for name, c := range map[string]decoder.Config{
		"bundled/crop=512":   {Grid: 32, Embed: 128, Features: [4]int{96, 48, 16, 8}, Out: 3, Transposed: true, BatchNorm: true},
		"bundled/crop=1024":  {Grid: 64, Embed: 128, Features: [4]int{96, 48, 16, 8}, Out: 3, Transposed: true, BatchNorm: true},
		"micro-sam/crop=512": {Grid: 32, Embed: 256, Features: [4]int{512, 256, 128, 64}, Out: 3},
	} {
		b.Run(name, func(b *testing.B) {
			stats := decoder.BatchStats
			if c.BatchNorm {
				stats = decoder.RunningStats
			}
			e, err := instances.NewEngine(newDecoder(b, c, 1), stats)
			require.NoError(b, err)
			z := golden.Values("embedding", c.Grid*c.Grid*c.Embed, 1)
			target := make([]float32, 3*c.Side()*c.Side())
			for i := range target {
				target[i] = float32(i / 3 / 16 % 2)
			}
			b.ReportAllocs()
			for b.Loop() {
				_, err := e.Run(b.Context(), z, target, 1)
				require.NoError(b, err)
			}
			b.ReportMetric(float64(e.Bytes())/(1<<20), "MiB")
		})
	}
}
