package weights_test

import (
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// TestMergeAdapters: worked out by hand.
func TestMergeAdapters(t *testing.T) {
	of := func(shape []int, v ...float32) weights.TensorData { return weights.TensorData{Shape: shape, Data: v} }
	const at = "image_encoder.blocks.0."
	for _, tt := range []struct {
		name string
		in   map[string]weights.TensorData
		want map[string][]float32
	}{
		{"scale and shift", map[string]weights.TensorData{
			at + "attn.proj.layer.weight": of([]int{2, 1}, 3, 5), at + "attn.proj.layer.bias": of([]int{2}, 1, 2),
			at + "attn.proj.scale": of([]int{2}, 2, -1), at + "attn.proj.shift": of([]int{2}, 0.5, 4),
		}, map[string][]float32{at + "attn.proj.weight": {6, -5}, at + "attn.proj.bias": {2.5, 2}}},
		{"three matrices", map[string]weights.TensorData{
			at + "attn.qkv.qkv_proj.weight": of([]int{6, 2}, make([]float32, 12)...), at + "attn.qkv.qkv_proj.bias": of([]int{6}, 1, 2, 3, 4, 5, 6),
			at + "attn.qkv.FacTu.weight": of([]int{1, 2}, 2, 3), at + "attn.qkv.FacTv.weight": of([]int{2, 1}, 1, -1),
			at + "attn.qkv.q_FacTs.weight": of([]int{1, 1}, 10), at + "attn.qkv.v_FacTs.weight": of([]int{1, 1}, 1),
		}, map[string][]float32{at + "attn.qkv.weight": {20, 30, -20, -30, 0, 0, 0, 0, 2, 3, -2, -3}, at + "attn.qkv.bias": {1, 2, 3, 4, 5, 6}}},
		{"a branch", map[string]weights.TensorData{
			at + "mlp.mlp_proj.lin1.weight": of([]int{1, 1}, 7), at + "mlp.down_proj.weight": of([]int{1, 1}, 3), at + "mlp.down_proj.bias": of([]int{1}, 2),
			at + "mlp.up_proj.weight": of([]int{1, 1}, 5), at + "mlp.up_proj.bias": of([]int{1}, 1), at + "mlp.alpha": of([]int{1}, 0.5),
		}, map[string][]float32{at + "mlp.lin1.weight": {7}, at + "mlp.adapter.down.weight": {3}, at + "mlp.adapter.down.bias": {2}, at + "mlp.adapter.up.weight": {2.5}, at + "mlp.adapter.up.bias": {0.5}}},
		{"in the decoder", map[string]weights.TensorData{
			"mask_decoder.transformer.layers.0.self_attn.q_proj.proj.weight": of([]int{2, 1}, 1, 2), "mask_decoder.transformer.layers.0.self_attn.q_proj.proj.bias": of([]int{2}, 3, 4),
			"mask_decoder.transformer.layers.0.self_attn.q_proj.w_a.weight": of([]int{1, 1}, 2), "mask_decoder.transformer.layers.0.self_attn.q_proj.w_b.weight": of([]int{2, 1}, 1, 3),
		}, map[string][]float32{"mask_decoder.transformer.layers.0.self_attn.q_proj.weight": {3, 8}, "mask_decoder.transformer.layers.0.self_attn.q_proj.bias": {3, 4}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := reopen(t, tt.in)
			require.NoError(t, err)
			assert.Equal(t, weights.Adapters, c.Layout())
			assert.Len(t, c.Names(), len(tt.want))
			for name, want := range tt.want {
				assert.Equal(t, want, values(t, c, name), name)
			}
		})
	}
	for want, in := range map[string]map[string]weights.TensorData{
		"its scale or its shift is missing":            {at + "attn.qkv.layer.weight": of([]int{1, 1}, 1), at + "attn.qkv.scale": of([]int{1}, 1)},
		"which takes up the shift, is missing":         {at + "attn.qkv.layer.weight": of([]int{1, 1}, 1), at + "attn.qkv.scale": of([]int{1}, 1), at + "attn.qkv.shift": of([]int{1}, 1)},
		"no part of a layer with a scale":              {at + "attn.qkv.layer.other": of([]int{1}, 1), at + "attn.qkv.scale": of([]int{1}, 1), at + "attn.qkv.shift": of([]int{1}, 1)},
		"factor alpha is fixed, and not in the file":   {at + "mlp.down_proj.weight": of([]int{1, 1}, 1), at + "mlp.up_proj.weight": of([]int{1, 1}, 1)},
		"alpha: shape [2], want [1]":                   {at + "mlp.down_proj.weight": of([]int{1, 1}, 1), at + "mlp.up_proj.weight": of([]int{1, 1}, 1), at + "mlp.alpha": of([]int{2}, 1, 1)},
		"shapes [1 2], [2 2] and [2 1] for a weight":   {at + "attn.qkv.weight": of([]int{6, 2}, make([]float32, 12)...), at + "attn.qkv.FacTu.weight": of([]int{1, 2}, 2, 3), at + "attn.qkv.FacTv.weight": of([]int{2, 1}, 1, 1), at + "attn.qkv.q_FacTs.weight": of([]int{2, 2}, 1, 1, 1, 1), at + "attn.qkv.v_FacTs.weight": of([]int{2, 2}, 1, 1, 1, 1)},
		"two tensors named image_encoder.blocks.0.mlp": {at + "mlp.mlp_proj.lin1.weight": of([]int{1}, 1), at + "mlp.lin1.weight": of([]int{1}, 1)},
	} {
		_, err := reopen(t, in)
		assert.ErrorContains(t, err, want)
	}
}

// FuzzAdapters puts a tensor of any name and shape into a file with every kind
// of adapter.
func FuzzAdapters(f *testing.F) {
	const at = "image_encoder.blocks.0."
	f.Add(at+"attn.qkv.layer.weight", uint8(3), uint8(1))
	f.Add(at+"attn.qkv.FacTv.weight", uint8(2), uint8(0))
	f.Add(at+"mlp.alpha", uint8(1), uint8(0))
	f.Add("mask_decoder.transformer.layers.0.self_attn.q_proj.w_a.weight", uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, name string, rows, columns uint8) {
		one := func(shape ...int) weights.TensorData {
			n := 1
			for _, d := range shape {
				n *= d
			}
			return weights.TensorData{Shape: shape, Data: make([]float32, n)}
		}
		dict := map[string]weights.TensorData{
			at + "attn.qkv.layer.weight": one(3, 1), at + "attn.qkv.layer.bias": one(3), at + "attn.qkv.scale": one(3), at + "attn.qkv.shift": one(3),
			at + "attn.qkv.FacTu.weight": one(1, 1), at + "attn.qkv.FacTv.weight": one(1, 1), at + "attn.qkv.q_FacTs.weight": one(1, 1), at + "attn.qkv.v_FacTs.weight": one(1, 1),
			at + "mlp.down_proj.weight": one(1, 1), at + "mlp.up_proj.weight": one(1, 1), at + "mlp.alpha": one(1),
		}
		dict[name] = one(int(rows), int(columns))
		if columns == 0 {
			dict[name] = one(int(rows))
		}
		header, at := map[string]any{}, 0
		for n, d := range dict {
			header[n] = map[string]any{"dtype": "F32", "shape": d.Shape, "data_offsets": []int{at, at + 4*len(d.Data)}}
			at += 4 * len(d.Data)
		}
		text, err := json.Marshal(header)
		require.NoError(t, err)
		file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
		c, err := weights.OpenBytes(append(file, make([]byte, at)...))
		if err != nil {
			return
		}
		for _, n := range c.Names() {
			x, err := c.Tensor(n)
			require.NoError(t, err)
			if v, err := x.Float32s(); err == nil {
				require.Len(t, v, x.Len(), n)
			}
		}
		require.NoError(t, c.Close())
	})
}
