package weights_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nlpodyssey/safetensors"
	"github.com/sbinet/npyio/npz"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// TestConvert writes each kind of file in each format, and reads it back.
func TestConvert(t *testing.T) {
	for _, src := range []string{"original.pth", "trainer.pt", "hf.safetensors", "compressed.npz", "lora.pt", "bfloat16.safetensors"} {
		for _, ext := range []string{".safetensors", ".npz", ".pth", ".PT"} {
			t.Run(src+" to "+ext, func(t *testing.T) {
				dst := filepath.Join(t.TempDir(), "out"+ext)
				require.NoError(t, os.WriteFile(dst, []byte("an older file"), 0o600))
				require.NoError(t, weights.Convert(t.Context(), filepath.Join("testdata", src), dst, weights.ConvertOptions{}))
				assert.Equal(t, []string{"out" + ext}, list(t, filepath.Dir(dst)))

				in, out := open(t, src), openPath(t, dst)
				assert.Equal(t, weights.Original, out.Layout())
				require.Equal(t, specsOf(t, in), specsOf(t, out))
				want, err := in.Fingerprint()
				require.NoError(t, err)
				got, err := out.Fingerprint()
				require.NoError(t, err)
				assert.Equal(t, want, got)
			})
		}
	}
}

// TestConvertFloat16: the values of each format are the nearest halves.
func TestConvertFloat16(t *testing.T) {
	var sums [][16]byte
	for _, ext := range []string{".safetensors", ".npz", ".pth"} {
		dst := filepath.Join(t.TempDir(), "out"+ext)
		require.NoError(t, weights.Convert(t.Context(), "testdata/original.pth", dst, weights.ConvertOptions{DType: weights.Float16}))
		in, out := open(t, "original.pth"), openPath(t, dst)
		require.Equal(t, specsOf(t, in), specsOf(t, out))
		for _, name := range in.Names() {
			tensor, err := out.Tensor(name)
			require.NoError(t, err)
			assert.Equal(t, weights.Float16, tensor.DType)
			got := values(t, out, name)
			for i, v := range values(t, in, name) {
				// Half a unit in the last place of 11 bits; of 2^-24 when subnormal.
				half := max(math.Abs(float64(v))/(1<<11), 1.0/(1<<25))
				require.InDelta(t, v, got[i], half, "%s[%d]", name, i)
			}
		}
		sum, err := out.Fingerprint()
		require.NoError(t, err)
		sums = append(sums, sum)
	}
	assert.Equal(t, sums[0], sums[1])
	assert.Equal(t, sums[0], sums[2])
}

// TestConvertReadByOthers reads the files with independent readers.
func TestConvertReadByOthers(t *testing.T) {
	want := open(t, "original.pth")
	dir := t.TempDir()

	dst := filepath.Join(dir, "a.npz")
	require.NoError(t, weights.Convert(t.Context(), "testdata/original.pth", dst, weights.ConvertOptions{}))
	z, err := npz.Open(dst)
	require.NoError(t, err)
	defer z.Close()
	require.Len(t, z.Keys(), len(want.Names()))
	for _, name := range want.Names() {
		var x []float32
		require.NoError(t, z.Read(name+".npy", &x))
		require.Equal(t, values(t, want, name), x, name)
		shape, _ := want.Shape(name)
		require.Equal(t, shape, z.Header(name+".npy").Descr.Shape)
	}

	dst = filepath.Join(dir, "a.safetensors")
	require.NoError(t, weights.Convert(t.Context(), "testdata/original.pth", dst, weights.ConvertOptions{}))
	b, err := os.ReadFile(dst)
	require.NoError(t, err)
	st, err := safetensors.Deserialize(b)
	require.NoError(t, err)
	require.Equal(t, len(want.Names()), st.Len())
	for _, name := range want.Names() {
		v, ok := st.Tensor(name)
		require.True(t, ok)
		require.Equal(t, safetensors.F32, v.DType())
		for i, x := range values(t, want, name) {
			u := uint32(v.Data()[4*i]) | uint32(v.Data()[4*i+1])<<8 | uint32(v.Data()[4*i+2])<<16 | uint32(v.Data()[4*i+3])<<24
			require.Equal(t, math.Float32bits(x), u, name)
		}
	}
}

// TestConvertInPlace: the source may be the destination.
func TestConvertInPlace(t *testing.T) {
	b, err := os.ReadFile("testdata/trainer.pt")
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "x.pt")
	require.NoError(t, os.WriteFile(path, b, 0o644))
	require.NoError(t, weights.Convert(t.Context(), path, path, weights.ConvertOptions{}))
	assert.Equal(t, weights.Original, openPath(t, path).Layout())
}

func TestConvertProgress(t *testing.T) {
	const n = 3 << 20
	x := weights.TensorData{Shape: []int{n}, Data: make([]float32, n)}
	c := weights.FromTensors(map[string]weights.TensorData{"mask_decoder.a": x, "mask_decoder.b": x})
	var last, calls int64
	err := c.Save(t.Context(), filepath.Join(t.TempDir(), "x.safetensors"), weights.ConvertOptions{Progress: func(done, total int64) {
		assert.EqualValues(t, 8*n, total)
		assert.Greater(t, done, last)
		last = done
		calls++
	}})
	require.NoError(t, err)
	assert.EqualValues(t, 8*n, last)
	assert.EqualValues(t, 24, calls)
}

// TestConvertFails: an error leaves the older file as it is, and nothing else.
func TestConvertFails(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	big := weights.FromTensors(map[string]weights.TensorData{"mask_decoder.a": {Shape: []int{3}, Data: []float32{1, 65519, 65520}}})
	nan := weights.FromTensors(map[string]weights.TensorData{"mask_decoder.a": {Shape: []int{1}, Data: []float32{float32(math.NaN())}}})
	for _, tt := range []struct {
		name string
		ctx  context.Context
		c    *weights.Checkpoint
		o    weights.ConvertOptions
		want string
	}{
		{"cancelled", cancelled, open(t, "original.pth"), weights.ConvertOptions{}, "context canceled"},
		{"too large for float16", t.Context(), big, weights.ConvertOptions{DType: weights.Float16}, "mask_decoder.a: element 2 is 65520: too large for float16"},
		{"not finite", t.Context(), nan, weights.ConvertOptions{}, "read mask_decoder.a: element 0 of [1] is NaN"},
		{"type", t.Context(), big, weights.ConvertOptions{DType: weights.Int8}, "type int8: want float32 or float16"},
	} {
		for _, ext := range []string{".safetensors", ".npz", ".pth"} {
			t.Run(tt.name+ext, func(t *testing.T) {
				dst := filepath.Join(t.TempDir(), "x"+ext)
				require.NoError(t, os.WriteFile(dst, []byte("older"), 0o644))
				err := tt.c.Save(tt.ctx, dst, tt.o)
				require.EqualError(t, err, fmt.Sprintf("weights: save %s: %s", dst, strings.TrimPrefix(err.Error(), "weights: save "+dst+": ")))
				require.ErrorContains(t, err, tt.want)
				b, err := os.ReadFile(dst)
				require.NoError(t, err)
				assert.Equal(t, "older", string(b))
				assert.Len(t, list(t, filepath.Dir(dst)), 1)
			})
		}
	}
	dir := t.TempDir()
	err := weights.Convert(t.Context(), "testdata/original.pth", filepath.Join(dir, "x.onnx"), weights.ConvertOptions{})
	require.EqualError(t, err, `weights: convert: format ".onnx" is unknown: end the name in .safetensors, .npz or .pth`)
	err = weights.Convert(t.Context(), filepath.Join(dir, "absent"), filepath.Join(dir, "x.npz"), weights.ConvertOptions{})
	require.ErrorIs(t, err, os.ErrNotExist)
	err = weights.Convert(t.Context(), "testdata/original.pth", filepath.Join(dir, "absent", "x.npz"), weights.ConvertOptions{})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "folder.npz"), 0o755))
	err = weights.Convert(t.Context(), "testdata/original.pth", filepath.Join(dir, "folder.npz"), weights.ConvertOptions{})
	require.ErrorContains(t, err, "weights: convert testdata/original.pth to ")
	assert.Equal(t, []string{"folder.npz"}, list(t, dir))
}

// TestConvertUnwritable: a folder without write permission.
func TestConvertUnwritable(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o555))
	t.Cleanup(func() { _ = os.Chmod(dir, 0o755) })
	if f, err := os.Create(filepath.Join(dir, "probe")); err == nil {
		f.Close()
		t.Skip("this user may write everywhere: run as another than root")
	}
	err := weights.Convert(t.Context(), "testdata/original.pth", filepath.Join(dir, "x.npz"), weights.ConvertOptions{})
	require.ErrorIs(t, err, os.ErrPermission)
	assert.Empty(t, list(t, dir))
}

// list returns the names of the files in a folder.
func list(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func openPath(t testing.TB, path string) *weights.Checkpoint {
	t.Helper()
	c, err := weights.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, c.Close()) })
	return c
}

func ExampleConvert() {
	dir, err := os.MkdirTemp("", "convert")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	dst := filepath.Join(dir, "sam.safetensors")
	err = weights.Convert(context.Background(), "testdata/trainer.pt", dst, weights.ConvertOptions{DType: weights.Float16})
	if err != nil {
		fmt.Println(err)
		return
	}
	st, err := os.Stat(dst)
	fmt.Println(st.Size(), err)
	// Output:
	// 23708 <nil>
}
