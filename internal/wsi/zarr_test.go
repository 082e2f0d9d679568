package wsi_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/wsi"
)

// TestZarr compares OME-Zarr slides with what zarr-python reads.
func TestZarr(t *testing.T) {
	for name, want := range readings(t, "zarr-list.json") {
		t.Run(name, func(t *testing.T) {
			s, err := wsi.Open(filepath.Join("testdata", "formats", name), wsi.Options{})
			require.NoError(t, err)
			defer s.Close()
			assert.Equal(t, "ome-zarr", s.Meta().Format)
			checkReading(t, s, want)
		})
	}
	for _, name := range []string{"zarr-bad-four", "zarr-bad-colors"} {
		_, err := wsi.Open(filepath.Join("testdata", "formats", name), wsi.Options{})
		require.ErrorIs(t, err, tiff.ErrUnsupported, name)
		assert.ErrorContains(t, err, "fluorescence", name)
	}
}
