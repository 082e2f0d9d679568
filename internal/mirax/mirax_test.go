package mirax_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/mirax"
	"github.com/slidesam/sam/internal/tiff"
)

var formats = filepath.Join("..", "wsi", "testdata", "formats")

// TestTile reads a place where nothing was scanned, and one outside.
func TestTile(t *testing.T) {
	s, err := mirax.Open(os.DirFS(formats), "mirax-positions.mrxs")
	require.NoError(t, err)
	defer s.Close()
	l := s.Levels[0]
	assert.Equal(t, []int{352, 176, 1, 1}, []int{l.W, l.H, l.Cols, l.Rows})
	seg, err := l.Tile(0, 0, nil)
	require.NoError(t, err)
	assert.Equal(t, byte(255), seg.Pix[3])
	assert.Equal(t, byte(0), seg.Pix[4*(351)+3], "the third photo of the first row was not taken")
	_, err = l.Tile(1, 0, nil)
	assert.Error(t, err)
	asked := 0
	_, err = l.Tile(0, 0, func(int, func() (*tiff.Segment, error)) (*tiff.Segment, error) {
		asked++
		return &tiff.Segment{W: 64, H: 48, Pix: make([]byte, 64*48*4)}, nil
	})
	require.NoError(t, err)
	assert.Equal(t, 20, asked)
}

// FuzzOpen opens slides whose Slidedat.ini and index are altered. Opening
// allocates at most 4 MiB plus 512 times both.
func FuzzOpen(f *testing.F) {
	var data [][]byte
	for _, name := range []string{"mirax-positions", "mirax-stitching", "mirax-overlap"} {
		read := func(n string) []byte {
			b, err := os.ReadFile(filepath.Join(formats, name, n))
			require.NoError(f, err)
			return b
		}
		f.Add(read("Slidedat.ini"), read("Index.dat"), byte(len(data)))
		data = append(data, read("Data0000.dat"), read("Data0001.dat"))
	}
	allocated := func(g func()) uint64 {
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		g()
		runtime.ReadMemStats(&b)
		return b.TotalAlloc - a.TotalAlloc
	}
	f.Fuzz(func(t *testing.T, ini, index []byte, which byte) {
		if len(ini)+len(index) > 1<<16 {
			return
		}
		k := int(which) % (len(data) - 1)
		fsys := fstest.MapFS{"a/Slidedat.ini": {Data: ini}, "a/Index.dat": {Data: index}, "a/Data0000.dat": {Data: data[k]}, "a/Data0001.dat": {Data: data[k+1]}}
		var s *mirax.Slide
		n := allocated(func() { s, _ = mirax.Open(fsys, "a.mrxs") })
		if limit := uint64(4<<20 + 512*(len(ini)+len(index))); n > limit {
			t.Fatalf("%d bytes allocated to open %d", n, len(ini)+len(index))
		}
		if s == nil {
			return
		}
		defer s.Close()
		for _, l := range s.Levels {
			_, _ = l.Tile(0, 0, nil)
			_, _ = l.Tile(l.Cols-1, l.Rows-1, nil)
		}
	})
}

func ExampleOpen() {
	s, err := mirax.Open(os.DirFS(formats), "mirax-positions.mrxs")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()
	seg, err := s.Levels[0].Tile(0, 0, nil)
	fmt.Println(len(s.Levels), s.MPPX, s.Objective, s.Bounds, seg.W, seg.H, err)
	// Output: 3 0.25 20 (16,8)-(368,184) 352 176 <nil>
}
