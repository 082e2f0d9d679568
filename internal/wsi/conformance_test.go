package wsi_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/wsi"
)

var update = flag.Bool("update", false, "write FORMATS.md anew")

// What a feature was tried on.
const (
	realFile = "real file"
	built    = "built by the test after the specification"
)

// tried is a line of the table: a file in testdata/formats with the list
// that says what another reader makes of it, or a file of SAM_TESTDATA.
type tried struct {
	format, feature, on string
	file, list          string
}

var conformance = []tried{
	{"Aperio SVS", "JPEG tiles, thumbnail, label, macro", realFile, "cmu-1-small-region.svs", ""},
	{"Aperio SVS", "JPEG 2000 tiles, several levels", realFile, "tcga-cr-7395-jp2k.svs", ""},
	{"OME-TIFF", "BigTIFF", realFile, "he-example-ome-bigtiff.tif", ""},
	{"TIFF", "stripped", realFile, "kidney-ihc.tif", ""},
	{"TIFF", "Zstandard", "written by tifffile", "tiff-zstd.tif", "tiff.json"},
	{"TIFF", "Zstandard, horizontal predictor", "written by tifffile", "tiff-zstd-predictor.tif", "tiff.json"},
	{"TIFF", "LZMA", "written by tifffile", "tiff-lzma.tif", "tiff.json"},
	{"TIFF", "LZMA, horizontal predictor", "written by tifffile", "tiff-lzma-predictor.tif", "tiff.json"},
	{"TIFF", "LZMA behind a delta filter, as libtiff writes it", "written by Python's lzma", "tiff-lzma-delta.tif", "tiff.json"},
	{"TIFF", "WebP, lossy", "written by tifffile", "tiff-webp.tif", "tiff.json"},
	{"TIFF", "JPEG 2000, lossless", "written by tifffile", "tiff-j2k.tif", "tiff.json"},
	{"TIFF", "JPEG 2000 of 16 bits", "written by tifffile", "tiff-j2k-16.tif", "tiff.json"},
	{"TIFF", "WebP, lossless", "written by tifffile", "tiff-webp-lossless.tif", "tiff.json"},
	{"DICOM", "TILED_FULL, JPEG 4:2:2, three levels, label, macro, thumbnail", "written by pydicom", "dicom-jpeg", "dicom.json"},
	{"DICOM", "the same", "written by wsidicom", "dicom-wsidicom", "dicom.json"},
	{"DICOM", "JPEG of RGB, no offset table", "written by pydicom", "dicom-jpeg-rgb", "dicom.json"},
	{"DICOM", "JPEG whose Adobe marker beats the data set, two fragments a frame", "written by pydicom", "dicom-jpeg-adobe", "dicom.json"},
	{"DICOM", "JFIF in a data set that says RGB, frames cut off at the edges", "written by pydicom as wsidicomizer does", "dicom-edges", "dicom.json"},
	{"DICOM", "JPEG 2000 lossless, extended offset table", "written by pydicom", "dicom-j2k", "dicom.json"},
	{"DICOM", "RLE", "written by pydicom", "dicom-rle", "dicom.json"},
	{"DICOM", "native", "written by pydicom", "dicom-native", "dicom.json"},
	{"DICOM", "native, implicit VR", "written by pydicom", "dicom-implicit", "dicom.json"},
	{"DICOM", "native, colour by plane", "written by pydicom", "dicom-planar", "dicom.json"},
	{"DICOM", "TILED_SPARSE, frames out of order, one left out, two focal planes", "written by pydicom", "dicom-sparse", "dicom.json"},
	{"DICOM", "concatenation of three parts", "written by pydicom", "dicom-concatenation", "dicom.json"},
	{"DICOM", "two focal planes and two optical paths", "written by pydicom", "dicom-planes", "dicom.json"},
	{"NDPI", "restart markers with their list, macro", built, "ndpi-plain.ndpi", "ndpi.json"},
	{"NDPI", "list with upper halves", built, "ndpi-high.ndpi", "ndpi.json"},
	{"NDPI", "restart markers without a list", built, "ndpi-nostarts.ndpi", "ndpi.json"},
	{"NDPI", "focal planes", built, "ndpi-planes.ndpi", "ndpi.json"},
	{"NDPI", "chroma of half width", built, "ndpi-422.ndpi", "ndpi.json"},
	{"MIRAX", "camera positions, bounds, PNG", built, "mirax-positions.mrxs", "mirax.json"},
	{"MIRAX", "packed positions, JPEG", built, "mirax-stitching.mrxs", "mirax.json"},
	{"MIRAX", "no positions, no overlap, BMP", built, "mirax-plain.mrxs", "mirax.json"},
	{"MIRAX", "nominal overlap", built, "mirax-overlap.mrxs", "mirax.json"},
	{"Leica SCN", "one area, macro, focal planes", "written by tifffile, description built", "scn-one.scn", "tiff.json"},
	{"Leica SCN", "two areas", "written by tifffile, description built", "scn-areas.scn", "tiff.json"},
	{"Ventana BIF", "two areas of overlapping tiles, three levels, macro, thumbnail", "written by tifffile, description built", "bif-areas.bif", "tiff.json"},
	{"Ventana TIFF", "no areas", "written by tifffile, description built", "bif-plain.tif", "tiff.json"},
	{"QPTIFF", "brightfield, thumbnail, macro, label", "written by tifffile, description built", "qptiff-brightfield.qptiff", "tiff.json"},
	{"OME-Zarr", "version 2, blosc of blosclz, bits shuffled", "written by zarr-python", "zarr-blosc-blosclz-2", "zarr-list.json"},
	{"OME-Zarr", "version 2, blosc of lz4", "written by zarr-python", "zarr-blosc-lz4-0", "zarr-list.json"},
	{"OME-Zarr", "version 2, blosc of lz4, bytes shuffled", "written by zarr-python", "zarr-blosc-lz4-1", "zarr-list.json"},
	{"OME-Zarr", "version 2, blosc of lz4, bits shuffled", "written by zarr-python", "zarr-blosc-lz4-2", "zarr-list.json"},
	{"OME-Zarr", "version 2, blosc of zlib, bits shuffled", "written by zarr-python", "zarr-blosc-zlib-2", "zarr-list.json"},
	{"OME-Zarr", "version 2, blosc of zstd, bits shuffled", "written by zarr-python", "zarr-blosc-zstd-2", "zarr-list.json"},
	{"OME-Zarr", "version 2, raw", "written by zarr-python", "zarr-v2-raw", "zarr-list.json"},
	{"OME-Zarr", "version 2, zlib, order F, channels last", "written by zarr-python", "zarr-v2-zlib", "zarr-list.json"},
	{"OME-Zarr", "version 2, bz2, in bioformats2raw's folder, two depths", "written by zarr-python", "zarr-v2-bz2", "zarr-list.json"},
	{"OME-Zarr", "version 2, label and macro beside the slide, as bioformats2raw writes them", "written by zarr-python", "zarr-v2-series", "zarr-list.json"},
	{"OME-Zarr", "version 2, lz4", "written by zarr-python", "zarr-v2-lz4", "zarr-list.json"},
	{"OME-Zarr", "version 3, zstd", "written by zarr-python", "zarr-v3-zstd", "zarr-list.json"},
	{"OME-Zarr", "version 3, gzip, transposed", "written by zarr-python", "zarr-v3-gzip", "zarr-list.json"},
	{"OME-Zarr", "version 3, blosc, channels last", "written by zarr-python", "zarr-v3-blosc", "zarr-list.json"},
	{"OME-Zarr", "version 3, sharded, checksums", "written by zarr-python", "zarr-v3-sharded", "zarr-list.json"},
	{"OME-Zarr", "version 3, chunks left out", "written by zarr-python", "zarr-v3-holes", "zarr-list.json"},
}

// TestConformance tries every line of the table and holds FORMATS.md to it.
// No file of testdata/formats with a reading may be missing in the table.
func TestConformance(t *testing.T) {
	var b strings.Builder
	b.WriteString(`# What each format was tried on

The test TestConformance writes this table (` + "`go test ./internal/wsi -run TestConformance -update`" + `)
and tries each line. "Equal" means: all levels, and the associated pictures,
bit for bit what the reader named last makes of the same file. Real slides are
compared by TestParity, JPEG 2000 within 2 levels. What was built after the
specification has not met a scanner's own file.

| format | feature | tried on | result |
|---|---|---|---|
`)
	seen := map[string]bool{}
	for _, c := range conformance {
		result := "compared with OpenSlide and libvips"
		if c.list != "" {
			key := strings.TrimSuffix(c.file, ".mrxs")
			want, ok := readings(t, c.list)[key]
			require.True(t, ok, c.file)
			seen[key] = true
			t.Run(c.file, func(t *testing.T) {
				s, err := wsi.Open(filepath.Join("testdata", "formats", c.file), wsi.Options{})
				require.NoError(t, err)
				defer s.Close()
				checkReading(t, s, want)
			})
			result = "equal to " + want.By
		} else if dir := os.Getenv("SAM_TESTDATA"); dir != "" {
			s, err := wsi.Open(filepath.Join(dir, "slides", c.file), wsi.Options{})
			require.NoError(t, err)
			require.NoError(t, s.Close())
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", c.format, c.feature, c.on, result)
	}
	for _, list := range []string{"dicom.json", "ndpi.json", "mirax.json", "tiff.json", "zarr-list.json"} {
		for k := range readings(t, list) {
			assert.True(t, seen[k], "%s is not in the table", k)
		}
	}
	if *update {
		require.NoError(t, os.WriteFile("FORMATS.md", []byte(b.String()), 0o644))
	}
	have, err := os.ReadFile("FORMATS.md")
	require.NoError(t, err)
	assert.Equal(t, b.String(), string(have), "go test ./internal/wsi -run TestConformance -update")
}
