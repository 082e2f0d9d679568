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

// TestLibjpeg compares baseline files with libjpeg bit for bit.
func TestLibjpeg(t *testing.T) {
	var want map[string]struct {
		W, H   int
		SHA256 string
	}
	require.NoError(t, json.Unmarshal(read(t, "expected.json"), &want))
	require.Len(t, want, 9)
	for name, e := range want {
		t.Run(name, func(t *testing.T) {
			pix, w, h, err := (*jpegtile.Tables)(nil).DecodeAny(read(t, name), jpegtile.Auto)
			require.NoError(t, err)
			assert.Equal(t, []int{e.W, e.H}, []int{w, h})
			got := rgb(t, pix)
			if name == "progressive.jpg" {
				// image/jpeg: its inverse DCT rounds apart by 1, which the
				// blue product 1.772 and luminance can make 3.
				ref := read(t, "progressive.rgb")
				require.Len(t, got, len(ref))
				for i := range got {
					require.InDelta(t, float64(ref[i]), float64(got[i]), 3, "value %d", i)
				}
				return
			}
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

	whole, err := tab.Stream(tile, jpegtile.YCbCr)
	require.NoError(t, err)
	again, _, _, err := (*jpegtile.Tables)(nil).Decode(whole, jpegtile.Auto)
	require.NoError(t, err)
	assert.Equal(t, want, again)
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
			_, _, _, err := (*jpegtile.Tables)(nil).DecodeAny(tt.in, jpegtile.Auto)
			assert.ErrorIs(t, err, jpegtile.ErrCorrupt)
		})
	}
	_, err := jpegtile.ParseTables([]byte{0xff, 0xd8, 0xff, 0xda, 0, 2})
	assert.ErrorIs(t, err, jpegtile.ErrCorrupt)
	_, _, _, err = (*jpegtile.Tables)(nil).Decode(read(t, "progressive.jpg"), jpegtile.Auto)
	assert.ErrorIs(t, err, jpegtile.ErrUnsupported)
}

// FuzzDecode checks that altered files neither crash nor make the decoder
// allocate more than 16 MiB plus 2048 times their length.
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
		pix, w, h, err := tab.DecodeAny(b, jpegtile.Auto)
		runtime.ReadMemStats(&z)
		if err == nil && len(pix) != 4*w*h {
			t.Fatalf("%d bytes for %d x %d", len(pix), w, h)
		}
		if n := z.TotalAlloc - a.TotalAlloc; n > uint64(16<<20+2048*len(b)) {
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
