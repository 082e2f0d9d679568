package weights_test

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

const seed = 7 // of the files in testdata

func open(t testing.TB, file string) *weights.Checkpoint {
	t.Helper()
	c, err := weights.Open(filepath.Join("testdata", file))
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

func values(t testing.TB, c *weights.Checkpoint, name string) []float32 {
	t.Helper()
	tensor, err := c.Tensor(name)
	require.NoError(t, err)
	x, err := tensor.Float32s()
	require.NoError(t, err)
	return x
}

// specsOf returns the specs of all tensors of a checkpoint.
func specsOf(t testing.TB, c *weights.Checkpoint) []weights.Spec {
	t.Helper()
	var specs []weights.Spec
	for _, name := range c.Names() {
		shape, ok := c.Shape(name)
		require.True(t, ok)
		specs = append(specs, weights.Spec{Name: name, Shape: shape})
	}
	return specs
}

// TestOpenLayouts: the same tiny model in every layout and format has the same
// names, shapes and values, those of Random.
func TestOpenLayouts(t *testing.T) {
	ref := open(t, "original.pth")
	require.Len(t, ref.Names(), 124)
	want := weights.Random(specsOf(t, ref), seed)
	for _, tt := range []struct {
		file   string
		layout weights.Layout
		rel    float64 // the file's rounding
	}{
		{"original.pth", weights.Original, 0},
		{"original_torch113.pth", weights.Original, 0},
		{"nested.pth", weights.Original, 0},
		{"trainer.pt", weights.Trainer, 0},
		{"medsam.pth", weights.MedSAM, 0},
		{"medsam_ddp.pth", weights.MedSAM, 0},
		{"hf.bin", weights.HuggingFace, 0},
		{"hf.safetensors", weights.HuggingFace, 0},
		{"original.npz", weights.Original, 0},
		{"compressed.npz", weights.Original, 0},
		{"bfloat16.safetensors", weights.Original, 1.0 / (1 << 8)}, // 8 bits of mantissa
	} {
		t.Run(tt.file, func(t *testing.T) {
			c := open(t, tt.file)
			assert.Equal(t, tt.layout, c.Layout())
			require.Equal(t, specsOf(t, ref), specsOf(t, c))
			for _, name := range c.Names() {
				got, want := values(t, c, name), values(t, want, name)
				if tt.rel == 0 {
					require.Equal(t, want, got, name)
					continue
				}
				for i := range want {
					require.InDelta(t, want[i], got[i], tt.rel*math.Abs(float64(want[i])), "%s[%d]", name, i)
				}
			}
		})
	}
}

// TestOpenLoRA compares with the sums that numpy makes.
func TestOpenLoRA(t *testing.T) {
	c, want := open(t, "lora.pt"), open(t, "lora_merged.safetensors")
	assert.Equal(t, weights.LoRA, c.Layout())
	require.Equal(t, specsOf(t, want), specsOf(t, c))
	plain := open(t, "original.pth")
	changed := 0
	for _, name := range want.Names() {
		got := values(t, c, name)
		if !slices.Equal(got, values(t, plain, name)) {
			changed++
		}
		for i, v := range values(t, want, name) {
			// Both add in float64 and round to float32: one unit in the last
			// place at most, where the order of the sums differs.
			require.InDelta(t, v, got[i], 1.2e-7*math.Abs(float64(v)), "%s[%d]", name, i)
		}
	}
	assert.Equal(t, 3, changed) // qkv, lin1, lin2
	for _, name := range c.Names() {
		tensor, err := c.Tensor(name)
		require.NoError(t, err)
		tensor.Release()
	}
}

// TestOpenStorages reads tensors that lie in every way in their storages.
func TestOpenStorages(t *testing.T) {
	for _, tt := range []struct {
		file, names string
	}{
		{"storages.pth", "plain t slice tail f16 bf16 f64 param step nhwc"},
		{"protocol4.pth", "plain"},
		{"protocol5.pth", "plain"},
		{"big_endian.pth", "plain"},
		{"no_checksum.pth", "plain"},
		{"storages.npz", "plain t f16 f64 big"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			c := open(t, tt.file)
			for _, n := range strings.Fields(tt.names) {
				name := "image_encoder." + n + ".weight"
				want := values(t, weights.Random([]weights.Spec{{Name: name, Shape: []int{6, 4}}}, seed), name)
				tensor, err := c.Tensor(name)
				require.NoError(t, err)
				rel := map[weights.DType]float64{weights.Float16: 1.0 / (1 << 11), weights.BFloat16: 1.0 / (1 << 8)}[tensor.DType]
				got := values(t, c, name)
				require.Len(t, got, len(want))
				for i := range want {
					require.InDelta(t, want[i], got[i], rel*math.Abs(float64(want[i])), "%s[%d]", name, i)
				}
				tensor.Release()
				assert.Equal(t, got, values(t, c, name), name)
			}
		})
	}
	c := open(t, "storages.pth")
	assert.Equal(t, []float32{12345}, values(t, c, "image_encoder.count.weight"))
	shape, _ := c.Shape("image_encoder.nhwc.weight")
	assert.Equal(t, []int{1, 6, 2, 2}, shape)
	for name, want := range map[string]weights.DType{"f16": weights.Float16, "bf16": weights.BFloat16,
		"f64": weights.Float64, "count": weights.Int64, "t": weights.Float32} {
		tensor, err := c.Tensor("image_encoder." + name + ".weight")
		require.NoError(t, err)
		assert.Equal(t, want, tensor.DType)
	}
}

// TestOpenRefuses: each file that is not a SAM, or not one that can be read,
// gives an error that says what it is and what to do.
func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct{ file, want string }{
		{"sam2.pt", "a SAM 2 (or later) checkpoint, or one made of it such as MedSAM2, which is another architecture: use a SAM checkpoint"},
		{"unetr_decoder.pt", "a UNETR decoder of micro-sam or patho-sam, not a SAM: open the model's own file, without _decoder in its name"},
		{"semantic.pt", "a patho-sam semantic segmentation model: it has SAM's image encoder but no prompt encoder and no mask decoder"},
		// Pieces of adapters.
		{"fact.pt", "attn.qkv.weight: low-rank adapter q: one of its matrices is missing"},
		{"ssf.pt", "attn.qkv.layer.weight: shape [2 2] with scale [2 2] and shift [2 2]: wrong shape"},
		{"peft_adapter.pt", "a PEFT adapter: merge it with merge_and_unload()"},
		{"hq_sam.pth", "an HQ-SAM checkpoint"},
		{"resnet.pth", `no Segment Anything model: its tensors have names such as "conv1.weight", "fc.bias", "fc.weight"`},
		{"two_models.pth", "several models, under student, teacher"},
		{"quantized.pth", "mask_decoder.iou_token.weight: cannot read a torch._utils._rebuild_qtensor: save plain float tensors"},
		{"list.pth", "a list, not a state dict"},
		{"tensor.pth", "a single tensor, not a state dict"},
		{"legacy.pth", "a file of PyTorch before 1.6: load it with torch.load and save it again"},
		{"module.pth", `a whole Python object of "torch.nn.modules.linear.Linear", not a state dict: save model.state_dict() instead`},
		{"torchscript.pt", "a TorchScript archive: load it with torch.jit.load and save its state_dict()"},
		{"compressed.pth", "is compressed, which torch.save never does"},
	} {
		t.Run(tt.file, func(t *testing.T) {
			_, err := weights.Open(filepath.Join("testdata", tt.file))
			require.ErrorIs(t, err, weights.ErrFormat)
			require.ErrorContains(t, err, "weights: open ")
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestOpenOtherFiles(t *testing.T) {
	dir := t.TempDir()
	header := func(s string) string {
		return string([]byte{byte(len(s)), 0, 0, 0, 0, 0, 0, 0}) + s
	}
	one := header(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`)
	for _, tt := range []struct{ name, content, want string }{
		{"empty", "", "an empty file: download it again"},
		{"git-lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"},
		{"web page", "\n<!DOCTYPE html><html>", "a web page"},
		{"text", "Hello, this is\ntext", `a text file that begins with "Hello, this is"`},
		{"json", `{"metadata": {}}`, "a text file"},
		{"index", `{"weight_map": {}}`, "index: weight_map is empty"},
		{"ggml", "lmgg\x00\x03\x00\x00", "a ggml file (sam.cpp)"},
		{"pickle", "\x80\x04}.", "a bare pickle"},
		{"tar", strings.Repeat("x", 257) + "ustar\x00", "a tar archive"},
		{"gzip", "\x1f\x8b\x08", "a gzip archive: unpack it"},
		{"zeros", strings.Repeat("\x00", 4000), "an unfinished download"},
		{"onnx", "\x08\x07\x12\x07pytorch\x1a\x051.13.1:\x00", "an ONNX graph"},
		{"onnx with a producer of 255 bytes", "\x08\x07\x12\xff" + strings.Repeat("a", 300), "an ONNX graph"},
		{"a producer that is cut short", "\x08\x07\x12\xff" + strings.Repeat("a", 200), "neither a .pth (zip), .safetensors nor .npz file"},
		{"npy", "\x93NUMPY\x01\x00", "a single array"},
		{"noise", "\x01\x02\x03\x04", "neither a .pth"},
		{"zip", "PK\x05\x06" + strings.Repeat("\x00", 18), "a zip archive without a state dict"},
		{"zip cut short", "PK\x03\x04", "cut short"},
		{"safetensors cut short", one[:20], "cut short"},
		{"safetensors without data", one, "incomplete"},
		{"safetensors deep", header(`{"a":{"shape":[[[[[[[[[[[[[[[[`), "nested"},
		{"safetensors long list", header(`{"a":{"shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}}`), "more than 16"},
		{"safetensors not json", header(`{"a":}`), "header"},
		{"safetensors overflow", header(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`), "overflow"},
		{"safetensors without tensors", header(`{}`), "no tensors"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, "x")
			require.NoError(t, os.WriteFile(path, []byte(tt.content), 0o644))
			_, err := weights.Open(path)
			require.ErrorContains(t, err, tt.want)
			require.ErrorIs(t, err, weights.ErrFormat)
		})
	}
	_, err := weights.Open(filepath.Join(dir, "absent"))
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = weights.Open(dir)
	require.ErrorContains(t, err, "a folder, want a file")
}

// TestOpenNaN: a weight that is not finite is found when it is read.
func TestOpenNaN(t *testing.T) {
	c := open(t, "nan.pth")
	tensor, err := c.Tensor("mask_decoder.iou_token.weight")
	require.NoError(t, err)
	_, err = tensor.Float32s()
	require.EqualError(t, err, "weights: read mask_decoder.iou_token.weight: element 2 of [2 2] is NaN: not a finite weight")
}
