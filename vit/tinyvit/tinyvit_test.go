package tinyvit_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/golden"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/tensortest"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/vit/tinyvit"
	"github.com/slidesam/sam/weights"
)

type bound struct {
	E *tinyvit.Params `weight:"image_encoder"`
}

func specs(c tinyvit.Config) []weights.Spec {
	return weights.Specs(&bound{tinyvit.NewParams(c)})
}

func encoder(t testing.TB, c tinyvit.Config, ck *weights.Checkpoint) *tinyvit.Encoder {
	t.Helper()
	b := bound{tinyvit.NewParams(c)}
	require.NoError(t, weights.Bind(ck, &b))
	e, err := tinyvit.New(c, b.E)
	require.NoError(t, err)
	return e
}

// transpose turns x [n, m] into [m, n].
func transpose(x []float32, n, m int) []float32 {
	out := make([]float32, len(x))
	for i := range n {
		for j := range m {
			out[j*n+i] = x[i*m+j]
		}
	}
	return out
}

// TestReference compares with MobileSAM at full size, as its README runs it and
// as samapi and micro-sam do: with all biases of the attention zero, because
// they cache them before the weights are loaded.
func TestReference(t *testing.T) {
	if testing.Short() {
		t.Skip("39 G multiply-adds, twice")
	}
	f, err := golden.Load("mobile_full")
	require.NoError(t, err)
	var meta struct {
		Size  golden.Size
		Seed  uint64
		Point []int
		Torch string
	}
	require.NoError(t, f.Meta(&meta))
	c := tinyvit.MobileSAM()
	c.Classes = 0
	ck := weights.Random(specs(c), meta.Seed)
	got, err := tinyvit.ConfigOf(ck)
	require.NoError(t, err)
	require.Equal(t, c, got)
	pixels := normalised(meta.Size, meta.Seed, c.ImageSize)
	for name, stages := range map[string][]string{
		"": {"patch", "layer0", "layer1", "layer2", "layer3", "embedding"}, "zero_bias/": {"embedding"},
	} {
		at := ck
		if name != "" {
			at = withoutBiases(t, ck)
		}
		b := graph.NewBuilder()
		p, err := cpu.Compile(b, graph.CompileOptions{KeepStages: true}, encoder(t, c, at).Build(b))
		require.NoError(t, err)
		copy(p.Input(vit.Picture), pixels)
		require.NoError(t, p.Run(t.Context()))
		for _, stage := range stages {
			mine, shape := p.Output(0), p.OutputShape(0)
			if stage != "embedding" {
				mine, shape, _ = p.Stage(stage)
			}
			if stage == "embedding" || stage == "patch" { // upstream has channels first there
				mine = transpose(mine, shape[0], shape[1])
			}
			want, err := f.Float32s(name + stage)
			require.NoError(t, err)
			picked, err := want.Pick(mine)
			require.NoError(t, err)
			rel := tensortest.RelL2(want.Data, picked)
			t.Logf("%s%s: relative L2 %.2g", name, stage, rel)
			// Twelve blocks of sums in another order, and norms folded.
			assert.Less(t, rel, 1e-5, name+stage)
		}
	}
	runtime.GC()
}

// normalised is what Segment Anything makes of the golden picture.
func normalised(s golden.Size, seed uint64, side int) []float32 {
	mean, std := [3]float32{123.675, 116.28, 103.53}, [3]float32{58.395, 57.12, 57.375}
	rgb := golden.PictureRGB(s, seed)
	out := make([]float32, side*side*3)
	for y := range s.H {
		for i := range 3 * s.W {
			out[y*side*3+i] = (float32(rgb[y*s.W*3+i]) - mean[i%3]) / std[i%3]
		}
	}
	return out
}

func withoutBiases(t *testing.T, ck *weights.Checkpoint) *weights.Checkpoint {
	t.Helper()
	all := map[string]weights.TensorData{}
	for _, name := range ck.Names() {
		x, err := ck.Tensor(name)
		require.NoError(t, err)
		v, err := x.Float32s()
		require.NoError(t, err)
		if len(name) > 16 && name[len(name)-16:] == "attention_biases" {
			clear(v)
		}
		all[name] = weights.TensorData{Shape: x.Shape, Data: v}
	}
	return weights.FromTensors(all)
}

func small() tinyvit.Config {
	return tinyvit.Config{
		ImageSize: 64, Hidden: 4, Out: 8,
		Stages: [4]tinyvit.Stage{
			{Width: 8, Depth: 1, Hidden: 16},
			{Width: 16, Depth: 1, Hidden: 32, Heads: 2, Window: 3},
			{Width: 24, Depth: 2, Hidden: 48, Heads: 3, Window: 3},
			{Width: 320, Depth: 1, Hidden: 64, Heads: 10, Window: 2},
		},
	}
}

// TestPlain: what the backend computes in one go is what it computes node by
// node, and the map of the last stage is as large as that of the third.
func TestPlain(t *testing.T) {
	c := small()
	require.NoError(t, c.Validate())
	assert.Equal(t, []int{16, 8, 4, 4}, []int{c.Side(0), c.Side(1), c.Side(2), c.Side(3)})
	e := encoder(t, c, weights.Random(specs(c), 1))
	run := func(o graph.CompileOptions) []float32 {
		b := graph.NewBuilder()
		p, err := cpu.Compile(b, o, e.Build(b))
		require.NoError(t, err)
		copy(p.Input(vit.Picture), normalised(golden.Size{H: 64, W: 50}, 1, 64))
		require.NoError(t, p.Run(t.Context()))
		return p.Output(0)
	}
	// The rounding of fused activations.
	tensortest.Close(t, run(graph.CompileOptions{Plain: true}), run(graph.CompileOptions{}), 1e-5, 1e-5)
}

func TestConfigErrors(t *testing.T) {
	for want, change := range map[string]func(*tinyvit.Config){
		"ImageSize 100 is no multiple of 32":     func(c *tinyvit.Config) { c.ImageSize = 100 },
		"Stages[2].Heads is 0":                   func(c *tinyvit.Config) { c.Stages[2].Heads = 0 },
		"Stages[0].Depth is 0":                   func(c *tinyvit.Config) { c.Stages[0].Depth = 0 },
		"Stages[1]: 16 channels are not 3 heads": func(c *tinyvit.Config) { c.Stages[1].Heads = 3 },
		"Stages[3].Window is 100, want 1 to 64":  func(c *tinyvit.Config) { c.Stages[3].Window = 100 },
		"Classes is -1":                          func(c *tinyvit.Config) { c.Classes = -1 },
		"ImageSize is 1048576":                   func(c *tinyvit.Config) { c.ImageSize = 1 << 20 },
	} {
		c := small()
		change(&c)
		err := c.Validate()
		require.ErrorIs(t, err, tinyvit.ErrConfig)
		assert.ErrorContains(t, err, want)
	}
	_, err := tinyvit.ConfigOf(weights.FromTensors(nil))
	assert.ErrorContains(t, err, "image_encoder.patch_embed.seq.0.c.weight: missing")
}

func Example() {
	c := tinyvit.MobileSAM()
	fmt.Println(c.Side(0), c.Side(1), c.Side(2), c.Grid(), c.Out)
	// Output: 256 128 64 64 256
}
