package train_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/train"
)

// BenchmarkStep is a step of fine-tuning a ViT-B on 25 objects of one field of
// 1024 x 1024, a point each: of the decoder alone, and with low-rank matrices
// of rank 4 in the encoder's last three blocks. The metric loss is that of the
// first step. examples/slidesam/benchmark/peers/finetune.py times PyTorch
// beside it, on the same weights, points and targets.
func BenchmarkStep(b *testing.B) {
	const seed, objects, side, rank, blocks = 1, 25, 1024, 4, 3
	c := golden.Config{
		ImgSize: side, Patch: 16, Width: 768, Depth: 12, Heads: 12, MLPRatio: 4, Window: 14, Globals: []int{2, 5, 8, 11},
		Prompt: 256, DecoderDepth: 2, DecoderHeads: 8, DecoderMLP: 2048, MaskChans: 16, IoUDepth: 3, IoUHidden: 256,
	}
	for _, lora := range []bool{false, true} {
		name := "decoder"
		if lora {
			name = "lora"
		}
		b.Run(name, func(b *testing.B) {
			var adapters *train.Adapters
			in := golden.Values("embedding", 4096*c.Prompt, seed)
			if lora {
				var err error
				adapters, err = train.NewAdapters(encoder(b, c, seed), blocks, rank, seed)
				require.NoError(b, err)
				in = golden.Values("hidden", 4096*c.Width, seed)
			}
			e, err := train.NewEngine(reference{Seed: seed, Config: c}.networks(b), train.SAMLoss(), adapters)
			require.NoError(b, err)
			opt := train.NewAdamW(train.AdamWOptions{Rate: 1e-5, Decay: 0.01}, e.Sizes())
			var ps []train.Prompt
			var ts []*train.Target
			for i := range objects { // discs on a grid of five
				x, y := 100+200*(i%5), 100+200*(i/5)
				ps = append(ps, train.Prompt{Points: []train.Point{{X: float32(x), Y: float32(y), In: true}}})
				d := disk(side/4, float64(x)/4, float64(y)/4, float64(8+i))
				d.W = d.Side // the picture fills the frame
				ts = append(ts, d)
			}
			step := func() (loss float64) {
				v := &train.View{Embedding: in, Targets: ts}
				e.Zero()
				embedding, err := e.Begin(b.Context(), v)
				require.NoError(b, err)
				for i := range ps {
					a, err := e.Run(b.Context(), embedding, ps[i:i+1], ts[i:i+1], 1.0/objects, true)
					require.NoError(b, err)
					loss += a[0].Loss / objects
				}
				require.NoError(b, e.End(b.Context()))
				train.Clip(e.Grads, 1)
				opt.Step(e.Values, e.Grads, 1)
				return loss
			}
			first := step() // which compiles the graphs as well
			for b.Loop() {
				step()
			}
			b.ReportMetric(first, "loss")
			b.ReportMetric(peakMB(), "peak-MB")
		})
	}
}

// peakMB is the most resident memory that the process has had, in 10^6 bytes,
// or 0 where the system does not say.
func peakMB() float64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(v), "kB")), 64)
			if err != nil {
				return 0
			}
			return kib * 1024 / 1e6
		}
	}
	return 0
}
