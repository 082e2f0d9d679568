package wsi_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/wsi"
)

// TestDICOM compares folders and single files with other readers.
func TestDICOM(t *testing.T) {
	ids := map[string]string{}
	for name, want := range readings(t, "dicom.json") {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", "formats", name)
			files, err := filepath.Glob(filepath.Join(dir, "*.dcm"))
			require.NoError(t, err)
			id := ""
			for _, p := range append(files, dir) {
				s, err := wsi.Open(p, wsi.Options{})
				require.NoError(t, err)
				assert.Equal(t, "dicom", s.Meta().Format)
				checkReading(t, s, want)
				assert.Contains(t, []string{"", identity(t, s)}, id, "every file of a series is the same slide")
				id = identity(t, s)
				require.NoError(t, s.Close())
			}
			assert.Empty(t, ids[id])
			ids[id] = name
		})
	}
}

func identity(t *testing.T, s *wsi.Slide) string {
	t.Helper()
	id, err := s.Identity(ctx)
	require.NoError(t, err)
	return id
}

// copyFolder copies a folder of testdata to a place where it may change.
func copyFolder(t *testing.T, names ...string) string {
	t.Helper()
	dst := t.TempDir()
	for _, n := range names {
		require.NoError(t, filepath.WalkDir(filepath.Join("testdata", "formats", n), func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			return os.WriteFile(filepath.Join(dst, n+"-"+filepath.Base(p)), b, 0o600)
		}))
	}
	return dst
}

// TestDICOMSeries: of several series in a folder a file says which is meant.
func TestDICOMSeries(t *testing.T) {
	dir := copyFolder(t, "dicom-jpeg", "dicom-rle")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("no slide"), 0o600))
	_, err := wsi.Open(dir, wsi.Options{})
	require.ErrorIs(t, err, wsi.ErrFormat)
	assert.ErrorContains(t, err, "2 series")
	assert.ErrorContains(t, err, "dicom-rle-a.dcm")
	s, err := wsi.Open(filepath.Join(dir, "dicom-jpeg-label.dcm"), wsi.Options{})
	require.NoError(t, err)
	defer s.Close()
	checkReading(t, s, readings(t, "dicom.json")["dicom-jpeg"])
	_, err = wsi.Open(t.TempDir(), wsi.Options{})
	assert.ErrorIs(t, err, wsi.ErrFormat)
}

// TestDICOMBroken: parts that are missing and headers that lie give errors.
func TestDICOMBroken(t *testing.T) {
	dir := copyFolder(t, "dicom-concatenation")
	require.NoError(t, os.Remove(filepath.Join(dir, "dicom-concatenation-part2.dcm")))
	_, err := wsi.Open(dir, wsi.Options{})
	require.ErrorIs(t, err, tiff.ErrCorrupt)
	assert.ErrorContains(t, err, "2 of 3 parts")
	for _, tt := range []struct{ name, old, put, want string }{
		{"frames", "\x28\x00\x08\x00IS\x02\x0012", "\x28\x00\x08\x00IS\x02\x0099", "99 frames"},
		{"syntax", "1.2.840.10008.1.2.1\x00", "1.2.840.10008.1.2.9\x00", "transfer syntax"},
		{"photometric", "CS\x04\x00RGB ", "CS\x04\x00HSV ", "HSV"},
		{"bits", "\x28\x00\x00\x01US\x02\x00\x08\x00", "\x28\x00\x00\x01US\x02\x00\x10\x00", "16"},
		{"matrix", "\x48\x00\x06\x00UL\x04\x002\x00", "\x48\x00\x06\x00UL\x04\x00\xff\xff", "frames for"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyFolder(t, "dicom-native")
			p := filepath.Join(dir, "dicom-native-a.dcm")
			b, err := os.ReadFile(p)
			require.NoError(t, err)
			require.Contains(t, string(b), tt.old)
			require.NoError(t, os.WriteFile(p, []byte(strings.Replace(string(b), tt.old, tt.put, 1)), 0o600))
			_, err = wsi.Open(p, wsi.Options{})
			assert.ErrorContains(t, err, tt.want)
		})
	}
}

// TestOutsideFolder: a link in a slide's folder does not lead out of it.
func TestOutsideFolder(t *testing.T) {
	dir := copyFolder(t, "dicom-concatenation")
	out := copyFolder(t, "dicom-concatenation")
	p := filepath.Join(dir, "dicom-concatenation-part2.dcm")
	require.NoError(t, os.Remove(p))
	if err := os.Symlink(filepath.Join(out, "dicom-concatenation-part2.dcm"), p); err != nil {
		t.Skip(err)
	}
	_, err := wsi.Open(dir, wsi.Options{})
	assert.ErrorContains(t, err, "2 of 3 parts")
	// A link that the user names is followed.
	link := filepath.Join(t.TempDir(), "slide")
	require.NoError(t, os.Symlink(out, link))
	s, err := wsi.Open(link, wsi.Options{})
	require.NoError(t, err)
	require.NoError(t, s.Close())
}

// TestDICOMBadLabel: a label that is not read is no reason to refuse the
// slide.
func TestDICOMBadLabel(t *testing.T) {
	dir := copyFolder(t, "dicom-jpeg")
	p := filepath.Join(dir, "dicom-jpeg-label.dcm")
	b, err := os.ReadFile(p)
	require.NoError(t, err)
	old := "CS\x0c\x00YBR_FULL_422"
	require.Contains(t, string(b), old)
	require.NoError(t, os.WriteFile(p, []byte(strings.Replace(string(b), old, "CS\x0c\x00PALETTE COLO", 1)), 0o600))
	s, err := wsi.Open(dir, wsi.Options{})
	require.NoError(t, err)
	defer s.Close()
	_, err = s.Associated("label")
	assert.ErrorContains(t, err, "PALETTE")
	_, err = s.Associated("macro")
	assert.NoError(t, err)
}
