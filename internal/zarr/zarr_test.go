package zarr_test

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/zarr"
)

var formats = filepath.Join("..", "wsi", "testdata", "formats")

// load reads a store into memory.
func load(t testing.TB, name string) fstest.MapFS {
	out := fstest.MapFS{}
	fsys := os.DirFS(filepath.Join(formats, name))
	require.NoError(t, fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(fsys, p)
		out[p] = &fstest.MapFile{Data: b}
		return err
	}))
	return out
}

// TestBroken: metadata that asks for what is not read, or lies.
func TestBroken(t *testing.T) {
	for _, tt := range []struct {
		name, store, file, old, put, want string
		err                               error
	}{
		{"type", "zarr-v3-zstd", "0/zarr.json", `"uint8"`, `"uint16"`, "uint16", tiff.ErrUnsupported},
		{"codec", "zarr-v3-zstd", "0/zarr.json", `"name": "zstd"`, `"name": "lzma"`, "lzma", tiff.ErrUnsupported},
		{"huge chunk", "zarr-v3-zstd", "0/zarr.json", "40\n", "400000000\n", "chunks of", tiff.ErrUnsupported},
		{"shape", "zarr-v3-zstd", "0/zarr.json", "75\n", "-75\n", "shape", tiff.ErrCorrupt},
		{"type of version 2", "zarr-v2-raw", "0/.zarray", `"|u1"`, `"<u2"`, "<u2", tiff.ErrUnsupported},
		{"path", "zarr-v2-raw", ".zattrs", `"path": "0"`, `"path": "../0"`, "../0", tiff.ErrCorrupt},
		{"axes", "zarr-v2-raw", ".zattrs", `"name": "x"`, `"name": "w"`, "planes along axis", tiff.ErrUnsupported},
		{"no image", "zarr-v2-raw", ".zattrs", `"multiscales"`, `"others"`, "no multiscale", tiff.ErrUnsupported},
		{"json", "zarr-v2-raw", ".zattrs", `{`, `[`, ".zattrs", tiff.ErrCorrupt},
		{"plate", "zarr-v2-raw", ".zattrs", `"multiscales"`, `"plate"`, "plate", tiff.ErrUnsupported},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fsys := load(t, tt.store)
			require.Contains(t, string(fsys[tt.file].Data), tt.old)
			fsys[tt.file].Data = []byte(strings.Replace(string(fsys[tt.file].Data), tt.old, tt.put, 1))
			_, err := zarr.Open(fsys, ".")
			require.ErrorIs(t, err, tt.err)
			assert.ErrorContains(t, err, tt.want)
		})
	}
	assert.False(t, zarr.IsZarr(fstest.MapFS{}, "."))
}

// FuzzStore alters a metadata file and a chunk of a store. Opening and one
// tile allocate at most 96 MiB plus 1024 times both.
func FuzzStore(f *testing.F) {
	var stores []fstest.MapFS
	for i, name := range []string{"zarr-blosc-blosclz-2", "zarr-blosc-lz4-1", "zarr-blosc-zstd-2", "zarr-v2-zlib", "zarr-v2-lz4", "zarr-v3-sharded"} {
		s := load(f, name)
		stores = append(stores, s)
		meta, chunk := names(s)
		f.Add(byte(i), s[meta].Data, s[chunk].Data)
	}
	f.Fuzz(func(t *testing.T, which byte, meta, chunk []byte) {
		if len(meta)+len(chunk) > 1<<16 {
			return
		}
		fsys := fstest.MapFS{}
		src := stores[int(which)%len(stores)]
		for k, v := range src {
			fsys[k] = v
		}
		m, c := names(src)
		fsys[m], fsys[c] = &fstest.MapFile{Data: meta}, &fstest.MapFile{Data: chunk}
		var a, b runtime.MemStats
		runtime.ReadMemStats(&a)
		s, err := zarr.Open(fsys, ".")
		if err == nil && s.Levels[0].TileW*s.Levels[0].TileH < 1<<20 {
			_, _ = s.Levels[0].Tile(0, 0)
		}
		runtime.ReadMemStats(&b)
		if n := b.TotalAlloc - a.TotalAlloc; n > uint64(96<<20+1024*(len(meta)+len(chunk))) {
			t.Fatalf("%d bytes allocated for %d", n, len(meta)+len(chunk))
		}
	})
}

// Chunks of a few bytes that claim to hold the most that is allowed are refused
// before room is made for it, whatever their codec: issue 24.
func TestShortChunks(t *testing.T) {
	const side = 8000
	frame := func(format byte) string { // a Blosc frame of one block
		b := []byte{2, 1, format<<5 | 0x10, 1}
		for _, v := range []uint32{3 * side * side, 3 * side * side, 28} {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
		return string(append(b, 20, 0, 0, 0, 4, 0, 0, 0, 1, 2, 3, 4))
	}
	size := string(binary.LittleEndian.AppendUint32(nil, 3*side*side))
	for _, tt := range []struct{ codec, chunk string }{
		{"lz4", size + "abcd"}, {"zstd", "\x28\xb5\x2f\xfd\xa0" + size + "\x01\x00\x00"},
		{"blosc", frame(0)}, {"blosc", frame(1)}, {"blosc", frame(2)}, {"blosc", frame(3)}, {"blosc", frame(4)},
		{"zlib", "\x78\x9c\x63\x00"}, {"gzip", "\x1f\x8b\x08\x00\x00"}, {"bz2", "BZh9"},
	} {
		s, err := zarr.Open(fstest.MapFS{
			".zattrs":   {Data: []byte(`{"multiscales":[{"version":"0.4","axes":[{"name":"c","type":"channel"},{"name":"y","type":"space"},{"name":"x","type":"space"}],"datasets":[{"path":"0","coordinateTransformations":[{"type":"scale","scale":[1,1,1]}]}]}]}`)},
			".zgroup":   {Data: []byte(`{"zarr_format":2}`)},
			"0/.zarray": {Data: fmt.Appendf(nil, `{"zarr_format":2,"shape":[3,%d,%[1]d],"chunks":[3,%[1]d,%[1]d],"dtype":"|u1","order":"C","fill_value":0,"filters":null,"compressor":{"id":%q}}`, side, tt.codec)},
			"0/0.0.0":   {Data: []byte(tt.chunk)},
		}, ".")
		require.NoError(t, err)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err = s.Levels[0].Tile(0, 0)
		runtime.ReadMemStats(&after)
		require.ErrorIs(t, err, tiff.ErrCorrupt, tt.codec)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(16<<20), tt.codec)
	}
}

// names returns the metadata file of level 0 and one of its chunks.
func names(s fstest.MapFS) (meta, chunk string) {
	for k := range s {
		if rest, ok := strings.CutPrefix(k, "0/"); ok {
			if rest == ".zarray" || rest == "zarr.json" {
				meta = k
			} else if !strings.HasPrefix(rest, ".") && (chunk == "" || k < chunk) {
				chunk = k
			}
		}
	}
	return meta, chunk
}

func ExampleOpen() {
	s, err := zarr.Open(os.DirFS(filepath.Join(formats, "zarr-v3-sharded")), ".")
	if err != nil {
		fmt.Println(err)
		return
	}
	l := s.Levels[0]
	seg, err := l.Tile(1, 0)
	fmt.Println(len(s.Levels), s.MPPX, s.MPPY, l.W, l.H, seg.W, seg.H, err)
	// Output: 2 0.5 0.25 75 50 10 8 <nil>
}
