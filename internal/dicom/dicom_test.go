package dicom_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/dicom"
	"github.com/slidesam/sam/internal/tiff"
)

func fixtures(t testing.TB) []string {
	names, err := filepath.Glob(filepath.Join("..", "wsi", "testdata", "formats", "dicom-*", "*.dcm"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	return names
}

// TestTile reads outside of a picture and a place that a sparse one leaves
// out.
func TestTile(t *testing.T) {
	s, err := dicom.Open(os.DirFS(filepath.Join("..", "wsi", "testdata", "formats", "dicom-sparse")), ".")
	require.NoError(t, err)
	defer s.Close()
	p := s.Levels[0]
	assert.Equal(t, []int{50, 38, 16, 16, 4, 3}, []int{p.W, p.H, p.TileW, p.TileH, p.Cols, p.Rows})
	_, err = p.Tile(4, 0)
	assert.Error(t, err)
	_, err = p.Tile(3, 1)
	assert.ErrorIs(t, err, tiff.ErrMissing)
	_, err = p.Tile(2, 1)
	assert.NoError(t, err)
}

// FuzzOpen opens altered files and reads tiles. Opening allocates at most
// 1 MiB plus 64 times the file, a tile of these at most 64 MiB.
func FuzzOpen(f *testing.F) {
	for _, n := range fixtures(f) {
		b, err := os.ReadFile(n)
		require.NoError(f, err)
		if len(b) < 1<<14 {
			f.Add(b)
		}
	}
	allocated := func(g func()) uint64 {
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		g()
		runtime.ReadMemStats(&b)
		return b.TotalAlloc - a.TotalAlloc
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16 {
			return
		}
		var s *dicom.Slide
		n := allocated(func() {
			s, _ = dicom.Open(fstest.MapFS{"a.dcm": {Data: b}}, "a.dcm")
		})
		if limit := uint64(1<<20 + 64*len(b)); n > limit {
			t.Fatalf("%d bytes allocated to open %d, limit %d", n, len(b), limit)
		}
		if s == nil {
			return
		}
		defer s.Close()
		left := 8
		for _, p := range append(s.Levels, s.Associated...) {
			for row := 0; row < p.Rows && left > 0; row++ {
				for col := 0; col < p.Cols && left > 0; col++ {
					left--
					n := allocated(func() { _, _ = p.Tile(col, row) })
					if limit := uint64(64<<20 + 8192*len(b)); n > limit {
						t.Fatalf("%d bytes allocated for a tile of %d x %d in %d bytes, limit %d", n, p.TileW, p.TileH, len(b), limit)
					}
				}
			}
		}
	})
}

func ExampleOpen() {
	s, err := dicom.Open(os.DirFS(filepath.Join("..", "wsi", "testdata", "formats", "dicom-jpeg")), ".")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	seg, err := s.Levels[0].Tile(0, 0)
	fmt.Println(len(s.Levels), s.MPPX, s.MPPY, seg.W, seg.H, err)
	// Output: 3 0.4 0.5 16 16 <nil>
}
