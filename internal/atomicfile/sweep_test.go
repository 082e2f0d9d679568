package atomicfile_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/atomicfile"
)

// TestSweep removes what a killed process left, and nothing that is somebody's.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	old := time.Now().Add(-time.Hour)
	put := func(name string, at time.Time) {
		p := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(p, []byte("x"), 0o600))
		require.NoError(t, os.Chtimes(p, at, at))
	}
	put(".labels.tif.0123abcd.tmp", old) // of a killed process
	put(".labels.tif.0123abce.tmp", time.Now())
	put("labels.tif", old)
	put("x.0123abcd.tmp", old)
	put(".0123abcd.tmp", old)
	f, err := atomicfile.Create(filepath.Join(dir, "mine")) // on its way
	require.NoError(t, err)
	for _, n := range names(t, dir) {
		if filepath.Ext(n) == ".tmp" && n[:6] == ".mine." {
			require.NoError(t, os.Chtimes(filepath.Join(dir, n), old, old))
		}
	}
	require.NoError(t, atomicfile.Sweep(dir))
	assert.NotContains(t, names(t, dir), ".labels.tif.0123abcd.tmp")
	assert.Len(t, names(t, dir), 5)
	require.NoError(t, f.Commit(), "a file on its way is not swept")
	require.NoError(t, atomicfile.Sweep(filepath.Join(dir, "none")))
}

// TestCreateIn: a link planted in a folder is replaced, and its target stays.
func TestCreateIn(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	require.NoError(t, os.WriteFile(target, []byte("precious"), 0o600))
	if err := os.Symlink(target, filepath.Join(dir, "out")); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	require.NoError(t, atomicfile.WriteIn(dir, "out", write("result")))
	assert.Equal(t, "precious", read(t, target))
	assert.Equal(t, "result", read(t, filepath.Join(dir, "out")))
	info, err := os.Lstat(filepath.Join(dir, "out"))
	require.NoError(t, err)
	assert.True(t, info.Mode().IsRegular())
}
