package tiff_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
)

// allocated returns the bytes f allocates.
func allocated(f func()) uint64 {
	var a, b runtime.MemStats
	runtime.ReadMemStats(&a)
	f()
	runtime.ReadMemStats(&b)
	return b.TotalAlloc - a.TotalAlloc
}

func seeds(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("testdata", "*.tif"))
	if err != nil || len(names) == 0 {
		f.Fatal("no fixtures")
	}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, big := range []bool{false, true} {
		f.Add(tifftest.Builder{Order: binary.BigEndian, Big: big}.File(tifftest.Tiled(tifftest.Gradient(20, 18, 3), 20, 18, 3, 16, 16), tifftest.Tiled(tifftest.Gradient(9, 9, 1), 9, 9, 1, 16, 16)))
	}
}

// FuzzStructure opens altered files and decodes up to 32 segments of each
// page. Opening allocates at most 4 MiB plus 40 times the file (the stated
// 8 times in tag values, the maps and slices over them), one segment at most
// 64 MiB plus 8192 times its compressed length.
func FuzzStructure(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		var file *tiff.File
		n := allocated(func() {
			var err error
			if file, err = parse(b); err != nil {
				return
			}
			for _, d := range file.Dirs() {
				_, _ = d.Image()
				_ = d.Text(tiff.ImageDescription)
				_ = d.Float(tiff.XResolution)
			}
		})
		if limit := uint64(4<<20 + 40*len(b)); n > limit {
			t.Fatalf("%d bytes allocated to open %d, limit %d", n, len(b), limit)
		}
		if file == nil {
			return
		}
		left := 32
		for _, d := range file.Dirs() {
			im, err := d.Image()
			if err != nil {
				continue
			}
			for row := 0; row < im.Rows && left > 0; row++ {
				for col := 0; col < im.Cols && left > 0; col++ {
					left--
					n := allocated(func() { _, _ = im.Segment(col, row) })
					if limit := uint64(64<<20 + 8192*len(b)); n > limit {
						t.Fatalf("%d bytes allocated for a segment of %d x %d in %d bytes, limit %d", n, im.SegW, im.SegH, len(b), limit)
					}
				}
			}
		}
	})
}

// FuzzJPEG2000 decodes altered codestreams inside a tile of 64 x 64: at most
// 64 MiB are allocated whatever the headers claim.
func FuzzJPEG2000(f *testing.F) {
	f.Add(tifftest.J2K("products-64x64"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<15 || len(b) == 0 {
			return
		}
		p := tifftest.Tiled(tifftest.Gradient(64, 64, 3), 64, 64, 3, 64, 64)
		p.Fields[tiff.Compression] = tifftest.Short(33005)
		p.Segs = [][]byte{b}
		file, err := parse(tifftest.Builder{Order: binary.LittleEndian, Big: false}.File(p))
		if err != nil {
			t.Fatal(err)
		}
		im, err := file.Dirs()[0].Image()
		if err != nil {
			t.Fatal(err)
		}
		if n := allocated(func() { _, _ = im.Segment(0, 0) }); n > 64<<20 {
			t.Fatalf("%d bytes allocated for a tile of 64 x 64", n)
		}
	})
}
