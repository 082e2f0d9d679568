package buckets

import (
	"bytes"
	"io"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/httpfs"
)

// TestChanges: an object that is replaced by one of the same length while it is
// read, within a second, gives an error, never a mixture.
func TestChanges(t *testing.T) {
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("lab"))
	h := httptest.NewServer(gofakes3.New(backend).Server())
	defer h.Close()
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "eu-central-1")
	query := "?" + url.Values{"endpoint": {h.URL}, "use_path_style": {"true"}, "disable_https": {"true"}}.Encode()
	for _, address := range []string{"s3://lab/a/x.svs" + query, "file://" + filepath.ToSlash(t.TempDir()) + "/x.svs"} {
		p, err := open(t.Context(), address)
		require.NoError(t, err)
		s := store{bucket: p.bucket}
		content := make([]byte, 1<<20)
		require.NoError(t, s.Put(t.Context(), p.key, bytes.NewReader(content)))
		fsys, name, err := p.files()
		require.NoError(t, err)
		f, err := fsys.Open(name)
		require.NoError(t, err)
		r, b := f.(io.ReaderAt), make([]byte, 10)
		_, err = r.ReadAt(b, 500_000)
		require.NoError(t, err)
		content[900_000] = 1
		require.NoError(t, s.Put(t.Context(), p.key, bytes.NewReader(content)))
		_, err = r.ReadAt(b, 900_000)
		require.ErrorIs(t, err, httpfs.ErrChanged)
		require.NoError(t, s.Put(t.Context(), p.key, bytes.NewReader(nil)))
		empty, err := fsys.Open(name)
		require.NoError(t, err)
		_, err = empty.(io.ReaderAt).ReadAt(b, 0)
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, s.Delete(t.Context(), p.key))
		_, err = r.ReadAt(b, 700_000)
		require.ErrorIs(t, err, httpfs.ErrChanged)
		require.NoError(t, fsys.Close())
	}
}
