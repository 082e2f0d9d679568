package weights_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// reopen writes tensors under the names given, and opens the file. A name may
// be followed by its shape's sizes.
func reopen(t testing.TB, tensors map[string]weights.TensorData) (*weights.Checkpoint, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, weights.FromTensors(tensors).Save(t.Context(), path, weights.ConvertOptions{}))
	c, err := weights.Open(path)
	if err == nil {
		t.Cleanup(func() { assert.NoError(t, c.Close()) })
	}
	return c, err
}

func named(names string) map[string]weights.TensorData {
	m := map[string]weights.TensorData{}
	for _, n := range strings.Fields(names) {
		m[n] = data(2)
	}
	return m
}

func TestNames(t *testing.T) {
	for _, tt := range []struct {
		name, in, want string
		layout         weights.Layout
		err            string
	}{
		{name: "as they are", in: "mask_decoder.a pixel_mean", want: "mask_decoder.a pixel_mean"},
		{name: "unknown names are kept", in: "mask_decoder.a other.b", want: "mask_decoder.a other.b"},
		{name: "wrapped", in: "sam.mask_decoder.a sam.pixel_mean", want: "mask_decoder.a pixel_mean", layout: weights.Trainer},
		{name: "wrapped here and there", in: "sam.mask_decoder.a image_encoder.b", want: "image_encoder.b mask_decoder.a", layout: weights.Trainer},
		{name: "wrapped twice", in: "module.sam.mask_decoder.a", want: "mask_decoder.a", layout: weights.MedSAM},
		{name: "compiled", in: "_orig_mod.mask_decoder.a", want: "mask_decoder.a"},
		{name: "container", in: "state_dict.mask_decoder.a state_dict.other epoch", want: "mask_decoder.a other"},
		{name: "preferred container", in: "ema.mask_decoder.a model.mask_decoder.b", want: "mask_decoder.b", layout: weights.MedSAM},
		{name: "one unknown container", in: "student.net.mask_decoder.a", want: "mask_decoder.a"},
		{name: "extras", in: "mask_decoder.a peft_blocks.0.a optimizer.b scheduler_state.c scaler.d decoder_state.e", want: "mask_decoder.a"},
		{name: "several containers", in: "student.mask_decoder.a teacher.mask_decoder.a", err: "several models, under student, teacher"},
		{name: "twice", in: "sam.mask_decoder.a mask_decoder.a", err: "two tensors named mask_decoder.a"},
		{name: "only statistics", in: "pixel_mean pixel_std", err: "no Segment Anything model"},
		{name: "Hugging Face twice", in: "vision_encoder.layers.0.a image_encoder.blocks.0.a", err: "two tensors named image_encoder.blocks.0.a"},
		{name: "Hugging Face heads", in: "vision_encoder.a mask_decoder.iou_prediction_head.proj_in.bias mask_decoder.iou_prediction_head.layers.0.bias " +
			"mask_decoder.iou_prediction_head.layers.1.bias mask_decoder.iou_prediction_head.proj_out.bias",
			want: "image_encoder.a mask_decoder.iou_prediction_head.layers.0.bias mask_decoder.iou_prediction_head.layers.1.bias " +
				"mask_decoder.iou_prediction_head.layers.2.bias mask_decoder.iou_prediction_head.layers.3.bias", layout: weights.HuggingFace},
		{name: "Hugging Face layer without end", in: "vision_encoder.a mask_decoder.iou_prediction_head.layers.99999999999999999999.bias", err: "no such layer"},
		{name: "quantized", in: "image_encoder.blocks.0.attn.qkv.weight.absmax", err: "quantized weights (QLoRA)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := reopen(t, named(tt.in))
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				require.ErrorIs(t, err, weights.ErrFormat)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, strings.Fields(tt.want), c.Names())
			assert.Equal(t, tt.layout, c.Layout())
			for _, name := range c.Names() {
				tensor, err := c.Tensor(name)
				require.NoError(t, err)
				assert.Equal(t, name, tensor.Name)
			}
		})
	}
}

// TestNamesPositionMatrix: Hugging Face stores the matrix once or twice.
func TestNamesPositionMatrix(t *testing.T) {
	const (
		image  = "shared_image_embedding.positional_embedding"
		prompt = "prompt_encoder.shared_embedding.positional_embedding"
		meta   = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
	)
	other := data(2, 4)
	other.Data = slices.Clone(other.Data)
	other.Data[5] = 9
	for _, tt := range []struct {
		name string
		in   map[string]weights.TensorData
		err  string
	}{
		{"image", map[string]weights.TensorData{image: data(2, 4)}, ""},
		{"prompt", map[string]weights.TensorData{prompt: data(2, 4)}, ""},
		{"both", map[string]weights.TensorData{image: data(2, 4), prompt: data(2, 4)}, ""},
		{"they differ", map[string]weights.TensorData{image: data(2, 4), prompt: other}, "differ at element 5: a SAM has but one"},
		{"shapes differ", map[string]weights.TensorData{image: data(2, 4), prompt: data(2, 3)}, "shapes [2 3] and [2 4] differ"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.in["vision_encoder.a"] = data(1)
			c, err := reopen(t, tt.in)
			if tt.err != "" {
				require.ErrorContains(t, err, tt.err)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, []string{"image_encoder.a", meta}, c.Names())
			assert.Equal(t, data(2, 4).Data, values(t, c, meta))
		})
	}
}

func TestLoRAErrors(t *testing.T) {
	const qkv, mlp = "image_encoder.blocks.0.attn.qkv.", "image_encoder.blocks.0.mlp."
	for _, tt := range []struct {
		name string
		in   map[string]weights.TensorData
		want string
	}{
		{"no base", map[string]weights.TensorData{qkv + "w_a_linear_q.weight": data(1, 4), qkv + "w_b_linear_q.weight": data(4, 1)},
			"a low-rank adapter of image_encoder.blocks.0.attn.qkv.weight, which is not in the file"},
		{"one matrix", map[string]weights.TensorData{qkv + "qkv_proj.weight": data(12, 4), qkv + "w_a_linear_q.weight": data(1, 4)},
			"low-rank adapter q: one of its matrices is missing"},
		{"rank", map[string]weights.TensorData{qkv + "qkv_proj.weight": data(12, 4), qkv + "w_a_linear_q.weight": data(1, 4), qkv + "w_b_linear_q.weight": data(4, 2)},
			"low-rank adapter q: shapes [1 4] and [4 2] for a weight [12 4]: wrong shape"},
		{"rows", map[string]weights.TensorData{qkv + "qkv_proj.weight": data(12, 4), qkv + "w_a_linear_k.weight": data(1, 4), qkv + "w_b_linear_k.weight": data(12, 1)},
			"wrong shape"},
		{"axes", map[string]weights.TensorData{qkv + "qkv_proj.weight": data(12), qkv + "w_a_linear_v.weight": data(1, 4), qkv + "w_b_linear_v.weight": data(4, 1)},
			"wrong shape"},
		{"rank above the size", map[string]weights.TensorData{qkv + "qkv_proj.weight": data(12, 4), qkv + "w_a_linear_v.weight": data(9, 4), qkv + "w_b_linear_v.weight": data(4, 9)},
			"wrong shape"},
		{"part of another layer", map[string]weights.TensorData{mlp + "w_a_linear_q.weight": data(1, 4), mlp + "w_b_linear_q.weight": data(4, 1), mlp + "weight": data(4, 4)},
			`a low-rank adapter "q" of image_encoder.blocks.0.mlp.weight: unknown`},
		{"base twice", map[string]weights.TensorData{qkv + "qkv_proj.weight": data(12, 4), qkv + "weight": data(12, 4)},
			"two tensors named image_encoder.blocks.0.attn.qkv.weight"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := reopen(t, tt.in)
			require.ErrorContains(t, err, tt.want)
		})
	}
}
