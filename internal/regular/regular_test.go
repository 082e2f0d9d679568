package regular_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/regular"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(path, []byte("four"), 0o600))
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(path, link))
	for _, p := range []string{path, link} {
		b, err := regular.ReadFile(p, 4)
		require.NoError(t, err)
		assert.Equal(t, "four", string(b))
	}
	_, err := regular.ReadFile(path, 3)
	assert.ErrorContains(t, err, "more than 3 bytes")
	_, err = regular.Open(dir)
	assert.ErrorIs(t, err, regular.ErrNotRegular)
	assert.ErrorContains(t, err, "a folder, want a file")
	_, err = regular.Open(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, fs.ErrNotExist)
	_, err = regular.ReadFile(filepath.Join(dir, "none"), 1)
	assert.ErrorIs(t, err, fs.ErrNotExist)
}
