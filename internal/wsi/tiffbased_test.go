package wsi_test

import (
	"image"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/wsi"
)

// TestTIFFBased compares Ventana BIF, Leica SCN, QPTIFF and the late compressions of TIFF
// with OpenSlide and tifffile.
func TestTIFFBased(t *testing.T) {
	for name, want := range readings(t, "tiff.json") {
		t.Run(name, func(t *testing.T) {
			s, err := wsi.Open(filepath.Join("testdata", "formats", name), wsi.Options{})
			require.NoError(t, err)
			defer s.Close()
			kind, _, _ := strings.Cut(name, "-")
			assert.Equal(t, map[string]string{"bif": "ventana", "scn": "leica", "qptiff": "qptiff", "tiff": "tiff"}[kind], s.Meta().Format)
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

// FuzzDescriptions opens files whose descriptions, and all else, are altered
// and reads a corner of each level: at most 8 MiB plus 256 times the file are
// allocated to open it.
func FuzzDescriptions(f *testing.F) {
	for _, name := range []string{"scn-areas.scn", "bif-areas.bif", "bif-plain.tif", "qptiff-fluorescence.qptiff", "scn-fluorescence.scn"} {
		b, err := os.ReadFile(filepath.Join("testdata", "formats", name))
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<17 {
			return
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		s, err := wsi.OpenBytes(b)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(8<<20+256*len(b)) {
			t.Fatalf("%d bytes allocated to open %d", n, len(b))
		}
		if err != nil {
			return
		}
		for i, l := range s.Levels() {
			dst := image.NewRGBA(image.Rect(0, 0, 70, 70))
			_ = s.ReadRegion(ctx, i, image.Pt(l.W-60, l.H-60), dst)
		}
	})
}
