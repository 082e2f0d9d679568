package picfile_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/picfile"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
)

func pixels(t *testing.T, img image.Image) (picture.Picture, []byte) {
	t.Helper()
	p, err := picture.New(img)
	require.NoError(t, err)
	return *p, p.RGB().Pix
}

func reference(t *testing.T, path string) image.Image {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	img, err := png.Decode(f)
	require.NoError(t, err)
	return img
}

// worst is the largest difference of a channel.
func worst(a, b []byte) int {
	w := 0
	for i := range a {
		w = max(w, int(a[i])-int(b[i]), int(b[i])-int(a[i]))
	}
	return w
}

// The pixels are Pillow's, see testdata/make.py.
func TestOpenEqualsPillow(t *testing.T) {
	refs, err := filepath.Glob("testdata/*.*.png")
	require.NoError(t, err)
	require.Len(t, refs, 26)
	for _, ref := range refs {
		path := strings.TrimSuffix(ref, ".png")
		name := filepath.Base(path)
		t.Run(name, func(t *testing.T) {
			img, info, err := picfile.Open(path, picfile.Options{})
			require.NoError(t, err)
			gs, got := pixels(t, img)
			ws, want := pixels(t, reference(t, ref))
			require.Equal(t, ws.Bounds(), gs.Bounds())
			assert.Zero(t, worst(want, got))
			if turn, ok := strings.CutPrefix(strings.TrimSuffix(name, filepath.Ext(name)), "exif_"); ok && name != "exif_8.tif" {
				assert.Equal(t, turn, string(rune('0'+info.Orientation)))
			}
		})
	}
}

// reports are pictures from public bug reports, beside the repository.
const reports = "../../../shared/reports/pictures/"

func TestReports(t *testing.T) {
	if _, err := os.Stat(reports); err != nil {
		t.Skip("no reports here")
	}
	img, info, err := picfile.Open(reports+"segment_exif_orientation_6.jpg", picfile.Options{})
	require.NoError(t, err)
	assert.Equal(t, image.Rect(0, 0, 150, 210), img.Bounds())
	assert.Equal(t, 6, info.Orientation)
	for _, name := range []string{"segment_tiff_jpeg_compressed.tif", "segment_bigtiff.tif"} {
		_, info, err := picfile.Open(reports+name, picfile.Options{})
		require.NoError(t, err)
		assert.Equal(t, "tiff", info.Format)
	}
	got, _, err := picfile.Open(reports+"eval_mask_group4.tif", picfile.Options{Raw: true})
	require.NoError(t, err)
	_, a := pixels(t, got)
	_, b := pixels(t, reference(t, reports+"eval_mask_right.png"))
	assert.Zero(t, worst(a, b))
}

// allocated returns the bytes that f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// pngOf is a PNG file that states a size and has no pixels, padded to n bytes.
func pngOf(w, h uint32, depth, kind byte, n int) []byte {
	head := []byte("IHDR")
	head = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(head, w), h)
	head = append(head, depth, kind, 0, 0, 0)
	b := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), head...)
	b = binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(head))
	return append(b, make([]byte, n)...)
}

// Files that state a huge size are refused before memory is taken, issue 24.
func TestHugePictures(t *testing.T) {
	dir := t.TempDir()
	jpg, err := os.ReadFile("testdata/baseline_420.jpg")
	require.NoError(t, err)
	at := bytes.Index(jpg, []byte{0xff, 0xc0})
	huge := bytes.Clone(jpg)
	copy(huge[at+5:], "\xff\xff\xff\xff")
	slow := bytes.Clone(jpg)
	copy(slow[at+5:], "\x20\x00\x20\x00")
	slow[at+1] = 0xc2
	tif, err := os.ReadFile("testdata/lzw.tif")
	require.NoError(t, err)
	wide := bytes.Clone(tif)
	dirAt := binary.LittleEndian.Uint32(wide[4:])
	for e := wide[dirAt+2:]; len(e) >= 12; e = e[12:] {
		if tag := binary.LittleEndian.Uint16(e); tag == 256 || tag == 257 {
			binary.LittleEndian.PutUint16(e[2:], 4)
			binary.LittleEndian.PutUint32(e[8:], 1<<20)
		}
	}
	for _, tt := range []struct {
		name, want string
		data       []byte
	}{
		{"65535.png", "over the limit of 134217728 pixels", pngOf(65535, 65535, 16, 6, 200)},
		{"16384.png", "over the limit", pngOf(16384, 16384, 8, 6, 1<<20)},
		{"deep.png", "over the limit", pngOf(10000, 10000, 16, 6, 1<<20)},
		{"empty.png", "in a file of", pngOf(8192, 8192, 8, 6, 100)},
		{"65535.jpg", "over the limit", huge},
		{"progressive.jpg", "in a file of", slow},
		{"wide.tif", "", wide},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(dir, tt.name)
			require.NoError(t, os.WriteFile(path, tt.data, 0o600))
			got := allocated(func() {
				_, _, err := picfile.Open(path, picfile.Options{})
				require.ErrorIs(t, err, picfile.ErrFormat)
				assert.ErrorContains(t, err, tt.want)
			})
			assert.Less(t, got, uint64(8<<20))
		})
	}
	_, _, err = picfile.Open("testdata/lzw.tif", picfile.Options{MaxPixels: 45 * 34})
	require.NoError(t, err)
	_, _, err = picfile.Open("testdata/lzw.tif", picfile.Options{MaxPixels: 45*34 - 1})
	assert.ErrorContains(t, err, "-max-pixels")
}

func TestWindow(t *testing.T) {
	for _, path := range []string{"testdata/twelve.png", "testdata/twelve.tif"} {
		_, _, err := picfile.Open(path, picfile.Options{})
		require.ErrorIs(t, err, picfile.ErrFormat)
		assert.ErrorContains(t, err, "-window 0,4095")
		raw, _, err := picfile.Open(path, picfile.Options{Raw: true})
		require.NoError(t, err)
		m := raw.(*image.Gray16)
		for _, s := range []string{"0,4095", "1%,99%"} {
			w, err := picfile.ParseWindow(s)
			require.NoError(t, err)
			img, info, err := picfile.Open(path, picfile.Options{Window: w})
			require.NoError(t, err)
			assert.NotEmpty(t, info.Warnings)
			if s == "0,4095" {
				r, _, _, _ := img.At(7, 9).RGBA()
				assert.InDelta(t, float64(m.Gray16At(7, 9).Y)/4095, float64(r)/65535, 0.003)
			}
		}
	}
	_, _, err := picfile.Open("testdata/lzw.tif", picfile.Options{Window: &picfile.Window{Max: 9}})
	assert.ErrorContains(t, err, "16 bits")
	for _, s := range []string{"", "1", "5,2", "0,70000", "1%,2", "1%,200%", "a,b", "NaN,1"} {
		_, err := picfile.ParseWindow(s)
		assert.Error(t, err, s)
	}
}

// deepTIFF is a TIFF file of RGB in planes of 16 bits, whose samples end at top.
func deepTIFF(t *testing.T, photo, top uint64) string {
	const w, h = 40, 30
	p := tifftest.Page{Fields: map[tiff.Tag]tifftest.Field{
		tiff.ImageWidth: tifftest.Short(w), tiff.ImageLength: tifftest.Short(h), tiff.PlanarConfig: tifftest.Short(2),
		tiff.SamplesPerPixel: tifftest.Short(3), tiff.BitsPerSample: tifftest.Short(16, 16, 16), tiff.Photometric: tifftest.Short(photo),
	}}
	planes := 3
	if photo != 2 {
		p.Fields[tiff.SamplesPerPixel], p.Fields[tiff.BitsPerSample], planes = tifftest.Short(1), tifftest.Short(16), 1
	}
	for range planes {
		var b []byte
		for i := range uint64(w * h) {
			b = binary.LittleEndian.AppendUint16(b, uint16(i*top/(w*h-1)))
		}
		p.Segs = append(p.Segs, b)
	}
	path := filepath.Join(t.TempDir(), "deep.tif")
	require.NoError(t, os.WriteFile(path, tifftest.Builder{Order: binary.LittleEndian}.File(p), 0o600))
	return path
}

// Twelve bits are told in layouts that x/image does not read, too: issue 24.
func TestWindowPlanes(t *testing.T) {
	path := deepTIFF(t, 2, 4095)
	_, _, err := picfile.Open(path, picfile.Options{})
	require.ErrorIs(t, err, picfile.ErrFormat)
	assert.ErrorContains(t, err, "-window 0,4095")
	w, err := picfile.ParseWindow("0,4095")
	require.NoError(t, err)
	img, _, err := picfile.Open(path, picfile.Options{Window: w})
	require.NoError(t, err)
	r, _, _, _ := img.At(39, 29).RGBA()
	assert.Equal(t, uint32(0xffff), r)

	img, _, err = picfile.Open(deepTIFF(t, 2, 65535), picfile.Options{})
	require.NoError(t, err)
	_, got := pixels(t, img)
	assert.Equal(t, byte(600*65535/1199>>8), got[3*600], "the high byte, as of other compressions")

	_, _, err = picfile.Open(deepTIFF(t, 0, 4095), picfile.Options{})
	assert.ErrorContains(t, err, "0 is white", "twelve bits of which 0 is white would be white")
}

// An orientation is read from EXIF behind a PNG file's pixels, and as a long.
func TestOddOrientations(t *testing.T) {
	dir := t.TempDir()
	b, err := os.ReadFile("testdata/exif_6.png")
	require.NoError(t, err)
	at := bytes.Index(b, []byte("eXIf")) - 4
	require.Positive(t, at)
	n := 12 + int(binary.BigEndian.Uint32(b[at:]))
	end := len(b) - 12
	moved := append(append(append(bytes.Clone(b[:at]), b[at+n:end]...), b[at:at+n]...), b[end:]...)
	jpg, err := os.ReadFile("testdata/exif_6.jpg")
	require.NoError(t, err)
	tag := bytes.Index(jpg, []byte("\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06"))
	require.Positive(t, tag)
	copy(jpg[tag:], "\x01\x12\x00\x04\x00\x00\x00\x01\x00\x00\x00\x06")
	for name, data := range map[string][]byte{"behind.png": moved, "long.jpg": jpg} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, data, 0o600))
		img, info, err := picfile.Open(path, picfile.Options{})
		require.NoError(t, err)
		assert.Equal(t, 6, info.Orientation, name)
		assert.Equal(t, image.Rect(0, 0, 34, 45), img.Bounds(), name)
	}
}

func FuzzOpen(f *testing.F) {
	for _, n := range []string{"exif_6.jpg", "cmyk.jpg", "exif_6.png", "group4_1.tif", "jpeg.tif", "twelve.tif"} {
		b, err := os.ReadFile(filepath.Join("testdata", n))
		require.NoError(f, err)
		f.Add(b)
	}
	path := filepath.Join(f.TempDir(), "picture")
	f.Fuzz(func(t *testing.T, b []byte) {
		require.NoError(t, os.WriteFile(path, b, 0o600))
		for _, raw := range []bool{false, true} {
			img, _, err := picfile.Open(path, picfile.Options{Raw: raw, MaxPixels: 1 << 20})
			if err == nil {
				_, err = picture.New(img)
				require.NoError(t, err)
			}
		}
	})
}
