package tiff

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"
)

// The general schemes that libtiff added late.
const (
	compLZMA = 34925
	compZstd = 50000
)

// maxDict bounds the window of Zstandard and the dictionary of LZMA: what
// the highest presets of both use on tiles.
const maxDict = 1 << 26

// generalCodecs undo a scheme: b stands for want bytes, or the error says
// where it ends. Each is one line in maxRatio too.
var generalCodecs = map[uint64]func(b []byte, want int) ([]byte, error){compLZMA: unLZMA, compZstd: unZstd}

var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxDict), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	return d
}}

func unZstd(b []byte, want int) ([]byte, error) {
	d, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		return nil, errors.New("no decoder of Zstandard")
	}
	defer zstdDecoders.Put(d)
	if err := d.Reset(bytes.NewReader(b)); err != nil {
		return nil, fmt.Errorf("data of Zstandard: %w: %w", err, ErrCorrupt)
	}
	out := make([]byte, want)
	if _, err := io.ReadFull(d, out); err != nil {
		return nil, fmt.Errorf("data of Zstandard: %w: %w", err, ErrCorrupt)
	}
	return out, nil
}

// unLZMA reads an .xz stream, with the delta filter that libtiff puts
// before LZMA2.
func unLZMA(b []byte, want int) ([]byte, error) {
	r, err := xz.NewReader(bytes.NewReader(b), maxDict)
	if err != nil {
		return nil, fmt.Errorf("data of LZMA: %w: %w", err, ErrCorrupt)
	}
	out := make([]byte, want)
	if _, err := io.ReadFull(r, out); err != nil {
		return nil, fmt.Errorf("data of LZMA: %w: %w", err, ErrCorrupt)
	}
	return out, nil
}
