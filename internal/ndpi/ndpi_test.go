package ndpi_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/ndpi"
	"github.com/slidesam/sam/internal/tiff"
)

func fixture(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("..", "wsi", "testdata", "formats", name))
	require.NoError(t, err)
	return b
}

// beyond is a file whose content but for the header lies 4 GiB further on.
type beyond []byte

func (f beyond) ReadAt(b []byte, off int64) (int, error) {
	for i := range b {
		b[i] = 0
		switch at := off + int64(i); {
		case at < 12:
			b[i] = f[at]
		case at >= 1<<32+int64(len(f)):
			return i, io.EOF
		case at >= 1<<32:
			b[i] = f[at-1<<32]
		}
	}
	return len(b), nil
}

// push moves all offsets of an NDPI file 4 GiB further on.
func push(b []byte) beyond {
	le := binary.LittleEndian
	f := beyond(bytes.Clone(b))
	up := func(at uint64) { le.PutUint32(f[at:], le.Uint32(f[at:])+1) }
	size := map[uint16]uint32{2: 99, 3: 2, 4: 4, 5: 8, 9: 4, 11: 4}
	at := le.Uint64(f[4:])
	up(8)
	for at != 0 {
		n := uint64(le.Uint16(f[at:]))
		next := at + 2 + 12*n
		for i := range n {
			e := f[at+2+12*i:]
			if tag := le.Uint16(e); le.Uint32(e[4:])*size[le.Uint16(e[2:])] > 4 || tag == 273 {
				up(next + 8 + 4*i)
			}
		}
		at = le.Uint64(f[next:])
		if at != 0 {
			up(next + 4)
		}
	}
	return f
}

// TestBeyond4GiB reads a file whose directories, lists and pixels lie past
// what 32 bits reach.
func TestBeyond4GiB(t *testing.T) {
	b := fixture(t, "ndpi-high.ndpi")
	near, err := ndpi.New(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	f := push(b)
	far, err := ndpi.New(f, 1<<32+int64(len(f)))
	require.NoError(t, err)
	require.Len(t, far.Levels, 2)
	for i, p := range far.Levels {
		for row := range p.Rows {
			for col := range p.Cols {
				want, err := near.Levels[i].Tile(col, row)
				require.NoError(t, err)
				got, err := p.Tile(col, row)
				require.NoError(t, err)
				require.Equal(t, want, got)
			}
		}
	}
	_, err = far.Macro.Tile(0, 0)
	assert.NoError(t, err)
}

// classic drops the upper halves: what follows a directory is the lower
// half of the next one's place, then whatever comes next.
func classic(b []byte) []byte {
	le := binary.LittleEndian
	out := bytes.Clone(b)
	for at := le.Uint64(b[4:]); at != 0; {
		n := uint64(le.Uint16(b[at:]))
		next := at + 2 + 12*n
		for i := next + 4; i < next+8+4*n; i++ {
			out[i] = 0xee
		}
		at = le.Uint64(b[next:])
	}
	le.PutUint32(out[8:], 0xeeeeeeee)
	return out
}

// TestClassic reads the fields of NDPI in a classic TIFF.
func TestClassic(t *testing.T) {
	b := fixture(t, "ndpi-plain.ndpi")
	want, err := ndpi.New(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	c := classic(b)
	got, err := ndpi.New(bytes.NewReader(c), int64(len(c)))
	require.NoError(t, err)
	require.Len(t, got.Levels, len(want.Levels))
	assert.Equal(t, want.MPPX, got.MPPX)
	x, err := want.Levels[0].Tile(0, 0)
	require.NoError(t, err)
	y, err := got.Levels[0].Tile(0, 0)
	require.NoError(t, err)
	assert.Equal(t, x, y)
}

// TestLyingStarts: a wrong list of restart markers is found out, and the
// markers are searched for.
func TestLyingStarts(t *testing.T) {
	b := fixture(t, "ndpi-plain.ndpi")
	good, err := ndpi.New(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	// The list is where its fourth entry and the third differ by the data of
	// one interval; it is found through the field's entry.
	entry := []byte{0x92, 0xff, 4, 0} // 65426, LONG
	at := bytes.Index(b, entry)
	require.Positive(t, at)
	list := binary.LittleEndian.Uint32(b[at+8:])
	bad := bytes.Clone(b)
	for i := range uint32(100) {
		bad[list+4*i]++
	}
	s, err := ndpi.New(bytes.NewReader(bad), int64(len(bad)))
	require.NoError(t, err)
	want, err := good.Levels[0].Tile(1, 0)
	require.NoError(t, err)
	got, err := s.Levels[0].Tile(1, 0)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestFocalPlanes(t *testing.T) {
	b := fixture(t, "ndpi-planes.ndpi")
	s, err := ndpi.New(bytes.NewReader(b), int64(len(b)))
	require.NoError(t, err)
	assert.Equal(t, 3, s.Planes)
	for _, b := range [][]byte{nil, []byte("II*\x00"), []byte("II*\x00\x08\x00\x00\x00\x00\x00\x00\x00"), fixture(t, "dicom.json")} {
		_, err := ndpi.New(bytes.NewReader(b), int64(len(b)))
		assert.ErrorIs(t, err, ndpi.ErrNotNDPI)
	}
	_, err = s.Levels[0].Tile(99, 0)
	assert.Error(t, err)
	cut := b[:len(b)-700]
	_, err = ndpi.New(bytes.NewReader(cut), int64(len(cut)))
	assert.ErrorIs(t, err, tiff.ErrCorrupt)
}

// FuzzNew opens altered files and reads tiles: at most 4 MiB plus 64 times
// the file to open, 64 MiB plus 8192 times it for a tile.
func FuzzNew(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("..", "wsi", "testdata", "formats", "*.ndpi"))
	require.NoError(f, err)
	for _, n := range names {
		f.Add(fixture(f, filepath.Base(n)))
	}
	allocated := func(g func()) uint64 {
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		g()
		runtime.ReadMemStats(&b)
		return b.TotalAlloc - a.TotalAlloc
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<17 {
			return
		}
		var s *ndpi.Slide
		if n := allocated(func() { s, _ = ndpi.New(bytes.NewReader(b), int64(len(b))) }); n > uint64(4<<20+64*len(b)) {
			t.Fatalf("%d bytes allocated to open %d", n, len(b))
		}
		if s == nil {
			return
		}
		left := 8
		for _, p := range s.Levels {
			for row := 0; row < p.Rows && left > 0; row++ {
				left--
				if n := allocated(func() { _, _ = p.Tile(0, row) }); n > uint64(64<<20+8192*len(b)) {
					t.Fatalf("%d bytes allocated for a tile of %d x %d in %d bytes", n, p.TileW, p.TileH, len(b))
				}
			}
		}
	})
}

func ExampleNew() {
	f, err := os.Open(filepath.Join("..", "wsi", "testdata", "formats", "ndpi-plain.ndpi"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := ndpi.New(f, st.Size())
	fmt.Println(len(s.Levels), s.MPPX, s.Objective, s.Levels[0].TileW, s.Levels[0].TileH, err)
	// Output: 3 0.5 20 32 256 <nil>
}
