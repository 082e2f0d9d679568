package wsi_test

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
	"github.com/slidesam/sam/internal/wsi"
)

// claimed is a tiled page of gray pixels whose tiles are all the same bytes.
func claimed(w, h, tw, th int, comp uint64, seg []byte) tifftest.Page {
	n := ((w-1)/tw + 1) * ((h-1)/th + 1)
	p := tifftest.Page{Tiled: true, Segs: make([][]byte, n), Fields: map[tiff.Tag]tifftest.Field{
		tiff.ImageWidth: tifftest.Long(uint64(w)), tiff.ImageLength: tifftest.Long(uint64(h)), tiff.BitsPerSample: tifftest.Short(8),
		tiff.SamplesPerPixel: tifftest.Short(1), tiff.Photometric: tifftest.Short(1), tiff.Compression: tifftest.Short(comp),
		tiff.TileWidth: tifftest.Long(uint64(tw)), tiff.TileLength: tifftest.Long(uint64(th)),
	}}
	for i := range p.Segs {
		p.Segs[i] = seg
	}
	return p
}

func deflated(t *testing.T, n int) []byte {
	var b bytes.Buffer
	w := zlib.NewWriter(&b)
	_, err := w.Write(make([]byte, n))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// philips is a page with the XML of a Philips slide.
func philips(p tifftest.Page, xml string) tifftest.Page {
	return described(with(p, tiff.Software, tifftest.Text("Philips DP v1.0")), `<DataObject ObjectType="DPUfsImport">`+xml+"</DataObject>")
}

// grayTile is a JPEG 2000 codestream of one component that claims side x side
// pixels in one tile, and has no packets.
func grayTile(side uint32) []byte {
	b := []byte{0xff, 0x4f, 0xff, 0x51, 0, 41, 0, 0}
	for _, v := range []uint32{side, side, 0, 0, side, side, 0, 0} {
		b = binary.BigEndian.AppendUint32(b, v)
	}
	b = append(b, 0, 1, 7, 1, 1)
	b = append(b, 0xff, 0x52, 0, 12, 0, 0, 0, 1, 0, 0, 4, 4, 0, 1, 0xff, 0x5c, 0, 4, 0x40, 0x40)
	return append(b, 0xff, 0x90, 0, 10, 0, 0, 0, 0, 0, 15, 0, 1, 0xff, 0x93, 0, 0xff, 0xd9)
}

// pngHeader is a PNG that claims w x h pixels and has none.
func pngHeader(w, h uint32) []byte {
	b := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	b = append(binary.BigEndian.AppendUint32(b, h), 16, 6, 0, 0, 0)
	out := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), b...)
	return binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(b))
}

// TestHostile opens files of few bytes that claim much in a process of its
// own and holds its memory to a bound.
func TestHostile(t *testing.T) {
	put := func(name string, b []byte) string {
		p := filepath.Join(t.TempDir(), name)
		require.NoError(t, os.WriteFile(p, b, 0o600))
		return p
	}
	small := func() tifftest.Page { return plain(64, 64, 3, 9) }
	for _, tt := range []struct {
		name, path string
		want       string // in what the process says
		mib        int
	}{
		{"wide row without data", saved(t, "a.tif", claimed(1<<30, 1, 1<<26, 1, 1, []byte{1})), "corrupt", 200},
		{"wide row left out", saved(t, "a.tif", claimed(1<<30, 1, 1<<26, 1, 1, nil)), "missing", 200},
		{"Philips without tiles", saved(t, "a.tif", philips(claimed(1<<26, 1<<14, 1<<12, 1<<14, 1, nil), "")), "reduced levels", 200},
		{"Philips, fewer tiles", saved(t, "a.tif", philips(claimed(1<<20, 1<<12, 1<<12, 1<<12, 1, nil), "")), "thumbnail made", 200},
		{"Philips of many depths", saved(t, "a.tif", philips(small(), strings.Repeat(`<A Name="DICOM_PIXEL_SPACING">"0.1" "0.1"`, 40000)+strings.Repeat("</A>", 40000))), "inside one another", 200},
		{"Philips in many pieces", saved(t, "a.tif", philips(small(), `<A Name="PIM_DP_IMAGE_DATA">`+strings.Repeat("AAAA<b/>", 400000)+"</A>")), "thumbnail", 300},
		{"one large tile", saved(t, "a.tif", claimed(8192, 8192, 8192, 8192, 8, deflated(t, 8192*8192))), "thumbnail", 1200},
		{"tiles of one pixel", saved(t, "a.tif", claimed(900, 900, 1, 1, 1, []byte{1})), "thumbnail made", 200},
		{"JPEG 2000 of one tile", saved(t, "a.tif", claimed(8192, 4096, 8192, 4096, 34712, []byte{1})), "MaxPixels", 100},
		{"JPEG 2000 without data", saved(t, "a.tif", claimed(4096, 4096, 4096, 4096, 34712, grayTile(4096))), "thumbnail", 300},
		{"PNG", put("a.png", pngHeader(16384, 16384)), "MaxPixels", 100},
		{"larger PNG", put("a.png", pngHeader(65535, 65535)), "MaxPixels", 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said, mib := apart(t, tt.path)
			assert.Contains(t, said, tt.want)
			assert.LessOrEqual(t, mib, tt.mib, "MiB at most")
			t.Logf("%d MiB: %s", mib, said)
		})
	}
}

// TestLargeTile: a tile larger than the cache is decoded once for a pass over
// the slide in many regions.
func TestLargeTile(t *testing.T) {
	const side = 2048
	s, err := wsi.Open(saved(t, "a.tif", claimed(2*side, 2*side, side, side, 8, deflated(t, side*side))), wsi.Options{CacheBytes: 1 << 20})
	require.NoError(t, err)
	defer s.Close()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err = s.Thumbnail(ctx, 512)
	require.NoError(t, err)
	runtime.ReadMemStats(&after)
	// Four tiles of 16 MiB and their samples, and the pieces of the pass.
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(300<<20))
}

// TestSlowTile: whoever gives up does not wait for a tile that is slow.
func TestSlowTile(t *testing.T) {
	p := plain(2048, 2048, 3, 0)
	p.Fields[tiff.Compression] = tifftest.Short(34712)
	p.Fields[tiff.TileWidth], p.Fields[tiff.TileLength] = tifftest.Short(2048), tifftest.Short(2048)
	p.Segs = [][]byte{tifftest.J2K("flat-2048x2048")}
	s, err := wsi.Open(saved(t, "a.tif", p), wsi.Options{})
	require.NoError(t, err)
	stop, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	_, err = s.Thumbnail(stop, 1024) // more halving would be fast
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestMaxPixels(t *testing.T) {
	path := saved(t, "a.tif", plain(64, 64, 3, 9))
	_, err := wsi.Open(path, wsi.Options{MaxPixels: 64 * 63})
	assert.ErrorContains(t, err, "MaxPixels")
	_, err = wsi.Open(path, wsi.Options{MaxBytes: 100})
	assert.ErrorContains(t, err, "MaxBytes")
	s, err := wsi.Open(path, wsi.Options{MaxPixels: 64 * 64})
	require.NoError(t, err)
	require.NoError(t, s.Close())
}
