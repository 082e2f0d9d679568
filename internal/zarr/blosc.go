package zarr

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/pierrec/lz4/v4"

	"github.com/slidesam/sam/internal/tiff"
)

// unBlosc undoes a Blosc 1 frame that holds want bytes.
//
// Source: README_HEADER.rst of c-blosc 1.21.
func unBlosc(b []byte, want int) ([]byte, error) {
	if len(b) < 16 {
		return nil, fmt.Errorf("blosc frame of %d bytes: %w", len(b), tiff.ErrCorrupt)
	}
	flags, typesize := b[2], int(b[3])
	nbytes, block, cbytes := int64(binary.LittleEndian.Uint32(b[4:])), int64(binary.LittleEndian.Uint32(b[8:])), int64(binary.LittleEndian.Uint32(b[12:]))
	if nbytes != int64(want) || cbytes > int64(len(b)) || cbytes < 16 || typesize == 0 {
		return nil, fmt.Errorf("blosc frame of %d bytes for %d, want %d: %w", cbytes, nbytes, want, tiff.ErrCorrupt)
	}
	b = b[:cbytes]
	if flags&2 != 0 { // stored
		if len(b) < 16+want {
			return nil, fmt.Errorf("blosc frame ends early: %w", tiff.ErrCorrupt)
		}
		return b[16 : 16+want], nil
	}
	if want == 0 {
		return nil, nil
	}
	if block <= 0 || block > nbytes {
		return nil, fmt.Errorf("blosc blocks of %d bytes: %w", block, tiff.ErrCorrupt)
	}
	n := int((nbytes-1)/block + 1)
	if len(b) < 16+4*n {
		return nil, fmt.Errorf("blosc frame of %d blocks ends early: %w", n, tiff.ErrCorrupt)
	}
	ratio := bloscRatio[flags>>5]
	if ratio == 0 {
		return nil, fmt.Errorf("format %d inside blosc: %w", flags>>5, tiff.ErrUnsupported)
	}
	if err := within(b, want, ratio); err != nil {
		return nil, fmt.Errorf("blosc frame: %w", err)
	}
	out := make([]byte, 0, want)
	for i := range n {
		size := min(int(block), want-len(out))
		at := int(binary.LittleEndian.Uint32(b[16+4*i:]))
		splits := 1
		if flags&0x10 == 0 && int64(size) == block && typesize > 1 && typesize <= 16 && size%typesize == 0 {
			splits = typesize
		}
		raw, err := bloscBlock(b, at, size, splits, flags>>5)
		if err != nil {
			return nil, fmt.Errorf("blosc block %d of %d: %w", i, n, err)
		}
		switch {
		case flags&4 != 0:
			raw = unBitshuffle(raw, typesize)
		case flags&1 != 0 && typesize > 1:
			raw = unShuffle(raw, typesize)
		}
		out = append(out, raw...)
	}
	return out, nil
}

// bloscBlock decodes a block of size bytes in so many parts.
func bloscBlock(b []byte, at, size, splits int, format byte) ([]byte, error) {
	out := make([]byte, size)
	part := size / splits
	for k := range splits {
		if at < 0 || at > len(b)-4 {
			return nil, fmt.Errorf("part at %d of %d bytes: %w", at, len(b), tiff.ErrCorrupt)
		}
		n := int(int32(binary.LittleEndian.Uint32(b[at:])))
		at += 4
		if n < 0 || n > len(b)-at {
			return nil, fmt.Errorf("part of %d bytes at %d of %d: %w", n, at, len(b), tiff.ErrCorrupt)
		}
		src, dst := b[at:at+n], out[k*part:(k+1)*part]
		at += n
		if n == part {
			copy(dst, src)
			continue
		}
		if err := bloscPart(dst, src, format); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// bloscRatio has the formats inside Blosc: BloscLZ, LZ4, Snappy, zlib, Zstandard.
var bloscRatio = [8]int{lz4Ratio, lz4Ratio, snappyRatio, zlibRatio, zstdRatio}

func bloscPart(dst, src []byte, format byte) error {
	var n int
	var err error
	switch format {
	case 0:
		n, err = unBloscLZ(dst, src)
	case 1:
		n, err = lz4.UncompressBlock(src, dst)
	case 2:
		// The length is checked before Decode allocates it.
		if n, err = snappy.DecodedLen(src); err == nil && n == len(dst) {
			_, err = snappy.Decode(dst, src)
		}
	case 3:
		var z io.ReadCloser
		if z, err = zlib.NewReader(bytes.NewReader(src)); err == nil {
			n, err = io.ReadFull(z, dst)
			z.Close()
		}
	default:
		err = unZstd(dst, src)
		n = len(dst)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", err, tiff.ErrCorrupt)
	}
	if n != len(dst) {
		return fmt.Errorf("%d bytes, want %d: %w", n, len(dst), tiff.ErrCorrupt)
	}
	return nil
}

// unBloscLZ decodes BloscLZ, FastLZ's second level with other limits.
func unBloscLZ(dst, src []byte) (int, error) {
	n, p := 0, 0
	next := func() (int, error) {
		if p >= len(src) {
			return 0, fmt.Errorf("BloscLZ ends early")
		}
		p++
		return int(src[p-1]), nil
	}
	c, err := next()
	if err != nil {
		return 0, err
	}
	c &= 31
	for {
		if c < 32 { // literals
			c++
			if c > len(src)-p || c > len(dst)-n {
				return 0, fmt.Errorf("BloscLZ run of %d bytes", c)
			}
			copy(dst[n:], src[p:p+c])
			n, p = n+c, p+c
		} else {
			size, ofs := c>>5-1, (c&31)<<8
			if size == 6 {
				for {
					k, err := next()
					if err != nil {
						return 0, err
					}
					size += k
					if size > len(dst) {
						return 0, fmt.Errorf("BloscLZ match of %d bytes", size)
					}
					if k != 255 {
						break
					}
				}
			}
			k, err := next()
			if err != nil {
				return 0, err
			}
			back := ofs + k + 1
			if k == 255 && ofs == 31<<8 { // far: 16 bits more
				hi, err := next()
				if err != nil {
					return 0, err
				}
				lo, err := next()
				if err != nil {
					return 0, err
				}
				back = hi<<8 + lo + 8191 + 1
			}
			size += 3
			if back > n || size > len(dst)-n {
				return 0, fmt.Errorf("BloscLZ match of %d bytes, %d back", size, back)
			}
			for range size {
				dst[n] = dst[n-back]
				n++
			}
		}
		if p >= len(src) {
			return n, nil
		}
		if c, err = next(); err != nil {
			return 0, err
		}
	}
}

// unShuffle joins the bytes of elements that lie plane by plane.
func unShuffle(b []byte, size int) []byte {
	n := len(b) / size
	out := make([]byte, len(b))
	for j := range size {
		for i := range n {
			out[i*size+j] = b[j*n+i]
		}
	}
	copy(out[n*size:], b[n*size:])
	return out
}

// unBitshuffle joins the bits of elements that lie plane by plane. Blocks
// whose elements are no multiple of 8 are stored as they are.
func unBitshuffle(b []byte, size int) []byte {
	n := len(b) / size
	if n%8 != 0 {
		return b
	}
	out := make([]byte, len(b))
	for j := range size {
		for bit := range 8 {
			row := b[(j*8+bit)*(n/8):][:n/8]
			for i, v := range row {
				for k := range 8 {
					out[(8*i+k)*size+j] |= v >> k & 1 << bit
				}
			}
		}
	}
	copy(out[n*size:], b[n*size:])
	return out
}
