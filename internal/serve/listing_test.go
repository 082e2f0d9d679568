package serve_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/serve"
)

// TestSlidesOfSeveralFiles lists and opens slides that are folders, or files
// with others beside them, and gives a reason for those that cannot be read.
func TestSlidesOfSeveralFiles(t *testing.T) {
	formats := filepath.Join("..", "wsi", "testdata", "formats")
	dir := t.TempDir()
	put := func(from, to string) {
		t.Helper()
		to = filepath.Join(dir, to)
		require.NoError(t, os.MkdirAll(filepath.Dir(to), 0o755))
		if info, err := os.Stat(filepath.Join(formats, from)); err == nil && !info.IsDir() {
			b, err := os.ReadFile(filepath.Join(formats, from))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(to, b, 0o644))
			return
		}
		require.NoError(t, os.CopyFS(to, os.DirFS(filepath.Join(formats, from))))
	}
	put("dicom-jpeg", "patient/series")
	put("dicom-native/a.dcm", "several/native.dcm")
	put("dicom-rle", "several")
	put("zarr-v2-raw", "image.zarr")
	put("zarr-v3-sharded", "deep/er/sharded.ome.zarr")
	put("mirax-plain.mrxs", "m/slide.mrxs")
	put("mirax-plain", "m/slide")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "zeiss.czi"), []byte("ZISRAWFILE\x00\x00"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.dcm"), []byte("no DICOM"), 0o644))

	names := func(slides ...string) (*client, map[string]string) {
		c := newClient(t, newServer(t, serve.Config{Slides: slides, Annotations: t.TempDir()}))
		var list []struct{ ID, Name, Path string }
		c.get("/v1/slides", &list)
		out := map[string]string{}
		for _, l := range list {
			out[l.Name] = l.ID
		}
		require.Len(t, out, len(list), "names")
		return c, out
	}
	c, have := names(dir)
	var rle string
	for name := range have {
		if name != "series" && filepath.Ext(name) == ".dcm" && name != "native.dcm" {
			rle = name
		}
	}
	require.ElementsMatch(t, []string{"series", "native.dcm", rle, "image.zarr", "sharded.ome.zarr", "slide.mrxs", "zeiss.czi"}, slices.Collect(maps.Keys(have)))
	lies := map[string]string{
		"series": "patient/series/level0.dcm", "native.dcm": "several/native.dcm", rle: "several/" + rle,
		"image.zarr": "image.zarr", "sharded.ome.zarr": "deep/er/sharded.ome.zarr", "slide.mrxs": "m/slide.mrxs",
	}
	for name, at := range lies {
		s, err := sam.OpenSlide(filepath.Join(dir, at))
		require.NoError(t, err)
		want := s.Size()
		require.NoError(t, s.Close())
		var d struct {
			Width, Height int
			Digest        string
		}
		c.get("/v1/slides/"+have[name], &d)
		assert.Equal(t, want, sam.Size{H: d.Height, W: d.Width}, name)
		assert.Equal(t, 200, c.do("GET", "/v1/slides/"+have[name]+"/thumbnail", nil, nil), name)
	}
	var b []byte
	require.Equal(t, 422, c.do("GET", "/v1/slides/"+have["zeiss.czi"], nil, &b))
	assert.Contains(t, string(b), "zeiss.czi: Zeiss CZI is not read; convert it first")
	assert.NotContains(t, string(b), dir)

	// A slide that is a folder, and a file whose name says nothing, can be given themselves.
	for _, p := range []string{"image.zarr", "several/native.dcm", "patient/series"} {
		c, have := names(filepath.Join(dir, p))
		require.Len(t, have, 1, p)
		assert.Equal(t, 200, c.do("GET", "/v1/slides/"+have[filepath.Base(p)], nil, nil), p)
	}
}

// TestChangedSeries changes a file of a slide of several: the digest, which
// pictures are kept by, is another.
func TestChangedSeries(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "series")
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("..", "wsi", "testdata", "formats", "dicom-jpeg"))))
	digest := func() string {
		c := newClient(t, newServer(t, serve.Config{Slides: []string{dir}, Annotations: t.TempDir()}))
		var d struct{ Digest string }
		c.get(c.slide, &d)
		return d.Digest
	}
	before := digest()
	assert.Equal(t, before, digest())
	require.NoError(t, os.Chtimes(filepath.Join(dir, "level2.dcm"), time.Time{}, time.Now().Add(time.Minute)))
	assert.NotEqual(t, before, digest())
}

// TestCheck finds what is wrong with a configuration before a model is loaded.
func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    serve.Config
		want string
	}{
		{"as it is", serve.Config{}, ""},
		{"no port", serve.Config{Addr: "127.0.0.1"}, "missing port"},
		{"others without a token", serve.Config{Addr: ":8000"}, "give a token of 16 characters"},
		{"others with a short one", serve.Config{Addr: ":8000", Token: "short"}, "give a token of 16 characters"},
		{"a token no path can hold", serve.Config{Token: "a/b"}, "token has '/'"},
		{"a limit below nothing", serve.Config{MaxBody: -1}, "limit of -1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.c.Check()
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}
