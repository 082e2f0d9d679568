package zarr

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/slidesam/sam/internal/tiff"
)

// decoder undoes one step of a chunk's coding: b stands for want bytes.
type decoder func(b []byte, want int) ([]byte, error)

// codecs by the names of version 3 and of numcodecs.
var codecs = map[string]decoder{
	"blosc": unBlosc, "zstd": func(b []byte, want int) ([]byte, error) {
		if err := within(b, want, zstdRatio); err != nil {
			return nil, err
		}
		out := make([]byte, want)
		return out, unZstd(out, b)
	},
	"gzip":   stream(func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }),
	"zlib":   stream(func(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }),
	"bz2":    stream(func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }),
	"lz4":    unLZ4,
	"crc32c": unCRC,
}

// The most bytes that each scheme makes of one: a longest match takes a byte for
// 255, deflate's two bits for 258, and a block of 128 KiB of Zstandard four.
const (
	lz4Ratio    = 256
	snappyRatio = 64
	zlibRatio   = 1100
	zstdRatio   = 1 << 15
)

// within refuses data too short for what they claim to hold, before room is made
// for it.
func within(b []byte, want, ratio int) error {
	if want/ratio > len(b) {
		return fmt.Errorf("%d bytes cannot hold %d: %w", len(b), want, tiff.ErrCorrupt)
	}
	return nil
}

func stream(open func(io.Reader) (io.Reader, error)) decoder {
	return func(b []byte, want int) ([]byte, error) {
		r, err := open(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
		}
		return filled(r, want)
	}
}

// filled returns the first want bytes of r. It makes room as they come: a few
// bytes may claim to be a chunk of many.
func filled(r io.Reader, want int) ([]byte, error) {
	out := make([]byte, 0, min(want, 1<<20))
	for len(out) < want {
		if len(out) == cap(out) {
			out = slices.Grow(out, min(len(out), want-len(out)))
		}
		n, err := io.ReadFull(r, out[len(out):min(cap(out), want)])
		if out = out[:len(out)+n]; err != nil {
			return nil, fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
		}
	}
	return out, nil
}

var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(1<<26), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	return d
}}

// unZstd fills dst.
func unZstd(dst, src []byte) error {
	d, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		return fmt.Errorf("no decoder of Zstandard")
	}
	defer zstdDecoders.Put(d)
	if err := d.Reset(bytes.NewReader(src)); err != nil {
		return fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
	}
	if _, err := io.ReadFull(d, dst); err != nil {
		return fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
	}
	return nil
}

// unLZ4 undoes numcodecs' form: the length, then one block.
func unLZ4(b []byte, want int) ([]byte, error) {
	if len(b) < 4 || int64(binary.LittleEndian.Uint32(b)) != int64(want) {
		return nil, fmt.Errorf("lz4: not of %d bytes: %w", want, tiff.ErrCorrupt)
	}
	if err := within(b, want, lz4Ratio); err != nil {
		return nil, fmt.Errorf("lz4: %w", err)
	}
	out := make([]byte, want)
	n, err := lz4.UncompressBlock(b[4:], out)
	if err != nil || n != want {
		return nil, fmt.Errorf("lz4: %d bytes, want %d (%v): %w", n, want, err, tiff.ErrCorrupt)
	}
	return out, nil
}

// unCRC checks and drops the sum behind the data.
func unCRC(b []byte, _ int) ([]byte, error) {
	n := len(b) - 4
	if n < 0 || crc32.Checksum(b[:n], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(b[n:]) {
		return nil, fmt.Errorf("crc32c does not fit: %w", tiff.ErrCorrupt)
	}
	return b[:n], nil
}

// codecJSON is a codec of version 3.
type codecJSON struct {
	Name          string          `json:"name"`
	Configuration json.RawMessage `json:"configuration"`
}

// setCodecs reads the chain of version 3: transpose and sharding first,
// then bytes and what works on bytes.
func (a *Array) setCodecs(list []codecJSON) error {
	for i, c := range list {
		switch c.Name {
		case "bytes":
		case "transpose":
			var t struct{ Order []int }
			if err := json.Unmarshal(c.Configuration, &t); err != nil || !isPermutation(t.Order, len(a.Shape)) {
				return fmt.Errorf("codec transpose %s: %w", c.Configuration, tiff.ErrUnsupported)
			}
			a.order = t.Order
		case "sharding_indexed":
			if i != 0 || len(list) != 1 || a.shard != nil {
				return fmt.Errorf("sharding inside other codecs: %w", tiff.ErrUnsupported)
			}
			if err := a.setSharding(c.Configuration); err != nil {
				return err
			}
		default:
			d := codecs[c.Name]
			if d == nil {
				return fmt.Errorf("codec %q: %w", c.Name, tiff.ErrUnsupported)
			}
			a.chain = append(a.chain, d)
		}
	}
	return nil
}

func isPermutation(p []int, n int) bool {
	seen := make([]bool, n)
	for _, v := range p {
		if v < 0 || v >= n || seen[v] {
			return false
		}
		seen[v] = true
	}
	return len(p) == n
}

// decode undoes a chunk's chain; the result has want bytes.
func (a *Array) decode(b []byte, want int) ([]byte, error) {
	for i := len(a.chain) - 1; i >= 0; i-- {
		var err error
		if b, err = a.chain[i](b, want); err != nil {
			return nil, err
		}
	}
	if len(b) != want {
		return nil, fmt.Errorf("chunk of %d bytes, want %d: %w", len(b), want, tiff.ErrCorrupt)
	}
	return b, nil
}
