package wsi_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/wsi"
)

// TestTIFFBased compares Leica SCN, QPTIFF and the late compressions of TIFF
// with OpenSlide and tifffile.
func TestTIFFBased(t *testing.T) {
	for name, want := range readings(t, "tiff.json") {
		t.Run(name, func(t *testing.T) {
			s, err := wsi.Open(filepath.Join("testdata", "formats", name), wsi.Options{})
			require.NoError(t, err)
			defer s.Close()
			kind, _, _ := strings.Cut(name, "-")
			assert.Equal(t, map[string]string{"scn": "leica", "qptiff": "qptiff", "tiff": "tiff"}[kind], s.Meta().Format)
			checkReading(t, s, want)
		})
	}
}

// TestFluorescence is refused by name.
func TestFluorescence(t *testing.T) {
	for _, name := range []string{"scn-fluorescence.scn", "qptiff-fluorescence.qptiff"} {
		_, err := wsi.Open(filepath.Join("testdata", "formats", name), wsi.Options{})
		require.ErrorIs(t, err, tiff.ErrUnsupported, name)
		assert.ErrorContains(t, err, "luorescence", name)
	}
}
