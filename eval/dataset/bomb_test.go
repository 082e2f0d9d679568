package dataset

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// matOf is a compressed .mat file of one array of n zero bytes, n a multiple
// of 1<<10.
func matOf(t *testing.T, name string, n int) []byte {
	le := binary.LittleEndian
	words := func(b []byte, v ...uint32) []byte {
		for _, x := range v {
			b = le.AppendUint32(b, x)
		}
		return b
	}
	in := words(nil, 6, 8, 6, 0, 5, 8, 1<<10, uint32(n>>10), 1, uint32(len(name)))
	in = append(in, name...)
	in = append(in, make([]byte, -len(name)&7)...)
	in = words(in, 2, uint32(n))
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	_, err := w.Write(append(words(nil, 14, uint32(len(in)+n)), in...))
	require.NoError(t, err)
	_, err = w.Write(make([]byte, n))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	head := append(make([]byte, 126), "IM"...)
	return append(words(head, 15, uint32(z.Len())), z.Bytes()...)
}

// bounded fails the test if f allocates more than limit bytes.
func bounded(t *testing.T, limit uint64, f func()) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, limit)
}

// Hostile files of issue 24, section 1: a .mat file of a few kilobytes took
// gigabytes, partly for an array that nobody asked for.
func TestMatBombs(t *testing.T) {
	const n = 1 << 26
	asked, other, label := matOf(t, "inst_map", n), matOf(t, "other", n), matOf(t, "inst_map", 1<<20)
	bounded(t, 1<<20, func() {
		_, err := parseMat(bytes.NewReader(asked), "inst_map")
		assert.ErrorContains(t, err, "at most 256 of one are read")
	})
	bounded(t, 1<<20, func() {
		m, err := parseMat(bytes.NewReader(other), "inst_map")
		require.NoError(t, err)
		assert.Empty(t, m)
	})
	m, err := parseMat(bytes.NewReader(label), "inst_map")
	require.NoError(t, err)
	assert.Len(t, m["inst_map"].data, 1<<20, "an empty label map compresses as well")
}

func TestNestedGeoJSON(t *testing.T) {
	nested := func(n int) string {
		return `[{"type":"Feature","geometry":` + strings.Repeat(`{"type":"GeometryCollection","geometries":[`, n) +
			`{"type":"Point","coordinates":[0,0]}` + strings.Repeat("]}", n) + `,"properties":{"name":"[[[\"[{"}}]`
	}
	path := filepath.Join(t.TempDir(), "x.geojson")
	write := func(s string) { require.NoError(t, os.WriteFile(path, []byte(s), 0o600)) }
	write(nested(100_000))
	start := time.Now()
	for _, read := range []func() error{
		func() error { _, err := readQuPath(path, QuPathOptions{}); return err },
		func() error { _, err := readJSON(path); return err }, // as COCO's files are
	} {
		err := read()
		assert.ErrorIs(t, err, ErrFormat)
		assert.ErrorContains(t, err, "within each other")
	}
	assert.Less(t, time.Since(start), 5*time.Second)
	write(nested(10))
	list, err := readQuPath(path, QuPathOptions{})
	require.NoError(t, err)
	assert.Empty(t, list)
	b, err := readJSON(path)
	require.NoError(t, err)
	assert.Equal(t, 24, nesting(b))
}
