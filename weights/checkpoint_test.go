package weights_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/nlpodyssey/safetensors"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

func TestFromTensors(t *testing.T) {
	c := weights.FromTensors(map[string]weights.TensorData{
		"b":   {Shape: []int{2}, Data: []float32{1, 2}},
		"a":   {Shape: []int{2, 1}, Data: []float32{3, 4}},
		"bad": {Shape: []int{3}, Data: []float32{3, 4}},
		"neg": {Shape: []int{-1}, Data: []float32{3, 4}},
		"big": {Shape: []int{math.MaxInt / 2, 8}},
	})
	assert.Equal(t, []string{"a", "b", "bad", "big", "neg"}, c.Names())
	shape, ok := c.Shape("a")
	assert.True(t, ok)
	assert.Equal(t, []int{2, 1}, shape)
	_, ok = c.Shape("c")
	assert.False(t, ok)
	assert.Equal(t, weights.Original, c.Layout())

	tensor, err := c.Tensor("a")
	require.NoError(t, err)
	x, err := tensor.Float32s()
	require.NoError(t, err)
	assert.Equal(t, []float32{3, 4}, x)
	assert.Equal(t, weights.Float32, tensor.DType)

	_, err = c.Tensor("c")
	require.ErrorIs(t, err, weights.ErrMissing)
	for name, want := range map[string]string{
		"bad": "weights: read bad: 2 values, want 3 for shape [3]",
		"neg": "weights: read neg: shape [-1]: negative size",
		"big": "weights: read big: shape [4611686018427387903 8]: too large",
	} {
		tensor, err := c.Tensor(name)
		require.NoError(t, err)
		_, err = tensor.Float32s()
		assert.EqualError(t, err, want)
	}
	require.NoError(t, c.Close())
	require.NoError(t, c.Close())
}

// TestNotFinite puts a bad value at every place of a small tensor.
func TestNotFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		for n := 1; n < 11; n++ {
			for i := range n {
				x := make([]float32, n)
				for j := range x {
					x[j] = math.MaxFloat32 // sums of finite values overflow, and are fine
				}
				x[i] = bad
				c := weights.FromTensors(map[string]weights.TensorData{"w": {Shape: []int{n}, Data: x}})
				tensor, err := c.Tensor("w")
				require.NoError(t, err)
				_, err = tensor.Float32s()
				require.ErrorIs(t, err, weights.ErrNotFinite)
				require.ErrorContains(t, err, "weights: read w: element "+string(rune('0'+i))+" of")
				x[i] = 1
				_, err = tensor.Float32s()
				require.NoError(t, err)
			}
		}
	}
}

// writeSafetensors writes a file through the library's own writer.
func writeSafetensors(t testing.TB, views map[string]safetensors.TensorView) string {
	t.Helper()
	b, err := safetensors.Serialize(views, nil)
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, os.WriteFile(path, b, 0o644))
	return path
}

func stView(t testing.TB, dt safetensors.DType, shape []uint64, b ...byte) safetensors.TensorView {
	t.Helper()
	v, err := safetensors.NewTensorView(dt, shape, b)
	require.NoError(t, err)
	return v
}

func TestOpenSafetensors(t *testing.T) {
	path := writeSafetensors(t, map[string]safetensors.TensorView{
		"f32":  stView(t, safetensors.F32, []uint64{2}, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0),
		"f64":  stView(t, safetensors.F64, []uint64{1}, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f),
		"f16":  stView(t, safetensors.F16, []uint64{3, 1}, 0, 0x3c, 1, 0, 0xff, 0xfb),
		"bf16": stView(t, safetensors.BF16, []uint64{1, 2}, 0x80, 0x3f, 0x40, 0xc0),
		"i64":  stView(t, safetensors.I64, []uint64{1}, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"u8":   stView(t, safetensors.U8, []uint64{1}, 0xfe),
		"nan":  stView(t, safetensors.F32, []uint64{2}, 0, 0, 0, 0, 0, 0, 0xc0, 0x7f),
	})
	c, err := weights.Open(path)
	require.NoError(t, err)
	for name, want := range map[string][]float32{
		"f32": {1, -2}, "f64": {1.5}, "f16": {1, 1.0 / (1 << 24), -65504},
		"bf16": {1, -3}, "i64": {-2}, "u8": {254},
	} {
		tensor, err := c.Tensor(name)
		require.NoError(t, err)
		x, err := tensor.Float32s()
		require.NoError(t, err, name)
		assert.Equal(t, want, x, name)
		tensor.Release()
		x, err = tensor.Float32s()
		require.NoError(t, err, name)
		assert.Equal(t, want, x, name)
	}
	tensor, err := c.Tensor("nan")
	require.NoError(t, err)
	_, err = tensor.Float32s()
	require.EqualError(t, err, "weights: read nan: element 1 of [2] is NaN: not a finite weight")

	require.NoError(t, c.Close())
	tensor.Release()
	_, err = tensor.Float32s()
	require.ErrorIs(t, err, weights.ErrClosed)
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	header := func(s string) string {
		return string([]byte{byte(len(s)), 0, 0, 0, 0, 0, 0, 0}) + s
	}
	for _, tt := range []struct{ name, content, want string }{
		{"empty", "", "unknown kind of file"},
		{"cut short", header(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`)[:20], "cut short"},
		{"no data", header(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`), "incomplete"},
		{"deep", header(`{"a":{"shape":[[[[[[[[[[[[[[[[`), "nested"},
		{"long list", header(`{"a":{"shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}}`), "more than 16"},
		{"not json", header(`{"a":}`), "header"},
		{"overflow", header(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`), "overflow"},
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
	require.ErrorContains(t, err, "folder")
}
