package weights_test

import (
	"math"
	"os"
	"path/filepath"
	"sync"
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
		"image_encoder.f32":  stView(t, safetensors.F32, []uint64{2}, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0),
		"image_encoder.f64":  stView(t, safetensors.F64, []uint64{1}, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f),
		"image_encoder.f16":  stView(t, safetensors.F16, []uint64{3, 1}, 0, 0x3c, 1, 0, 0xff, 0xfb),
		"image_encoder.bf16": stView(t, safetensors.BF16, []uint64{1, 2}, 0x80, 0x3f, 0x40, 0xc0),
		"image_encoder.i64":  stView(t, safetensors.I64, []uint64{1}, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
		"image_encoder.i32":  stView(t, safetensors.I32, []uint64{1}, 0xfe, 0xff, 0xff, 0xff),
		"image_encoder.i16":  stView(t, safetensors.I16, []uint64{1}, 0xfe, 0xff),
		"image_encoder.i8":   stView(t, safetensors.I8, []uint64{1}, 0xfe),
		"image_encoder.u8":   stView(t, safetensors.U8, []uint64{1}, 0xfe),
		"image_encoder.bool": stView(t, safetensors.BOOL, []uint64{2}, 1, 0),
		"image_encoder.nan":  stView(t, safetensors.F32, []uint64{2}, 0, 0, 0, 0, 0, 0, 0xc0, 0x7f),
		"image_encoder.long": stView(t, safetensors.I64, []uint64{1}, 1, 0, 0, 1, 0, 0, 0, 0),
	})
	c, err := weights.Open(path)
	require.NoError(t, err)
	for name, want := range map[string][]float32{
		"f32": {1, -2}, "f64": {1.5}, "f16": {1, 1.0 / (1 << 24), -65504}, "bf16": {1, -3},
		"i64": {-2}, "i32": {-2}, "i16": {-2}, "i8": {-2}, "u8": {254}, "bool": {1, 0},
	} {
		tensor, err := c.Tensor("image_encoder." + name)
		require.NoError(t, err)
		x, err := tensor.Float32s()
		require.NoError(t, err, name)
		assert.Equal(t, want, x, name)
		tensor.Release()
		x, err = tensor.Float32s()
		require.NoError(t, err, name)
		assert.Equal(t, want, x, name)
	}
	tensor, err := c.Tensor("image_encoder.long")
	require.NoError(t, err)
	_, err = tensor.Float32s()
	require.EqualError(t, err, "weights: read image_encoder.long: element 0 is 16777217: not exact in float32")
	tensor, err = c.Tensor("image_encoder.nan")
	require.NoError(t, err)
	_, err = tensor.Float32s()
	require.EqualError(t, err, "weights: read image_encoder.nan: element 1 of [2] is NaN: not a finite weight")

	require.NoError(t, c.Close())
	tensor.Release()
	_, err = tensor.Float32s()
	require.ErrorIs(t, err, weights.ErrClosed)
}

// TestConcurrent reads one checkpoint from many goroutines, for the race
// detector.
func TestConcurrent(t *testing.T) {
	for _, file := range []string{"original.pth", "compressed.npz", "lora.pt", "hf.safetensors"} {
		c := open(t, file)
		want, err := c.Fingerprint()
		require.NoError(t, err)
		c = open(t, file) // with nothing checked yet
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				got, err := c.Fingerprint()
				assert.NoError(t, err)
				assert.Equal(t, want, got)
			})
		}
		wg.Wait()
	}
}
