//go:build unix

package weights_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/slidesam/sam/weights"
)

// wide is a file of one tensor over many pages.
func wide(t *testing.T, name string) string {
	path := filepath.Join(t.TempDir(), name)
	data := make([]float32, 1<<18)
	for i := range data {
		data[i] = float32(i)
	}
	c := weights.FromTensors(map[string]weights.TensorData{"mask_decoder.x": {Shape: []int{1 << 18}, Data: data}})
	require.NoError(t, c.Save(t.Context(), path, weights.ConvertOptions{}))
	return path
}

type oneParam struct {
	X weights.Param `weight:"mask_decoder.x"`
}

func TestFilesCutShortWhileOpenAreErrors(t *testing.T) {
	for _, name := range []string{"x.safetensors", "x.pth"} {
		for what, read := range map[string]func(c *weights.Checkpoint) error{
			"Float32s": func(c *weights.Checkpoint) error {
				x, err := c.Tensor("mask_decoder.x")
				require.NoError(t, err)
				_, err = x.Float32s()
				return err
			},
			"Fingerprint": func(c *weights.Checkpoint) error { _, err := c.Fingerprint(); return err },
			"Save": func(c *weights.Checkpoint) error {
				return c.Save(t.Context(), filepath.Join(t.TempDir(), "y.safetensors"), weights.ConvertOptions{})
			},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				path := wide(t, name)
				c, err := weights.Open(path)
				require.NoError(t, err)
				defer func() { assert.NoError(t, c.Close()) }()
				require.NoError(t, c.Unchanged())
				require.NoError(t, os.Truncate(path, 1<<14))
				err = read(c)
				assert.ErrorIs(t, err, weights.ErrChanged)
				assert.ErrorIs(t, err, weights.ErrFormat)
				assert.ErrorIs(t, c.Unchanged(), weights.ErrChanged)
			})
		}
	}
}

func TestUseGuardsItsFunction(t *testing.T) {
	path := wide(t, "x.safetensors")
	c, err := weights.Open(path)
	require.NoError(t, err)
	defer func() { assert.NoError(t, c.Close()) }()
	p := oneParam{X: weights.Param{Shape: []int{1 << 18}}}
	require.NoError(t, weights.Bind(c, &p))
	_, err = p.X.Float32s() // all values are looked at
	require.NoError(t, err)
	sum := float32(0)
	err = p.X.Use(func(v []float32) {
		require.NoError(t, os.Truncate(path, 1<<14))
		for _, f := range v {
			sum += f
		}
	})
	assert.ErrorIs(t, err, weights.ErrChanged)
}

func TestFilesReplacedByRenamingAreWhole(t *testing.T) {
	path := wide(t, "x.safetensors")
	c, err := weights.Open(path)
	require.NoError(t, err)
	defer func() { assert.NoError(t, c.Close()) }()
	require.NoError(t, os.Rename(wide(t, "x.safetensors"), path))
	_, err = c.Fingerprint()
	require.NoError(t, err)
	assert.NoError(t, c.Unchanged())
}

func TestOpenRefusesPipes(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe.pth")
	require.NoError(t, unix.Mkfifo(pipe, 0o600))
	for _, p := range []string{pipe, "/dev/zero"} {
		_, err := weights.Open(p)
		assert.ErrorIs(t, err, weights.ErrFormat)
	}
}
