package embedfile_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/slidesam/sam/internal/embedfile"
)

// sample is an embedding with values that float16 holds exactly.
func sample(c, h, w int) *embedfile.Embedding {
	e := &embedfile.Embedding{
		Fingerprint: [16]byte{1, 2, 3, 15: 16}, Digest: [32]byte{4, 5, 31: 6}, Shape: [3]int{c, h, w},
		Picture: embedfile.Size{H: 300, W: 500}, Input: embedfile.Size{H: 614, W: 1024},
	}
	for i := range c * h * w {
		e.Data = append(e.Data, float32(i%4001-2000)/64)
	}
	return e
}

func encode(t require.TestingT, e *embedfile.Embedding, typ embedfile.Type) []byte {
	var b bytes.Buffer
	n, err := embedfile.Write(&b, e, typ)
	require.NoError(t, err)
	require.EqualValues(t, b.Len(), n)
	return b.Bytes()
}

func TestRoundTrip(t *testing.T) {
	for _, shape := range [][3]int{{1, 1, 1}, {4, 3, 5}, {256, 64, 64}} {
		e := sample(shape[0], shape[1], shape[2])
		for _, typ := range []embedfile.Type{embedfile.Float32, embedfile.Float16} {
			t.Run(fmt.Sprintf("%v/%d", shape, typ), func(t *testing.T) {
				b := encode(t, e, typ)
				assert.Len(t, b, 96+len(e.Data)*(4-2*int(typ)))
				r := bytes.NewReader(append(b, "rest"...))
				got, err := embedfile.Read(r)
				require.NoError(t, err)
				assert.Equal(t, e, got)
				assert.Equal(t, 4, r.Len(), "nothing beyond the embedding is read")
				got, err = embedfile.Read(iotest.OneByteReader(bytes.NewReader(b)))
				require.NoError(t, err)
				assert.Equal(t, e, got)
			})
		}
	}
}

func TestTruncatedFilesAreRefused(t *testing.T) {
	for _, typ := range []embedfile.Type{embedfile.Float32, embedfile.Float16} {
		b := encode(t, sample(2, 3, 5), typ)
		for n := range b {
			_, err := embedfile.Read(bytes.NewReader(b[:n]))
			require.ErrorIs(t, err, embedfile.ErrFormat, "%d bytes", n)
			require.ErrorIs(t, err, io.ErrUnexpectedEOF, "%d bytes", n)
		}
	}
}

func TestFlippedBitsAreRefused(t *testing.T) {
	for _, typ := range []embedfile.Type{embedfile.Float32, embedfile.Float16} {
		b := encode(t, sample(2, 3, 5), typ)
		for i := range len(b) * 8 {
			b[i/8] ^= 1 << (i % 8)
			_, err := embedfile.Read(bytes.NewReader(b))
			require.ErrorIs(t, err, embedfile.ErrFormat, "bit %d", i)
			b[i/8] ^= 1 << (i % 8)
		}
	}
}

// forge changes a header and mends its checksum.
func forge(b []byte, change func(b []byte)) []byte {
	b = bytes.Clone(b)
	change(b)
	binary.LittleEndian.PutUint32(b[88:], crc32.Checksum(b[:88], crc32.MakeTable(crc32.Castagnoli)))
	return b
}

func TestForgedHeadersAreRefused(t *testing.T) {
	b := encode(t, sample(2, 3, 5), embedfile.Float32)
	put := func(at int, v ...uint32) func([]byte) {
		return func(b []byte) {
			for i, v := range v {
				binary.LittleEndian.PutUint32(b[at+4*i:], v)
			}
		}
	}
	for name, change := range map[string]func([]byte){
		"magic": func(b []byte) { b[0] = 's' }, "version": func(b []byte) { b[8] = 3 }, "the version before": func(b []byte) { b[8] = 1 }, "type": func(b []byte) { b[10] = 2 },
		"no channels": put(28, 0), "2^32-1 channels": put(28, math.MaxUint32), "product overflows": put(28, 1<<28, 1<<28, 1<<28),
		"too many values": put(28, 1<<14, 1<<14, 2), "no picture": put(40, 0, 7), "huge picture": put(40, 5, 1<<25), "no input": put(48, 3, 0),
		"more data than there is": put(28, 256, 1024, 1024),
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := embedfile.Read(bytes.NewReader(forge(b, change)))
			runtime.ReadMemStats(&after)
			assert.ErrorIs(t, err, embedfile.ErrFormat)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(e *embedfile.Embedding)
		typ    embedfile.Type
	}{
		{"NaN", func(e *embedfile.Embedding) { e.Data[3] = float32(math.NaN()) }, 0},
		{"infinity", func(e *embedfile.Embedding) { e.Data[3] = float32(math.Inf(-1)) }, 1},
		{"too large for float16", func(e *embedfile.Embedding) { e.Data[3] = -65520 }, 1},
		{"data missing", func(e *embedfile.Embedding) { e.Data = e.Data[1:] }, 0},
		{"no shape", func(e *embedfile.Embedding) { e.Shape = [3]int{} }, 0},
		{"negative shape", func(e *embedfile.Embedding) { e.Shape = [3]int{-2, -3, 5} }, 0},
		{"no picture", func(e *embedfile.Embedding) { e.Picture.W = 0 }, 0},
		{"huge input", func(e *embedfile.Embedding) { e.Input.H = 1 << 30 }, 0},
		{"unknown type", func(*embedfile.Embedding) {}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := sample(2, 3, 5)
			tt.change(e)
			var b bytes.Buffer
			_, err := embedfile.Write(&b, e, tt.typ)
			assert.ErrorIs(t, err, embedfile.ErrValue)
			assert.Zero(t, b.Len())
		})
	}
}

// limited takes n bytes.
type limited struct{ n int }

func (l *limited) Write(p []byte) (int, error) {
	if len(p) > l.n {
		return l.n, errors.New("no space left")
	}
	l.n -= len(p)
	return len(p), nil
}

func TestReaderAndWriterErrorsAreKept(t *testing.T) {
	e := sample(2, 3, 5)
	for _, n := range []int{0, 91, 92, 130, 212, 215} {
		got, err := embedfile.Write(&limited{n}, e, embedfile.Float32)
		assert.ErrorContains(t, err, "no space left")
		assert.LessOrEqual(t, got, int64(n))
	}
	fault := errors.New("fault")
	b := encode(t, e, embedfile.Float32)
	for _, n := range []int{0, 20, 92, 130, 213} {
		_, err := embedfile.Read(io.MultiReader(bytes.NewReader(b[:n]), iotest.ErrReader(fault)))
		assert.ErrorIs(t, err, fault)
		assert.NotErrorIs(t, err, embedfile.ErrFormat)
	}
}

func TestNonFiniteValuesAreRefused(t *testing.T) {
	table := crc32.MakeTable(crc32.Castagnoli)
	for _, tt := range []struct {
		typ  embedfile.Type
		bits []byte
	}{
		{embedfile.Float32, []byte{0, 0, 0xc0, 0x7f}}, {embedfile.Float32, []byte{0, 0, 0x80, 0xff}},
		{embedfile.Float16, []byte{0x00, 0x7c}}, {embedfile.Float16, []byte{0x01, 0xfc}},
	} {
		b := encode(t, sample(2, 3, 5), tt.typ)
		copy(b[92+2*len(tt.bits):], tt.bits)
		binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[92:len(b)-4], table))
		_, err := embedfile.Read(bytes.NewReader(b))
		assert.ErrorIs(t, err, embedfile.ErrFormat)
		assert.ErrorContains(t, err, "value 2")
	}
}

func TestFloat16ErrorBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := sample(1, 1, 1)
		e.Data[0] = rapid.Float32Range(-65504, 65504).Draw(t, "v")
		got, err := embedfile.Read(bytes.NewReader(encode(t, e, embedfile.Float16)))
		require.NoError(t, err)
		v := float64(e.Data[0])
		// Half a unit in the last place; below 2^-14 units are 2^-24.
		assert.InDelta(t, v, got.Data[0], math.Max(math.Abs(v)/(1<<11), 1.0/(1<<25)))
	})
}

func FuzzRead(f *testing.F) {
	f.Add(encode(f, sample(1, 1, 1), embedfile.Float32))
	f.Add(encode(f, sample(2, 3, 5), embedfile.Float16))
	f.Add(forge(encode(f, sample(1, 2, 2), embedfile.Float32), func(b []byte) { b[30] = 1 }))
	f.Add([]byte("SAMEMBED"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := embedfile.Read(bytes.NewReader(b))
		if err != nil {
			return
		}
		typ := embedfile.Type(b[10])
		again := encode(t, e, typ)
		require.Equal(t, b[:len(again)], again)
	})
}

func Benchmark(b *testing.B) {
	e := sample(256, 64, 64)
	for _, typ := range []embedfile.Type{embedfile.Float32, embedfile.Float16} {
		data := encode(b, e, typ)
		b.Run(fmt.Sprintf("write/type=%d", typ), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := embedfile.Write(io.Discard, e, typ); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(fmt.Sprintf("read/type=%d", typ), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := embedfile.Read(bytes.NewReader(data)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func Example() {
	e := &embedfile.Embedding{
		Shape: [3]int{1, 2, 2}, Picture: embedfile.Size{H: 30, W: 40}, Input: embedfile.Size{H: 48, W: 64},
		Data: []float32{0.5, -1, 2, 0.333333},
	}
	var file bytes.Buffer
	n, err := embedfile.Write(&file, e, embedfile.Float16)
	if err != nil {
		fmt.Println(err)
		return
	}
	back, err := embedfile.Read(&file)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(n, back.Shape, back.Picture, back.Data)
	// Output: 104 [1 2 2] {30 40} [0.5 -1 2 0.33325195]
}
