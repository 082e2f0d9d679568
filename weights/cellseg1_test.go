package weights_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// samOf is a SAM of one block with a grid of 3 and patches of 2 pixels, whose
// positions are a ramp.
func samOf() map[string]weights.TensorData {
	return map[string]weights.TensorData{
		"image_encoder.pos_embed":                {Shape: []int{1, 3, 3, 1}, Data: []float32{0, 1, 2, 10, 11, 12, 20, 21, 22}},
		"image_encoder.patch_embed.proj.weight":  {Shape: []int{1, 3, 2, 2}, Data: make([]float32, 12)},
		"image_encoder.blocks.0.attn.qkv.weight": {Shape: []int{3, 1}, Data: []float32{1, 2, 3}},
		"image_encoder.blocks.0.attn.rel_pos_h":  {Shape: []int{5, 1}, Data: []float32{0, 3, 6, 9, 12}}, // of the whole grid
		"image_encoder.blocks.0.attn.rel_pos_w":  {Shape: []int{3, 1}, Data: []float32{7, 8, 9}},        // of a window
		"mask_decoder.iou_token.weight":          {Shape: []int{1}, Data: []float32{1}},
	}
}

func cellSeg1Of() map[string]weights.TensorData {
	one := func(v float32) weights.TensorData { return weights.TensorData{Shape: []int{1, 1}, Data: []float32{v}} }
	return map[string]weights.TensorData{
		"w_a_000": one(2), "w_b_000": one(5), "w_a_001": one(3), "w_b_001": one(-1),
		"mask_decoder.iou_token.weight": {Shape: []int{1}, Data: []float32{4}},
	}
}

func openCellSeg1(t *testing.T, adapters map[string]weights.TensorData, side int) (*weights.Checkpoint, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.safetensors")
	require.NoError(t, weights.FromTensors(adapters).Save(t.Context(), path, weights.ConvertOptions{}))
	return weights.OpenCellSeg1(weights.FromTensors(samOf()), path, side)
}

func TestOpenCellSeg1(t *testing.T) {
	c, err := openCellSeg1(t, cellSeg1Of(), 6)
	require.NoError(t, err)
	assert.Equal(t, weights.Adapters, c.Layout())
	assert.Equal(t, []float32{11, 2, 0}, values(t, c, "image_encoder.blocks.0.attn.qkv.weight"))
	assert.Equal(t, []float32{4}, values(t, c, "mask_decoder.iou_token.weight"))
	assert.Equal(t, samOf()["image_encoder.pos_embed"].Data, values(t, c, "image_encoder.pos_embed"))
	require.NoError(t, c.Close())

	c, err = openCellSeg1(t, cellSeg1Of(), 4) // a grid of 2: the corners
	require.NoError(t, err)
	assert.Equal(t, []float32{0, 2, 20, 22}, values(t, c, "image_encoder.pos_embed"))
	assert.Equal(t, []float32{0, 6, 12}, values(t, c, "image_encoder.blocks.0.attn.rel_pos_h"))
	assert.Equal(t, []float32{7, 8, 9}, values(t, c, "image_encoder.blocks.0.attn.rel_pos_w"))
	require.NoError(t, c.Close())

	c, err = openCellSeg1(t, cellSeg1Of(), 10) // a grid of 5: between them
	require.NoError(t, err)
	got := values(t, c, "image_encoder.pos_embed")
	for i, v := range got {
		assert.InDelta(t, float64(i/5)*5+float64(i%5)*0.5, v, 1e-6)
	}
	require.NoError(t, c.Close())
}

func TestOpenCellSeg1Errors(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(m map[string]weights.TensorData)
		side   int
		want   string
	}{
		"side":           {func(map[string]weights.TensorData) {}, 5, "pictures of 5 pixels, want a multiple of the patch's 2"},
		"none":           {func(m map[string]weights.TensorData) { clear(m); m["fati_qa"] = cellSeg1Of()["w_a_000"] }, 6, "no adapters of CellSeg1"},
		"another":        {func(m map[string]weights.TensorData) { m["x"] = m["w_a_000"] }, 6, `"x": no adapter of CellSeg1`},
		"too few":        {func(m map[string]weights.TensorData) { delete(m, "w_b_001") }, 6, "3 adapters of encoder blocks, want 4 for the 1 blocks"},
		"another's mask": {func(m map[string]weights.TensorData) { m["mask_decoder.other"] = m["w_a_000"] }, 6, "mask_decoder.other: shape [1 1], which the model does not have"},
		"beyond": {func(m map[string]weights.TensorData) {
			m["w_a_002"], m["w_b_002"] = m["w_a_001"], m["w_b_001"]
			delete(m, "w_a_001")
			delete(m, "w_b_001")
		}, 6, "blocks.1.attn.qkv.weight, which is not in the file"},
		"shape": {func(m map[string]weights.TensorData) {
			m["w_a_000"] = weights.TensorData{Shape: []int{1, 2}, Data: make([]float32, 2)}
		}, 6, "wrong shape"},
	} {
		t.Run(name, func(t *testing.T) {
			m := cellSeg1Of()
			tt.change(m)
			_, err := openCellSeg1(t, m, tt.side)
			require.ErrorIs(t, err, weights.ErrFormat)
			assert.ErrorContains(t, err, tt.want)
		})
	}
}
