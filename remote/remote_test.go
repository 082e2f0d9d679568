package remote_test

import (
	"context"
	"fmt"
	"image"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/httpfs"
	"github.com/slidesam/sam/internal/wsi"
	_ "github.com/slidesam/sam/remote"
)

var formats = filepath.Join("..", "internal", "wsi", "testdata", "formats")

// TestSameAsLocal reads slides of every kind of format from a server and
// from the disk.
func TestSameAsLocal(t *testing.T) {
	h := httptest.NewServer(http.FileServer(http.Dir(formats)))
	defer h.Close()
	for _, name := range []string{"scn-areas.scn", "ndpi-plain.ndpi", "dicom-native/a.dcm", "mirax-stitching.mrxs", "zarr-v3-sharded/", "zarr-v2-raw/", "tiff-webp.tif"} {
		t.Run(name, func(t *testing.T) {
			a, err := sam.OpenSlide(h.URL + "/" + name)
			require.NoError(t, err)
			defer a.Close()
			b, err := sam.OpenSlide(filepath.Join(formats, filepath.FromSlash(name)))
			require.NoError(t, err)
			defer b.Close()
			require.Equal(t, b.Levels(), a.Levels())
			assert.Equal(t, b.Format(), a.Format())
			for i, l := range a.Levels() {
				r := image.Rect(0, 0, l.W, l.H)
				x, err := a.ReadRegion(context.Background(), i, r)
				require.NoError(t, err)
				y, err := b.ReadRegion(context.Background(), i, r)
				require.NoError(t, err)
				assert.Equal(t, y.Pix, x.Pix)
			}
		})
	}
	for _, bad := range []string{"/none.svs", "/dicom.json"} {
		_, err := sam.OpenSlide(h.URL + bad)
		assert.Error(t, err)
	}
	for _, bad := range []string{"ftp://host/a.svs", "s3://bucket", "https:///a.svs"} {
		_, err := sam.OpenSlide(bad)
		assert.Error(t, err)
	}
}

// TestBucketFolder reads a DICOM series of a folder of a bucket, which is
// listed as S3 and GCS do it.
func TestBucketFolder(t *testing.T) {
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("list-type") != "2" {
			http.StripPrefix("/bucket", http.FileServer(http.Dir(formats))).ServeHTTP(w, r)
			return
		}
		files, err := filepath.Glob(filepath.Join(formats, r.URL.Query().Get("prefix"), "*"))
		assert.NoError(t, err)
		fmt.Fprint(w, "<ListBucketResult>")
		for _, f := range files {
			fmt.Fprintf(w, "<Contents><Key>%s%s</Key></Contents>", r.URL.Query().Get("prefix"), filepath.Base(f))
		}
		fmt.Fprint(w, "</ListBucketResult>")
	}))
	defer h.Close()
	wsi.RegisterRemote("test", func(address string) (wsi.RemoteFS, string, error) {
		folder, name, _ := strings.Cut(strings.TrimPrefix(address, "test://"), "/")
		if name == "" {
			name = "."
		}
		return httpfs.NewBucket(h.URL+"/bucket", folder, httpfs.Options{}), name, nil
	})
	local, err := sam.OpenSlide(filepath.Join(formats, "dicom-jpeg"))
	require.NoError(t, err)
	defer local.Close()
	for _, address := range []string{"test://dicom-jpeg/", "test://dicom-jpeg/label.dcm"} {
		s, err := sam.OpenSlide(address)
		require.NoError(t, err)
		assert.Equal(t, local.Levels(), s.Levels())
		assert.Equal(t, local.AssociatedNames(), s.AssociatedNames())
		require.NoError(t, s.Close())
	}
}

func Example() {
	h := httptest.NewServer(http.FileServer(http.Dir(formats)))
	defer h.Close()
	s, err := sam.OpenSlide(h.URL + "/ndpi-plain.ndpi")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	fmt.Println(s.Format(), s.Size(), len(s.Levels()))
	// Output: ndpi 128 x 304 3
}
