package buckets_test

import (
	"bytes"
	"io"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/examples/cloud/buckets"
	"github.com/slidesam/sam/internal/cohort"
	"github.com/slidesam/sam/internal/httpfs"
	"github.com/slidesam/sam/internal/wsi"
)

// TestChanges: an object that is replaced by one of the same length while it is
// read, within a second, gives an error, never a mixture.
func TestChanges(t *testing.T) {
	bucket, query := s3(t)
	for _, address := range []string{bucket + "/a/x.svs" + query, "file://" + filepath.ToSlash(t.TempDir()) + "/a/x.svs"} {
		s, err := cohort.OpenStore(t.Context(), wsi.Beside(address, "")) // the folder
		require.NoError(t, err)
		content := make([]byte, 1<<20)
		require.NoError(t, s.Put(t.Context(), "x.svs", bytes.NewReader(content)))
		fsys, name, err := buckets.Files(t.Context(), address)
		require.NoError(t, err)
		f, err := fsys.Open(name)
		require.NoError(t, err)
		r, b := f.(io.ReaderAt), make([]byte, 10)
		_, err = r.ReadAt(b, 500_000)
		require.NoError(t, err)
		content[900_000] = 1
		require.NoError(t, s.Put(t.Context(), "x.svs", bytes.NewReader(content)))
		_, err = r.ReadAt(b, 900_000)
		require.ErrorIs(t, err, httpfs.ErrChanged)
		require.NoError(t, s.Put(t.Context(), "x.svs", bytes.NewReader(nil)))
		empty, err := fsys.Open(name)
		require.NoError(t, err)
		_, err = empty.(io.ReaderAt).ReadAt(b, 0)
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, s.Delete(t.Context(), "x.svs"))
		_, err = r.ReadAt(b, 700_000)
		require.ErrorIs(t, err, httpfs.ErrChanged)
		require.NoError(t, fsys.Close())
		require.NoError(t, s.Close())
	}
}
