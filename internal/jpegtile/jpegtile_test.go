package jpegtile_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/jpegtile"
)

func read(t testing.TB, name string) []byte {
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

// rgb drops the alpha bytes, which must be 255.
func rgb(t testing.TB, rgba []byte) []byte {
	var out []byte
	for i := 0; i < len(rgba); i += 4 {
		require.Equal(t, byte(255), rgba[i+3])
		out = append(out, rgba[i:i+3]...)
	}
	return out
}

// TestLibjpeg compares files with libjpeg bit for bit, those of four
// components with Pillow.
func TestLibjpeg(t *testing.T) {
	var want map[string]struct {
		W, H   int
		SHA256 string
	}
	require.NoError(t, json.Unmarshal(read(t, "expected.json"), &want))
	require.Len(t, want, 16)
	for name, e := range want {
		t.Run(name, func(t *testing.T) {
			pix, w, h, err := (*jpegtile.Tables)(nil).Decode(read(t, name), jpegtile.Auto)
			require.NoError(t, err)
			assert.Equal(t, []int{e.W, e.H}, []int{w, h})
			got := rgb(t, pix)
			sum := sha256.Sum256(got)
			assert.Equal(t, e.SHA256, hex.EncodeToString(sum[:]))
		})
	}
}

// split cuts a file into its tables and a tile without them.
func split(t testing.TB, b []byte) (tables, tile []byte) {
	tables, tile = []byte{0xff, 0xd8}, []byte{0xff, 0xd8}
	for p := 2; ; {
		m, n := b[p+1], int(b[p+2])<<8|int(b[p+3])
		if m == 0xda {
			return append(tables, 0xff, 0xd9), append(tile, b[p:]...)
		}
		if m == 0xdb || m == 0xc4 {
			tables = append(tables, b[p:p+2+n]...)
		} else if m < 0xe0 {
			tile = append(tile, b[p:p+2+n]...)
		}
		p += 2 + n
	}
}

func TestSharedTables(t *testing.T) {
	b := read(t, "444.jpg")
	tables, tile := split(t, b)
	tab, err := jpegtile.ParseTables(tables)
	require.NoError(t, err)
	want, _, _, err := (*jpegtile.Tables)(nil).Decode(b, jpegtile.Auto)
	require.NoError(t, err)
	got, _, _, err := tab.Decode(tile, jpegtile.YCbCr)
	require.NoError(t, err)
	assert.Equal(t, want, got)

	raw, _, _, err := tab.Decode(tile, jpegtile.RGB)
	require.NoError(t, err)
	r, g, bl := jpegtile.ToRGB(raw[0], raw[1], raw[2])
	assert.Equal(t, got[:3], []byte{r, g, bl}, "RGB leaves the components as they are")

	_, _, _, err = (*jpegtile.Tables)(nil).Decode(tile, jpegtile.YCbCr)
	assert.ErrorIs(t, err, jpegtile.ErrCorrupt, "a tile without its tables")
}

func TestCorrupt(t *testing.T) {
	b := read(t, "420.jpg")
	scan := bytes.Index(b, []byte{0xff, 0xda}) + 14
	flip := bytes.Clone(b)
	flip[5] ^= 0xff // length of a marker segment
	for _, tt := range []struct {
		name string
		in   []byte
	}{
		{"empty", nil},
		{"text", []byte("not a JPEG")},
		{"header only", b[:scan]},
		{"half of the data", b[:(scan+len(b))/2]},
		{"three quarters", b[:(scan+3*len(b))/4]},
		{"marker length", flip},
		{"no scan", append(bytes.Clone(b[:scan-14]), 0xff, 0xd9)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, _, _, err := (*jpegtile.Tables)(nil).Decode(tt.in, jpegtile.Auto)
			assert.ErrorIs(t, err, jpegtile.ErrCorrupt)
		})
	}
	_, err := jpegtile.ParseTables([]byte{0xff, 0xd8, 0xff, 0xda, 0, 2})
	assert.ErrorIs(t, err, jpegtile.ErrCorrupt)
}

// Processes that are not read are named.
func TestUnsupported(t *testing.T) {
	b := read(t, "444.jpg")
	at := bytes.Index(b, []byte{0xff, 0xc0})
	for m, want := range map[byte]string{0xc3: "lossless", 0xc9: "arithmetic", 0xca: "arithmetic"} {
		b[at+1] = m
		_, _, _, err := (*jpegtile.Tables)(nil).Decode(b, jpegtile.Auto)
		require.ErrorIs(t, err, jpegtile.ErrUnsupported)
		assert.ErrorContains(t, err, want)
	}
	b[at+1], b[at+4] = 0xc1, 12
	_, _, _, err := (*jpegtile.Tables)(nil).Decode(b, jpegtile.Auto)
	require.ErrorIs(t, err, jpegtile.ErrUnsupported)
	assert.ErrorContains(t, err, "12 bits")
}

// Progressive files that break, issue 24: an error each, never a picture; and
// scans without end are refused.
func TestProgressiveCorrupt(t *testing.T) {
	b := read(t, "progressive-444.jpg")
	var scans []int
	for p := 2; p+1 < len(b); p++ {
		if b[p] == 0xff && b[p+1] == 0xda {
			scans = append(scans, p)
		}
	}
	require.Len(t, scans, 10)
	for k, at := range scans {
		_, _, _, err := (*jpegtile.Tables)(nil).Decode(b[:at+(len(b)-at)/40+20], jpegtile.Auto)
		assert.ErrorIs(t, err, jpegtile.ErrCorrupt, "cut in scan %d", k)
	}
	for name, header := range map[string][3]byte{
		"mean with others": {0, 5, 0}, "order": {9, 5, 0}, "too many": {1, 64, 0}, "bits": {1, 5, 0x20}, "high": {1, 5, 14},
	} {
		bad := bytes.Clone(b)
		copy(bad[scans[1]+7:], header[:])
		_, _, _, err := (*jpegtile.Tables)(nil).Decode(bad, jpegtile.Auto)
		assert.ErrorIs(t, err, jpegtile.ErrCorrupt, name)
	}
	end := scans[1] + bytes.Index(b[scans[1]:], []byte{0xff, 0xc4}) // the next table
	many := append(bytes.Repeat(b[scans[1]:end], 92), b[end:]...)
	_, _, _, err := (*jpegtile.Tables)(nil).Decode(append(b[:scans[1]:scans[1]], many...), jpegtile.Auto)
	require.ErrorIs(t, err, jpegtile.ErrUnsupported)
	assert.ErrorContains(t, err, "more than 100 scans")
}

// FuzzDecode checks that altered files neither crash nor make the decoder
// allocate more than 16 MiB plus 4096 times their length: a bit is the least
// that a progressive block of 64 samples takes, each of which is seven bytes here.
func FuzzDecode(f *testing.F) {
	names, err := filepath.Glob(filepath.Join("testdata", "*.jpg"))
	require.NoError(f, err)
	for _, n := range names {
		f.Add(read(f, filepath.Base(n)), []byte{})
	}
	tables, tile := split(f, read(f, "420.jpg"))
	f.Add(tile, tables)
	f.Fuzz(func(t *testing.T, b, tables []byte) {
		if len(b) > 1<<15 || len(tables) > 1<<12 {
			return
		}
		var a, z runtime.MemStats
		runtime.ReadMemStats(&a)
		tab, err := jpegtile.ParseTables(tables)
		if err != nil {
			return
		}
		pix, w, h, err := tab.Decode(b, jpegtile.Auto)
		runtime.ReadMemStats(&z)
		if err == nil && len(pix) != 4*w*h {
			t.Fatalf("%d bytes for %d x %d", len(pix), w, h)
		}
		if n := z.TotalAlloc - a.TotalAlloc; n > uint64(16<<20+4096*len(b)) {
			t.Fatalf("%d bytes allocated for a file of %d", n, len(b))
		}
	})
}

func ExampleTables_Decode() {
	b, err := os.ReadFile("testdata/420.jpg")
	if err != nil {
		fmt.Println(err)
		return
	}
	var t jpegtile.Tables
	pix, w, h, err := t.Decode(b, jpegtile.Auto)
	fmt.Println(len(pix), w, h, err)
	// Output: 12972 69 47 <nil>
}

func BenchmarkDecode(b *testing.B) {
	for _, n := range []string{"444.jpg", "420.jpg"} {
		b.Run("file="+n, func(b *testing.B) {
			data := read(b, n)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := (*jpegtile.Tables)(nil).Decode(data, jpegtile.Auto); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
