package segment

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A run of fewer prompts leaves no masks of an earlier one beside its own.
func TestEarlierMasksGo(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"mask_3.png", "mask_12.png", "mask_x.png", "mask_03.png"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o600))
	}
	require.NoError(t, run(t.Context(), []string{"-picture", "../../../internal/picfile/testdata/exif_6.jpg", "-point", "9,9", "-out", dir}, io.Discard))
	left, err := filepath.Glob(filepath.Join(dir, "mask_*.png"))
	require.NoError(t, err)
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	assert.Equal(t, []string{"mask_0.png", "mask_03.png", "mask_x.png"}, left)
}
