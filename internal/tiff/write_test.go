package tiff_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
)

// TestWriter reads back what Writer wrote: short and long values, several
// directories.
func TestWriter(t *testing.T) {
	var b bytes.Buffer
	w := tiff.NewWriter(&b)
	off, n := w.Segment([]byte{1, 2, 3, 4, 5, 6})
	assert.Equal(t, []uint64{tiff.HeaderSize, 6}, []uint64{off, n})
	dir := func(width uint64) []tiff.Field {
		return []tiff.Field{
			{Tag: tiff.ImageWidth, Type: tiff.Long, Values: []uint64{width}}, {Tag: tiff.ImageLength, Type: tiff.Long, Values: []uint64{1}},
			{Tag: tiff.BitsPerSample, Type: tiff.Short, Values: []uint64{8, 8, 8}}, {Tag: tiff.Compression, Type: tiff.Short, Values: []uint64{1}},
			{Tag: tiff.Photometric, Type: tiff.Short, Values: []uint64{2}}, {Tag: tiff.ImageDescription},
			{Tag: tiff.StripOffsets, Type: tiff.Long8, Values: []uint64{off}}, {Tag: tiff.SamplesPerPixel, Type: tiff.Short, Values: []uint64{3}},
			{Tag: tiff.RowsPerStrip, Type: tiff.Long, Values: []uint64{1}}, {Tag: tiff.StripByteCounts, Type: tiff.Long8, Values: []uint64{n}},
		}
	}
	w.Directories(dir(2), dir(1))
	require.NoError(t, w.Err())
	path := filepath.Join(t.TempDir(), "a.tif")
	require.NoError(t, os.WriteFile(path, append(w.Header(), b.Bytes()[tiff.HeaderSize:]...), 0o600))
	f, err := tiff.Open(path)
	require.NoError(t, err)
	defer f.Close()
	require.Len(t, f.Dirs(), 2)
	for i, d := range f.Dirs() {
		for tag, want := range map[tiff.Tag][]uint64{
			tiff.ImageWidth: {uint64(2 - i)}, tiff.BitsPerSample: {8, 8, 8}, tiff.StripOffsets: {off}, tiff.StripByteCounts: {n},
		} {
			got, err := d.Uints(tag)
			require.NoError(t, err)
			assert.Equal(t, want, got, fmt.Sprint(tag))
		}
	}
}
