package maskdec_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	G "gorgonia.org/gorgonia"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/tensortest"
	"github.com/slidesam/sam/maskdec"
	"github.com/slidesam/sam/weights"
)

type bound struct {
	D *maskdec.Params `weight:"mask_decoder"`
}

var small = maskdec.Config{
	Grid: 4, Channels: 16, Depth: 2, Heads: 8, SelfDim: 16, CrossDim: 8, MLP: 24, MaskTokens: 4,
	IoUHidden: 12, IoUDepth: 3, Up1: 8, Up2: 4, HyperHidden: 20, HyperDepth: 3,
}

func checkpoint(c maskdec.Config) *weights.Checkpoint {
	return weights.Random(weights.Specs(&bound{maskdec.NewParams(c)}), 1)
}

func decoder(c maskdec.Config) (*maskdec.Decoder, error) {
	b := bound{maskdec.NewParams(c)}
	if err := weights.Bind(checkpoint(c), &b); err != nil {
		return nil, err
	}
	return maskdec.New(c, b.D)
}

func TestConfigOf(t *testing.T) {
	deep := small
	deep.Depth, deep.MaskTokens, deep.IoUDepth, deep.HyperDepth = 3, 2, 2, 4
	for _, c := range []maskdec.Config{small, deep} {
		got, err := maskdec.ConfigOf(checkpoint(c), c.Grid)
		require.NoError(t, err)
		assert.Equal(t, c, got)
	}
	_, err := maskdec.ConfigOf(weights.FromTensors(nil), 4)
	assert.ErrorContains(t, err, "maskdec: read configuration: mask_decoder.mask_tokens.weight: shape [], want rank 2")
}

// TestConfigOfHostile: names cost a file next to nothing, so that a few
// kilobytes could ask for millions of layers.
func TestConfigOfHostile(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(map[string]weights.TensorData)
	}{
		{"MaskTokens is 4096", func(m map[string]weights.TensorData) {
			m["mask_decoder.mask_tokens.weight"] = weights.TensorData{Shape: []int{4096, 16}, Data: make([]float32, 4096*16)}
		}},
		{"HyperDepth is 1000", func(m map[string]weights.TensorData) {
			for i := 3; i < 1000; i++ {
				m[fmt.Sprintf("mask_decoder.output_hypernetworks_mlps.0.layers.%d.weight", i)] = weights.TensorData{Shape: []int{0}}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			all := map[string]weights.TensorData{}
			ck := checkpoint(small)
			for _, n := range ck.Names() {
				s, _ := ck.Shape(n)
				all[n] = weights.TensorData{Shape: s}
			}
			tt.change(all)
			_, err := maskdec.ConfigOf(weights.FromTensors(all), small.Grid)
			require.ErrorIs(t, err, maskdec.ErrConfig)
			assert.ErrorContains(t, err, tt.name+", want 1 to 256")
		})
	}
}

// positions stand for the encoding of the cells.
func positions(b *graph.Builder, c maskdec.Config) *G.Node {
	data := make([]float32, c.Grid*c.Grid*c.Channels)
	for i := range data {
		data[i] = float32(i%17)/9 - 1
	}
	return b.Constant("positions", data, c.Grid*c.Grid, c.Channels)
}

// program decodes a batch whose prompts share the embedding, or not.
func program(t *testing.T, n maskdec.Batch, shared bool, o graph.CompileOptions) *cpu.Program {
	t.Helper()
	d, err := decoder(small)
	require.NoError(t, err)
	b := graph.NewBuilder()
	rows := small.Grid * small.Grid
	img := maskdec.Image{Positions: positions(b, small)}
	if shared {
		img = d.Image(b, b.Input("keys", rows, small.Channels), img.Positions)
	} else {
		img.Rows = b.Input("keys", rows*n.Prompts, small.Channels)
	}
	sparse := b.Input("sparse", n.Prompts*n.Tokens, small.Channels)
	logits, iou := d.Masks(b, n, img, sparse)
	p, err := cpu.Compile(b, o, logits, iou)
	require.NoError(t, err)
	for i := range p.Input("sparse") {
		p.Input("sparse")[i] = float32(i%13)/7 - 1
	}
	for i := range p.Input("keys") {
		p.Input("keys")[i] = float32(i%(small.Grid*small.Grid*small.Channels)%11)/5 - 1
	}
	require.NoError(t, p.Run(context.Background()))
	return p
}

// fusedTolerance bounds the difference of sums in another order: logits and
// qualities near 1 after some twenty layers.
const fusedTolerance = 1e-5

// TestFused decodes node by node and as the processor's backend lowers the
// graph: in passes over the map, unless the prompts have many tokens or stages
// are kept.
func TestFused(t *testing.T) {
	for _, shared := range []bool{true, false} {
		for _, tokens := range []int{0, 1, 2, 11, 12} {
			t.Run(fmt.Sprintf("shared=%t/tokens=%d", shared, tokens), func(t *testing.T) {
				n := maskdec.Batch{Prompts: 3, Tokens: tokens, Masks: []int{1, 2, 3}}
				plain := program(t, n, shared, graph.CompileOptions{Plain: true})
				layers := program(t, n, shared, graph.CompileOptions{KeepStages: true})
				fused := program(t, n, shared, graph.CompileOptions{})
				for i := range 2 {
					tensortest.Close(t, plain.Output(i), layers.Output(i), fusedTolerance, fusedTolerance)
					tensortest.Close(t, plain.Output(i), fused.Output(i), fusedTolerance, fusedTolerance)
				}
				passes := map[string]int{}
				for _, s := range fused.Steps() {
					passes[s]++
				}
				few := tokens < 12
				assert.Equal(t, few, passes["two_way"] >= small.Depth && passes["mask_head"] == 1 && passes["layer_norm"] == 3*small.Depth+1, "%v", passes)
				assert.Equal(t, !few, slices.Equal(layers.Output(0), fused.Output(0)), "decoded alike")
				keys, _, ok := layers.Stage("keys")
				require.True(t, ok)
				assert.Len(t, keys, 3*16*small.Channels)
			})
		}
	}
}

// TestSharedEmbedding decodes prompts that share an embedding, and the same
// prompts each with a copy of it.
func TestSharedEmbedding(t *testing.T) {
	n := maskdec.Batch{Prompts: 3, Tokens: 2, Masks: []int{1, 2, 3}}
	o := graph.CompileOptions{KeepStages: true} // layer by layer
	a, b := program(t, n, true, o), program(t, n, false, o)
	assert.Equal(t, a.Output(0), b.Output(0))
	assert.Equal(t, a.Output(1), b.Output(1))
	assert.Equal(t, []int{9, 256}, a.OutputShape(0))
	assert.Equal(t, []int{3, 4}, a.OutputShape(1))
}

// TestMaskChoice decodes one mask alone and among others.
func TestMaskChoice(t *testing.T) {
	all := program(t, maskdec.Batch{Prompts: 1, Tokens: 2, Masks: []int{0, 1, 2, 3}}, true, graph.CompileOptions{})
	one := program(t, maskdec.Batch{Prompts: 1, Tokens: 2, Masks: []int{2}}, true, graph.CompileOptions{})
	assert.Equal(t, all.Output(0)[2*256:3*256], one.Output(0))
	assert.Equal(t, all.Output(1), one.Output(1))
}

// TestFloor leaves out the masks of a prompt of which none is good enough.
func TestFloor(t *testing.T) {
	p := program(t, maskdec.Batch{Prompts: 3, Tokens: 2, Masks: []int{1, 2, 3}, Floor: true}, true, graph.CompileOptions{})
	all, iou := slices.Clone(p.Output(0)), slices.Clone(p.Output(1))
	best := make([]float32, 3)
	for i := range best {
		best[i] = slices.Max(iou[4*i+1 : 4*i+4])
	}
	floor := slices.Max(best)
	require.Positive(t, floor)
	kept := 0
	for _, f := range []float32{floor, math.Nextafter32(floor, 0), -1} {
		p.Input(maskdec.Floor)[0] = f
		require.NoError(t, p.Run(context.Background()))
		assert.Equal(t, iou, p.Output(1))
		for i, v := range best {
			want := make([]float32, 3*256)
			if f < 0 || v > f {
				want = all[3*256*i : 3*256*(i+1)]
				kept++
			}
			assert.Equal(t, want, p.Output(0)[3*256*i:3*256*(i+1)], "prompt %d, floor %v", i, f)
		}
	}
	assert.GreaterOrEqual(t, kept, 4)
}

func ExampleDecoder_Masks() {
	d, err := decoder(small)
	if err != nil {
		panic(err)
	}
	b := graph.NewBuilder()
	img := d.Image(b, b.Input("keys", 16, 16), positions(b, small))
	logits, iou := d.Masks(b, maskdec.Batch{Prompts: 2, Tokens: 3, Masks: []int{0}}, img, b.Input("sparse", 6, 16))
	p, err := cpu.Compile(b, graph.CompileOptions{}, logits, iou)
	if err != nil {
		panic(err)
	}
	fmt.Println(p.OutputShape(0), p.OutputShape(1))
	// Output: [2 256] [2 4]
}
