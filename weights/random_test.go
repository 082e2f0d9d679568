package weights_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// The wanted bits come from the same generator written in numpy 1.24, seed 7:
// the first three values and the exclusive or of all values' bits.
func TestRandomMatchesNumpy(t *testing.T) {
	for _, tt := range []struct {
		name  string
		shape []int
		first []uint32
		xor   uint32
	}{
		{"image_encoder.pos_embed", []int{1, 4, 4, 8}, []uint32{0x3ee0caa2, 0x3e1b6d34, 0xbdd99d20}, 0x058ca366},
		{"image_encoder.patch_embed.proj.weight", []int{8, 3, 4, 4}, []uint32{0x3e167e42, 0xbe0b1052, 0x3dda0928}, 0x070f8d54},
		{"image_encoder.patch_embed.proj.bias", []int{8}, []uint32{0xbd1ef0da, 0xbd4b1047, 0x3d911eba}, 0x81404127},
		{"image_encoder.blocks.0.norm1.weight", []int{8}, []uint32{0x3f712194, 0x3f8aaf69, 0x3f896d02}, 0x003df922},
		{"image_encoder.blocks.0.attn.rel_pos_h", []int{7, 4}, []uint32{0x3e141dbe, 0xbe2072ba, 0x3e11a9a2}, 0x8154ce34},
		{"image_encoder.blocks.0.attn.qkv.weight", []int{24, 8}, []uint32{0x3f195075, 0x3eb1fbe8, 0xbe342811}, 0x836d963c},
		{"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", []int{2, 4}, []uint32{0x3f458c5a, 0x3fd60c4d, 0xbfa87308}, 0x8228d2c1},
		{"prompt_encoder.point_embeddings.0.weight", []int{1, 8}, []uint32{0xbf2eaef2, 0xbeee2730, 0x3f0c6ed8}, 0x021f174a},
		{"mask_decoder.output_upscaling.0.weight", []int{8, 2, 2, 2}, []uint32{0x3dc13b41, 0xbe2df074, 0xbf11ac00}, 0x8215d8dc},
		{"mask_decoder.iou_prediction_head.layers.0.weight", []int{8, 8}, []uint32{0x3e825887, 0xbf15e48a, 0xbee09a77}, 0x85e546b0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := weights.Random([]weights.Spec{{Name: tt.name, Shape: tt.shape}}, 7)
			tensor, err := c.Tensor(tt.name)
			require.NoError(t, err)
			x, err := tensor.Float32s()
			require.NoError(t, err)
			require.Len(t, x, tensor.Len())
			var xor uint32
			for i, v := range x {
				if i < 3 {
					assert.Equal(t, tt.first[i], math.Float32bits(v), "element %d", i)
				}
				xor ^= math.Float32bits(v)
			}
			assert.Equal(t, tt.xor, xor)
		})
	}
}

func TestRandomDependsOnSeedAndName(t *testing.T) {
	values := func(name string, seed uint64) []float32 {
		c := weights.Random([]weights.Spec{{Name: name, Shape: []int{64}}}, seed)
		tensor, err := c.Tensor(name)
		require.NoError(t, err)
		x, err := tensor.Float32s()
		require.NoError(t, err)
		return x
	}
	assert.Equal(t, values("a.bias", 1), values("a.bias", 1))
	assert.NotEqual(t, values("a.bias", 1), values("a.bias", 2))
	assert.NotEqual(t, values("a.bias", 1), values("b.bias", 1))
}

func BenchmarkRandom(b *testing.B) {
	const name = "image_encoder.blocks.0.attn.qkv.weight"
	c := weights.Random([]weights.Spec{{Name: name, Shape: []int{2304, 768}}}, 1)
	tensor, err := c.Tensor(name)
	require.NoError(b, err)
	b.SetBytes(2304 * 768 * 4)
	for b.Loop() {
		if _, err := tensor.Float32s(); err != nil {
			b.Fatal(err)
		}
	}
}
