package weights_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// cellposeDict is a state dict with a grid of 2, one map and patches of 2
// pixels.
func cellposeDict() map[string]weights.TensorData {
	return map[string]weights.TensorData{
		"encoder.pos_embed":                {Shape: []int{1, 2, 2, 1}, Data: make([]float32, 4)},
		"encoder.patch_embed.proj.weight":  {Shape: []int{1, 3, 2, 2}, Data: make([]float32, 12)},
		"encoder.blocks.0.attn.rel_pos_h":  {Shape: []int{3, 2}, Data: []float32{1, 2, 3, 4, 5, 6}},
		"encoder.blocks.0.attn.rel_pos_w":  {Shape: []int{6, 1}, Data: []float32{0, 1, 2, 3, 4, 5}},
		"encoder.blocks.0.attn.qkv.weight": {Shape: []int{1, 1}, Data: []float32{7}},
		"out.weight":                       {Shape: []int{4, 1, 1, 1}, Data: []float32{1, 2, 3, 4}},
		"out.bias":                         {Shape: []int{4}, Data: []float32{5, 6, 7, 8}},
		// Swaps the first two, halves the third, and adds the first to the last.
		"W2":          {Shape: []int{4, 1, 2, 2}, Data: []float32{0, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0.5, 0, 0, 0, 0, 1}},
		"diam_mean":   {Shape: []int{1}, Data: []float32{30}},
		"diam_labels": {Shape: []int{1}, Data: []float32{30}},
	}
}

func TestOpenCellpose(t *testing.T) {
	for _, prefix := range []string{"", "module."} {
		dict := map[string]weights.TensorData{}
		for name, d := range cellposeDict() {
			dict[prefix+name] = d
		}
		path := filepath.Join(t.TempDir(), "cpsam")
		require.NoError(t, weights.FromTensors(dict).Save(t.Context(), path+".safetensors", weights.ConvertOptions{}))
		require.NoError(t, os.Rename(path+".safetensors", path)) // as it is called
		c, err := weights.OpenCellpose(path)
		require.NoError(t, err)
		want := map[string][]float32{
			"image_encoder.pos_embed":                make([]float32, 4),
			"image_encoder.patch_embed.proj.weight":  make([]float32, 12),
			"image_encoder.blocks.0.attn.qkv.weight": {7},
			"image_encoder.blocks.0.attn.rel_pos_h":  {1, 2, 3, 4, 5, 6},
			"image_encoder.blocks.0.attn.rel_pos_w":  {0.5, 2.5, 4.5}, // 6 rows brought to 3
			"readout.weight":                         {2, 1, 1.5, 5},
			"readout.bias":                           {6, 5, 3.5, 13},
		}
		assert.Len(t, c.Names(), len(want))
		for name, v := range want {
			x, err := c.Tensor(name)
			require.NoError(t, err)
			got, err := x.Float32s()
			require.NoError(t, err)
			assert.Equal(t, v, got, name)
		}
		_, err = weights.Open(path)
		require.ErrorIs(t, err, weights.ErrFormat)
		assert.ErrorContains(t, err, "LoadCellpose")
		require.NoError(t, c.Close())
	}
}

// TestOpenCellposeErrors: what is wrong with a file is said.
func TestOpenCellposeErrors(t *testing.T) {
	one := weights.TensorData{Shape: []int{1}, Data: []float32{1}}
	for _, tt := range []struct {
		name   string
		change func(m map[string]weights.TensorData)
		want   string
	}{
		{"version 3", func(m map[string]weights.TensorData) { delete(m, "W2") }, "before 4, a U-Net"},
		{"DINO", func(m map[string]weights.TensorData) { m["encoder.cls_token"] = one }, "cpdino"},
		{"a SAM", func(m map[string]weights.TensorData) { clear(m); m["image_encoder.pos_embed"] = one }, "no Cellpose-SAM model: it has no tensor W2"},
		{"no readout", func(m map[string]weights.TensorData) { delete(m, "out.bias") }, "no tensor out.bias"},
		{"twice", func(m map[string]weights.TensorData) { m["module.W2"] = m["W2"] }, "two tensors named W2"},
		{"grid", func(m map[string]weights.TensorData) { m["encoder.pos_embed"] = one }, "pos_embed: shape [1]"},
		{"table", func(m map[string]weights.TensorData) { m["encoder.blocks.0.attn.rel_pos_h"] = one }, "rel_pos_h: shape [1]"},
		{"W2", func(m map[string]weights.TensorData) { m["W2"] = one }, "W2: shape [1]"},
		{"readout", func(m map[string]weights.TensorData) { m["out.weight"] = one }, "out.weight and out.bias: shapes [1] and [4], want [4 channels 1 1] and [4]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dict := cellposeDict()
			tt.change(dict)
			path := filepath.Join(t.TempDir(), "x.safetensors")
			require.NoError(t, weights.FromTensors(dict).Save(t.Context(), path, weights.ConvertOptions{}))
			_, err := weights.OpenCellpose(path)
			require.ErrorIs(t, err, weights.ErrFormat)
			assert.ErrorContains(t, err, tt.want)
			_, err = weights.Cellpose(weights.FromTensors(dict))
			require.ErrorIs(t, err, weights.ErrFormat)
		})
	}
}

// FuzzOpenCellpose changes one tensor's name and shape.
func FuzzOpenCellpose(f *testing.F) {
	f.Add("W2", 4, 1, 2, 2)
	f.Add("encoder.pos_embed", 1, 2, 2, 1)
	f.Add("encoder.blocks.0.attn.rel_pos_h", 0, 3, -1, 1)
	f.Add("out.weight", 4, 1, 1, 1)
	f.Fuzz(func(t *testing.T, name string, a, b, c, d int) {
		dict := cellposeDict()
		old := dict[name]
		var shape []int
		n := 1
		for _, k := range []int{a, b, c, d} {
			if k >= 0 && k <= 1<<10 && n*k <= 1<<12 {
				shape, n = append(shape, k), n*k
			}
		}
		dict[name] = weights.TensorData{Shape: shape, Data: append(old.Data[:0:0], make([]float32, n)...)}
		ck, err := weights.Cellpose(weights.FromTensors(dict))
		if err != nil {
			return
		}
		for _, name := range ck.Names() {
			x, err := ck.Tensor(name)
			require.NoError(t, err)
			if v, err := x.Float32s(); err == nil {
				require.Len(t, v, x.Len(), name)
			}
		}
	})
}
