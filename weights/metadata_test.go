package weights_test

import (
	"archive/zip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// TestMetadata: entries go through every format and conversion, and other
// changes of a checkpoint keep them.
func TestMetadata(t *testing.T) {
	ck := openPath(t, "testdata/original.pth")
	assert.Empty(t, ck.Metadata())
	want := map[string]string{"slidesam.a": "µ \"\n", "slidesam.b": ""}
	noted, err := ck.WithMetadata(want)
	require.NoError(t, err)
	assert.Empty(t, ck.Metadata(), "the one before stays as it was")
	name := ck.Names()[0]
	for _, c := range []*weights.Checkpoint{noted, noted.Only(func(n string) bool { return n == name })} {
		assert.Equal(t, want, c.Metadata())
	}
	changed, err := noted.With(nil)
	require.NoError(t, err)
	assert.Equal(t, want, changed.Metadata())
	noted.Metadata()["slidesam.a"] = "of the caller"
	assert.Equal(t, want, noted.Metadata())

	dir, src := t.TempDir(), ""
	for _, name := range []string{"a.safetensors", "b.npz", "c.pth", "d.safetensors"} {
		dst := filepath.Join(dir, name)
		if src == "" {
			require.NoError(t, noted.Save(t.Context(), dst, weights.ConvertOptions{}))
		} else {
			require.NoError(t, weights.Convert(t.Context(), src, dst, weights.ConvertOptions{}))
		}
		c := openPath(t, dst)
		assert.Equal(t, want, c.Metadata(), name)
		a, err := ck.Fingerprint()
		require.NoError(t, err)
		b, err := c.Fingerprint()
		require.NoError(t, err)
		assert.Equal(t, a, b, name)
		src = dst
	}

	_, err = ck.WithMetadata(map[string]string{"format": "pt"})
	require.ErrorContains(t, err, `metadata "format": want a name that begins with slidesam.`)
	long, err := ck.WithMetadata(map[string]string{"slidesam.a": strings.Repeat("x", 1<<16)})
	require.NoError(t, err)
	require.ErrorContains(t, long.Save(t.Context(), filepath.Join(dir, "x.npz"), weights.ConvertOptions{}), "save it as .safetensors")
	assert.NoFileExists(t, filepath.Join(dir, "x.npz"))
	require.NoError(t, long.Save(t.Context(), filepath.Join(dir, "x.safetensors"), weights.ConvertOptions{}))
}

// TestMetadataOfOthers: comments of other programs are none, entries of other
// names are not kept, and a damaged comment of ours is an error.
func TestMetadataOfOthers(t *testing.T) {
	for _, tt := range []struct{ name, comment, want string }{
		{"another's", "made by hand", ""},
		{"other names", "slidesam metadata\n" + `{"format":"pt"}`, ""},
		{"damaged", "slidesam metadata\n{", "the archive's comment is no metadata"},
		{"not text", "slidesam metadata\n" + `{"slidesam.a":1}`, "the archive's comment is no metadata"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := weights.Open(withComment(t, tt.comment))
			if tt.want != "" {
				require.ErrorContains(t, err, tt.want)
				require.ErrorIs(t, err, weights.ErrFormat)
				return
			}
			require.NoError(t, err)
			assert.Empty(t, c.Metadata())
			require.NoError(t, c.Close())
		})
	}
}

// withComment copies a checkpoint's archive and gives it a comment.
func withComment(t *testing.T, comment string) string {
	t.Helper()
	r, err := zip.OpenReader("testdata/original.pth")
	require.NoError(t, err)
	defer r.Close()
	path := filepath.Join(t.TempDir(), "x.pth")
	f, err := os.Create(path)
	require.NoError(t, err)
	w := zip.NewWriter(f)
	for _, e := range r.File {
		require.NoError(t, w.Copy(e))
	}
	require.NoError(t, w.SetComment(comment))
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
	return path
}
