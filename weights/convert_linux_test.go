package weights_test

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// TestConvertNoSpace limits the size of files, so that writing stops half way
// as it does on a full disk.
func TestConvertNoSpace(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	for _, ext := range []string{".safetensors", ".npz", ".pth"} {
		t.Run(ext, func(t *testing.T) {
			dst := filepath.Join(t.TempDir(), "x"+ext)
			require.NoError(t, os.WriteFile(dst, []byte("older"), 0o644))
			var old syscall.Rlimit
			require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
			require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 20000, Max: old.Max}))
			err := weights.Convert(t.Context(), "testdata/original.pth", dst, weights.ConvertOptions{})
			require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old))
			require.ErrorIs(t, err, syscall.EFBIG)
			assert.EqualError(t, err, "weights: convert testdata/original.pth to "+dst+": file too large")
			assert.Equal(t, []string{"x" + ext}, list(t, filepath.Dir(dst)))
			b, err := os.ReadFile(dst)
			require.NoError(t, err)
			assert.Equal(t, "older", string(b))
		})
	}
}
