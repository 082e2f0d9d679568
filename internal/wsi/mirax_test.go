package wsi_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/wsi"
)

// TestMIRAX compares built slides with what OpenSlide shows inside their
// bounds: photos placed by a plain and a packed table, by the nominal
// overlap and without one, in three image formats.
func TestMIRAX(t *testing.T) {
	for name, want := range readings(t, "mirax.json") {
		t.Run(name, func(t *testing.T) {
			s, err := wsi.Open(filepath.Join("testdata", "formats", name+".mrxs"), wsi.Options{})
			require.NoError(t, err)
			defer s.Close()
			assert.Equal(t, "mirax", s.Meta().Format)
			checkReading(t, s, want)
		})
	}
}

// TestMIRAXBroken: files that are missing, or outside of the folder.
func TestMIRAXBroken(t *testing.T) {
	src := filepath.Join("testdata", "formats", "mirax-positions")
	ini, err := os.ReadFile(filepath.Join(src, "Slidedat.ini"))
	require.NoError(t, err)
	for _, tt := range []struct {
		name, old, put, want string
		err                  error
	}{
		{"outside", "FILE_1 = Data0001.dat", "FILE_1 = ../Data0001.dat", "outside", tiff.ErrCorrupt},
		{"backslash", "FILE_1 = Data0001.dat", `FILE_1 = ..\Data0001.dat`, "outside", tiff.ErrCorrupt},
		{"identifier", "SLIDE_ID = 0", "SLIDE_ID = 1", "not of this slide", tiff.ErrCorrupt},
		{"format", "IMAGE_FORMAT = PNG", "IMAGE_FORMAT = JXR", "JXR", tiff.ErrUnsupported},
		{"size", "DIGITIZER_WIDTH = 64", "DIGITIZER_WIDTH = 9999999", "DIGITIZER_WIDTH", tiff.ErrCorrupt},
		{"images", "IMAGENUMBER_Y = 4", "IMAGENUMBER_Y = 2", "positions", tiff.ErrCorrupt},
		{"fluorescence", "NONHIER_COUNT", "HIER_1_NAME = Slide filter level\r\nHIER_1_COUNT = 3\r\nNONHIER_COUNT", "fluorescence", tiff.ErrUnsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.CopyFS(filepath.Join(dir, "a"), os.DirFS(src)))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "a.mrxs"), nil, 0o600))
			require.Contains(t, string(ini), tt.old)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "a", "Slidedat.ini"), []byte(strings.Replace(string(ini), tt.old, tt.put, 1)), 0o600))
			_, err := wsi.Open(filepath.Join(dir, "a.mrxs"), wsi.Options{})
			require.ErrorIs(t, err, tt.err)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	alone := filepath.Join(t.TempDir(), "b.MRXS")
	require.NoError(t, os.WriteFile(alone, []byte("\xff\xd8\xff"), 0o600))
	_, err = wsi.Open(alone, wsi.Options{})
	require.ErrorIs(t, err, wsi.ErrFormat)
	assert.ErrorContains(t, err, "MRXS")
}
