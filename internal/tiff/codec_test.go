package tiff_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
)

// FuzzCodecs decodes altered files with LZMA, Zstandard and WebP tiles:
// at most 160 MiB a tile, the largest dictionary and the pixels.
func FuzzCodecs(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("..", "wsi", "testdata", "formats", "tiff-*.tif"))
	require.NoError(f, err)
	require.NotEmpty(f, names)
	for _, n := range names {
		file, err := tiff.Open(n)
		require.NoError(f, err)
		d := file.Dirs()[0]
		tag, size := tiff.TileOffsets, tiff.TileByteCounts
		if !d.Has(tag) {
			tag, size = tiff.StripOffsets, tiff.StripByteCounts
		}
		at, err := d.Uint(tag, 0)
		require.NoError(f, err)
		count, err := d.Uint(size, 0)
		require.NoError(f, err)
		comp, err := d.Uint(tiff.Compression, 0)
		require.NoError(f, err)
		b, err := os.ReadFile(n)
		require.NoError(f, err)
		f.Add(uint16(comp), b[at:at+count])
		require.NoError(f, file.Close())
	}
	f.Fuzz(func(t *testing.T, comp uint16, b []byte) {
		if len(b) > 1<<15 || len(b) == 0 {
			return
		}
		p := tifftest.Tiled(tifftest.Gradient(32, 32, 3), 32, 32, 3, 32, 32)
		p.Fields[tiff.Compression] = tifftest.Short(uint64([]uint16{34925, 50000, 50001}[comp%3]))
		p.Segs = [][]byte{b}
		file, err := parse(tifftest.Builder{Order: binary.LittleEndian, Big: false}.File(p))
		require.NoError(t, err)
		im, err := file.Dirs()[0].Image()
		require.NoError(t, err)
		if n := allocated(func() { _, _ = im.Segment(0, 0) }); n > 160<<20 {
			t.Fatalf("%d bytes allocated for a tile of 32 x 32", n)
		}
	})
}
