package weights_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// checkpointOf saves tensors of one value each under the names.
func checkpointOf(t *testing.T, names ...string) string {
	m := map[string]weights.TensorData{}
	for _, n := range names {
		m[n] = weights.TensorData{Shape: []int{1}, Data: []float32{1}}
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, weights.FromTensors(m).Save(t.Context(), path, weights.ConvertOptions{}))
	return path
}

// Other models get an error that names them, issue 24.
func TestOpenNamesForeignModels(t *testing.T) {
	for _, tt := range []struct{ want, names string }{
		{"HQ-SAM", "vision_encoder.pos_embed mask_decoder.hq_token.weight"},
		{"HQ-SAM", "mask_decoder.hf_token.weight image_encoder.pos_embed"},
		{"EfficientSAM", "image_encoder.blocks.0.mlp.fc1.weight mask_decoder.final_output_upscaling_layers.0.weight"},
		{"EdgeSAM", "image_encoder.features.0.0.c.weight mask_decoder.iou_token.weight"},
		{"EdgeSAM", "image_encoder.fuse_stage2.op_list.0.weight"},
		{"CellViT", "model_state_dict.encoder.blocks.0.norm1.weight model_state_dict.hv_map_decoder.decoder0_header.weight"},
		{"SAM-Med2D", "model.image_encoder.blocks.0.Adapter.channel.0.weight model.mask_decoder.iou_token.weight"},
		{"Medical SAM Adapter", "image_encoder.blocks.0.MLP_Adapter.D_fc1.weight"},
		{"MedSAM2", "model.image_encoder.trunk.pos_embed model.sam_mask_decoder.iou_token.weight"},
		{"SAM 2 (or later)", "detector.backbone.vision_backbone.trunk.patch_embed.proj.weight tracker.maskmem_tpos_enc"},
		{"FastSAM", "model.0.conv.weight model.22.cv2.0.0.conv.weight"},
		{"UNI", "cls_token pos_embed patch_embed.proj.weight blocks.0.norm1.weight"},
		{"CellSeg1", "w_a_000 w_b_000 sa_a_000 prompt_encoder.not_a_point_embed.weight"},
		{"Cellpose", "encoder.blocks.0.norm1.weight out.weight W2 diam_mean diam_labels"},
	} {
		_, err := weights.Open(checkpointOf(t, strings.Fields(tt.names)...))
		require.ErrorIs(t, err, weights.ErrFormat)
		assert.ErrorContains(t, err, tt.want)
	}
}

func TestBindIgnoresTheCountOfAveragedModels(t *testing.T) {
	c, err := weights.Open(checkpointOf(t, "n_averaged", "module.mask_decoder.x"))
	require.NoError(t, err)
	defer func() { assert.NoError(t, c.Close()) }()
	p := oneOf{X: weights.Param{Shape: []int{1}}}
	require.NoError(t, weights.Bind(c, &p))
}

type oneOf struct {
	X weights.Param `weight:"mask_decoder.x"`
}

func TestOpenNamesWholeModules(t *testing.T) {
	const report = "../../shared/reports/pictures/whole_module_in_dict_as_fastsam.pt"
	if _, err := os.Stat(report); err != nil {
		t.Skip("no reports here")
	}
	_, err := weights.Open(report)
	require.ErrorIs(t, err, weights.ErrFormat)
	assert.ErrorContains(t, err, `under "model", not a state dict: save its state_dict()`)
}
