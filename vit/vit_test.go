package vit_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/vit"
	"github.com/slidesam/sam/weights"
)

type bound struct {
	E *vit.Params `weight:"image_encoder"`
}

func small() vit.Config {
	return vit.Config{ImageSize: 64, Patch: 16, Width: 24, Depth: 3, Heads: 3, HeadDim: 8, MLP: 40, Window: 3, Global: []int{0, 2}, Out: 16}
}

// checkpoint returns random weights of the encoder's shape.
func checkpoint(c vit.Config) *weights.Checkpoint {
	return weights.Random(weights.Specs(&bound{vit.NewParams(c)}), 1)
}

func encoder(t *testing.T, c vit.Config) *vit.Encoder {
	t.Helper()
	b := bound{vit.NewParams(c)}
	require.NoError(t, weights.Bind(checkpoint(c), &b))
	e, err := vit.New(c, b.E)
	require.NoError(t, err)
	return e
}

// program compiles the encoder for the processor.
func program(e *vit.Encoder, o graph.CompileOptions) (*cpu.Program, error) {
	b := graph.NewBuilder()
	return cpu.Compile(b, o, e.Build(b))
}

func TestConfigOf(t *testing.T) {
	noWindow := small()
	noWindow.Window, noWindow.Global = 0, []int{0, 1, 2}
	noGlobal := small()
	noGlobal.Global = nil
	pruned := small() // as SlimSAM: heads narrower than the width, odd sizes
	pruned.Width, pruned.HeadDim, pruned.MLP, pruned.Patch, pruned.ImageSize = 21, 7, 29, 8, 40
	for _, c := range []vit.Config{small(), noWindow, noGlobal, pruned} {
		got, err := vit.ConfigOf(checkpoint(c))
		require.NoError(t, err)
		assert.Equal(t, c, got)
	}
}

func TestConfigOfErrors(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(map[string]weights.TensorData)
		want   string
	}{
		{"no encoder", func(m map[string]weights.TensorData) { delete(m, "image_encoder.pos_embed") }, "image_encoder.pos_embed: missing"},
		{"rank", func(m map[string]weights.TensorData) {
			m["image_encoder.patch_embed.proj.weight"] = weights.TensorData{Shape: []int{4}, Data: make([]float32, 4)}
		}, "patch_embed.proj.weight: shape [4], want rank 4"},
		{"oblong", func(m map[string]weights.TensorData) {
			m["image_encoder.pos_embed"] = weights.TensorData{Shape: []int{1, 2, 8, 24}, Data: make([]float32, 384)}
		}, "only square pictures are supported"},
		{"head width", func(m map[string]weights.TensorData) {
			m["image_encoder.blocks.0.attn.rel_pos_h"] = weights.TensorData{Shape: []int{7, 5}, Data: make([]float32, 35)}
		}, "does not hold heads of 5 channels"},
		{"even table", func(m map[string]weights.TensorData) {
			m["image_encoder.blocks.1.attn.rel_pos_h"] = weights.TensorData{Shape: []int{4, 8}, Data: make([]float32, 32)}
		}, "block 1: rel_pos_h is [4 8], want an odd number of rows"},
		{"two windows", func(m map[string]weights.TensorData) {
			m["image_encoder.blocks.2.attn.rel_pos_h"] = weights.TensorData{Shape: []int{3, 8}, Data: make([]float32, 24)}
		}, "block 2: window of 2 tokens, want 3 as in the blocks before it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := map[string]weights.TensorData{}
			ck := checkpoint(small())
			for _, n := range ck.Names() {
				s, _ := ck.Shape(n)
				all[n] = weights.TensorData{Shape: s, Data: make([]float32, len1(s))}
			}
			tt.change(all)
			_, err := vit.ConfigOf(weights.FromTensors(all))
			assert.ErrorContains(t, err, "vit: read configuration: ")
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

func len1(s []int) int {
	n := 1
	for _, d := range s {
		n *= d
	}
	return n
}

func TestValidateBounds(t *testing.T) {
	for name, change := range map[string]func(*vit.Config){
		"Window is 129, want 1 to 128":                  func(c *vit.Config) { c.Window = 129 },
		"Window is 0, want 1 to 128":                    func(c *vit.Config) { c.Window = 0 },
		"the map would have 4398046511104 values":       func(c *vit.Config) { c.ImageSize, c.Patch, c.Width = 1<<14, 1, 1<<14 },
		"queries, keys and values would have":           func(c *vit.Config) { c.Heads, c.HeadDim, c.ImageSize = 1<<10, 1<<10, 512 },
		"attn.qkv.weight would have 51539607552 values": func(c *vit.Config) { c.Heads, c.HeadDim, c.Width = 1<<10, 1<<10, 1<<14 },
	} {
		t.Run(name, func(t *testing.T) {
			c := small()
			change(&c)
			err := c.Validate()
			require.ErrorIs(t, err, vit.ErrConfig)
			assert.ErrorContains(t, err, name)
		})
	}
	c := small()
	c.Window = 128 // larger than the map, as upstream allows
	assert.NoError(t, c.Validate())
}

// TestBlocksAreLocal changes one pixel and expects a window block to change
// the tokens of that pixel's window alone.
func TestBlocksAreLocal(t *testing.T) {
	c := small()
	c.Depth, c.Global = 1, nil
	p, err := program(encoder(t, c), graph.CompileOptions{KeepStages: true})
	require.NoError(t, err)
	run := func(v float32) []float32 {
		p.Input(vit.Picture)[0] = v
		require.NoError(t, p.Run(context.Background()))
		x, _, ok := p.Stage("block0")
		require.True(t, ok)
		return append([]float32(nil), x...)
	}
	a, b := run(0), run(1)
	for i := 0; i < c.Grid()*c.Grid(); i++ {
		inside := i%c.Grid() < c.Window && i/c.Grid() < c.Window
		same := true
		for k := i * c.Width; k < (i+1)*c.Width; k++ {
			same = same && a[k] == b[k]
		}
		assert.Equal(t, !inside, same, "token %d", i)
	}
}

func TestNaNWeights(t *testing.T) {
	c := small()
	b := bound{vit.NewParams(c)}
	all := map[string]weights.TensorData{}
	for _, s := range weights.Specs(&b) {
		all[s.Name] = weights.TensorData{Shape: s.Shape, Data: make([]float32, len1(s.Shape))}
	}
	all["image_encoder.blocks.1.mlp.lin1.bias"].Data[5] = float32(math.NaN())
	require.NoError(t, weights.Bind(weights.FromTensors(all), &b))
	e, err := vit.New(c, b.E)
	require.NoError(t, err, "nothing is read yet")
	_, err = program(e, graph.CompileOptions{})
	assert.ErrorIs(t, err, weights.ErrNotFinite)
	assert.ErrorContains(t, err, "image_encoder.blocks.1.mlp.lin1.bias")
}

func ExampleConfigOf() {
	c, err := vit.ConfigOf(checkpoint(small()))
	if err != nil {
		panic(err)
	}
	fmt.Println(c.Width, "channels,", c.Depth, "blocks, global:", c.Global)
	// Output: 24 channels, 3 blocks, global: [0 2]
}

func ExampleEncoder_Build() {
	c := small()
	b := bound{vit.NewParams(c)}
	if err := weights.Bind(checkpoint(c), &b); err != nil {
		panic(err)
	}
	e, err := vit.New(c, b.E)
	if err != nil {
		panic(err)
	}
	p, err := program(e, graph.CompileOptions{})
	if err != nil {
		panic(err)
	}
	clear(p.Input(vit.Picture)) // a picture of the mean colour
	if err := p.Run(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println(p.OutputShape(0))
	// Output: [16 16]
}
