package remote_test

import (
	"context"
	"fmt"
	"image"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
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
