package zipfile_test

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights/internal/zipfile"
)

// TestReadLikeStandardLibrary compares with archive/zip on real files.
func TestReadLikeStandardLibrary(t *testing.T) {
	for _, pattern := range []string{"*.pth", "*.pt", "*.npz", "*.bin"} {
		paths, err := filepath.Glob(filepath.Join("..", "..", "testdata", pattern))
		require.NoError(t, err)
		require.NotEmpty(t, paths)
		for _, path := range paths {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			if !zipfile.IsZip(data) {
				continue // PyTorch before 1.6
			}
			t.Run(filepath.Base(path), func(t *testing.T) { compare(t, data) })
		}
	}
}

func compare(t testing.TB, data []byte) {
	want, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	require.NoError(t, err)
	got, _, err := zipfile.Read(bytes.NewReader(data), len(data))
	require.NoError(t, err)
	require.Len(t, got, len(want.File))
	for i, f := range want.File {
		off, err := f.DataOffset()
		require.NoError(t, err)
		e := zipfile.Entry{Name: f.Name, Method: f.Method, CRC32: f.CRC32, Off: int(off),
			Stored: int(f.CompressedSize64), Size: int(f.UncompressedSize64)}
		require.Equal(t, e, got[i])
		if e.Method == zipfile.Store && e.CRC32 != 0 {
			assert.Equal(t, e.CRC32, crc32.ChecksumIEEE(data[e.Off:][:e.Stored]))
		}
	}
}

// archive returns a small archive of two stored files and a compressed one.
func archive(t testing.TB, comment string) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, name := range []string{"one", "two"} {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		require.NoError(t, err)
		_, err = io.WriteString(w, "contents of "+name)
		require.NoError(t, err)
	}
	w, err := z.Create("three")
	require.NoError(t, err)
	_, err = w.Write(make([]byte, 1000))
	require.NoError(t, err)
	require.NoError(t, z.SetComment(comment))
	require.NoError(t, z.Close())
	return b.Bytes()
}

func TestReadComment(t *testing.T) {
	compare(t, archive(t, ""))
	compare(t, archive(t, "with a comment"))
	compare(t, archive(t, string(make([]byte, 1<<16-1))))
}

// TestReadZip64 moves the counts into the records that archives of more than
// 4 GiB have.
func TestReadZip64(t *testing.T) {
	le := binary.LittleEndian
	data := archive(t, "")
	end := len(data) - 22
	count, size, off := le.Uint16(data[end+10:]), le.Uint32(data[end+12:]), le.Uint32(data[end+16:])
	end64 := le.AppendUint32(nil, 0x06064b50)
	end64 = le.AppendUint64(end64, 44)
	end64 = append(end64, 45, 0, 45, 0)
	end64 = append(end64, make([]byte, 8)...) // disks
	end64 = le.AppendUint64(end64, uint64(count))
	end64 = le.AppendUint64(end64, uint64(count))
	end64 = le.AppendUint64(end64, uint64(size))
	end64 = le.AppendUint64(end64, uint64(off))
	locator := le.AppendUint32(nil, 0x07064b50)
	locator = le.AppendUint32(locator, 0)
	locator = le.AppendUint64(locator, uint64(end))
	locator = le.AppendUint32(locator, 1)
	tail := slices.Clone(data[end:])
	for i := 8; i < 20; i++ {
		tail[i] = 0xff
	}
	big := slices.Concat(data[:end], end64, locator, tail)
	compare(t, big)

	le.PutUint64(big[end+len(end64)+8:], uint64(len(big)))
	_, _, err := zipfile.Read(bytes.NewReader(big), len(big))
	require.EqualError(t, err, "zip: damaged zip64 end record")
}

// TestReadZip64Entry has sizes and the offset in an entry's extra field.
func TestReadZip64Entry(t *testing.T) {
	le := binary.LittleEndian
	local := le.AppendUint32(nil, 0x04034b50)
	local = append(local, make([]byte, 22)...)
	local = le.AppendUint16(local, 1)
	local = le.AppendUint16(local, 0)
	local = append(local, "aDATA"...)
	extra := le.AppendUint16(nil, 1)
	extra = le.AppendUint16(extra, 24)
	for _, v := range []uint64{4, 4, 0} { // size, stored, offset
		extra = le.AppendUint64(extra, v)
	}
	dir := le.AppendUint32(nil, 0x02014b50)
	dir = append(dir, make([]byte, 16)...)
	dir = append(dir, bytes.Repeat([]byte{0xff}, 8)...)
	dir = le.AppendUint16(dir, 1)
	dir = le.AppendUint16(dir, uint16(len(extra)))
	dir = append(dir, make([]byte, 10)...)
	dir = append(dir, bytes.Repeat([]byte{0xff}, 4)...)
	dir = append(append(dir, 'a'), extra...)
	end := le.AppendUint32(nil, 0x06054b50)
	end = append(end, 0, 0, 0, 0, 1, 0, 1, 0)
	end = le.AppendUint32(end, uint32(len(dir)))
	end = le.AppendUint32(end, uint32(len(local)))
	end = append(end, 0, 0)
	data := slices.Concat(local, dir, end)
	got, _, err := zipfile.Read(bytes.NewReader(data), len(data))
	require.NoError(t, err)
	assert.Equal(t, []zipfile.Entry{{Name: "a", Off: 31, Stored: 4, Size: 4}}, got)

	le.PutUint64(data[len(local)+len(dir)-16:], 5) // stored: one more than there is
	_, _, err = zipfile.Read(bytes.NewReader(data), len(data))
	require.ErrorContains(t, err, "stored as 5 bytes, size 4")
	le.PutUint64(data[len(local)+len(dir)-24:], 5)
	_, _, err = zipfile.Read(bytes.NewReader(data), len(data))
	require.ErrorContains(t, err, "5 bytes at 31 of 35: the file is cut short")
}

func TestReadErrors(t *testing.T) {
	good := archive(t, "")
	end := len(good) - 22
	dir := int(binary.LittleEndian.Uint32(good[end+16:]))
	for _, tt := range []struct {
		name string
		at   int
		b    []byte
		want string
	}{
		{"no end", end, []byte("XX"), "zip: no directory at the end: the file is cut short"},
		{"several disks", end + 4, []byte{1}, "one part of several"},
		{"more entries", end + 10, []byte{4}, "4 entries"},
		{"fewer entries", end + 10, []byte{2}, "3 entries, the directory says 2"},
		{"directory too long", end + 12, []byte{0xff, 0xff}, "does not fit a file"},
		{"directory elsewhere", end + 16, []byte{1, 0}, "damaged directory"},
		{"encrypted", dir + 8, []byte{1}, `"one": encrypted`},
		{"local header", 0, []byte("XX"), `"one": damaged header`},
		{"other name", 30, []byte("X"), `"one": damaged header`},
		{"sizes differ", dir + 20, []byte{1}, `"one": stored as 1 bytes, size 15`},
		{"overlap", dir + 20, []byte{100, 0, 0, 0, 100}, `"one" and "two" overlap`},
		{"too long", dir + 20, []byte{0, 1, 0, 0, 0, 1}, "the file is cut short"},
		{"header beyond", dir + 42, []byte{0xff, 0xff}, "the file is cut short"},
		{"name too long", dir + 28, []byte{0xff, 0xff}, "damaged directory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			data := slices.Clone(good)
			copy(data[tt.at:], tt.b)
			_, _, err := zipfile.Read(bytes.NewReader(data), len(data))
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "zip: ")
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add(archive(f, ""))
	f.Add(archive(f, "comment"))
	for _, name := range []string{"protocol4.pth", "storages.npz"} {
		data, err := os.ReadFile(filepath.Join("..", "..", "testdata", name))
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		entries, _, err := zipfile.Read(bytes.NewReader(data), len(data))
		if err != nil {
			return
		}
		total := 0
		for _, e := range entries {
			total += len(data[e.Off:][:e.Stored])
			if e.Method == zipfile.Store && e.Stored != e.Size {
				t.Fatalf("%q: stored %d bytes, size %d", e.Name, e.Stored, e.Size)
			}
		}
		if total > len(data) {
			t.Fatalf("entries of %d bytes in %d", total, len(data))
		}
	})
}

func ExampleRead() {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if w, err := z.CreateHeader(&zip.FileHeader{Name: "hello", Method: zip.Store}); err == nil {
		_, _ = io.WriteString(w, "world")
	}
	_ = z.Close()
	entries, _, err := zipfile.Read(bytes.NewReader(b.Bytes()), b.Len())
	for _, e := range entries {
		fmt.Println(e.Name, string(b.Bytes()[e.Off:][:e.Stored]))
	}
	fmt.Println(err)
	// Output:
	// hello world
	// <nil>
}
