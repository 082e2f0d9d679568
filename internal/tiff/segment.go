package tiff

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"math/bits"

	"golang.org/x/image/tiff/lzw"
)

// Segment is one decoded tile or strip.
type Segment struct {
	W, H int
	Pix  []byte // RGBA, [H, W, 4], alpha premultiplied as in image.RGBA
}

// Segment reads and decodes the segment in the given column and row. The
// error wraps ErrMissing if the file leaves it out, and ErrCorrupt if its
// data cannot be decoded.
func (im *Image) Segment(col, row int) (*Segment, error) {
	if col < 0 || row < 0 || col >= im.Cols || row >= im.Rows {
		return nil, fmt.Errorf("tiff: read segment (%d, %d): outside %d x %d", col, row, im.Cols, im.Rows)
	}
	s, err := im.segment(col, row)
	if err != nil {
		return nil, fmt.Errorf("tiff: read segment (%d, %d): %w", col, row, err)
	}
	return s, nil
}

func (im *Image) segment(col, row int) (*Segment, error) {
	s := im.span(col, row)
	if im.coded() && !im.planar {
		pix, err := im.decode(row*im.Cols+col, s, im.spp)
		if err != nil {
			return nil, err
		}
		return &Segment{W: s.w, H: s.h, Pix: pix}, nil
	}
	raw, err := im.samples(col, row, s)
	if err != nil {
		return nil, err
	}
	return &Segment{W: s.w, H: s.h, Pix: im.rgba(raw, s.w, s.h)}, nil
}

// coded reports whether each segment is a picture of a format of its own.
func (im *Image) coded() bool {
	switch im.comp {
	case compJPEG, compJ2KYCC, compJ2KRGB, compJ2KLossy, compJ2K, compWebP:
		return true
	}
	return false
}

// decode decodes segment i of comps components to RGBA.
func (im *Image) decode(i int, s span, comps int) ([]byte, error) {
	b, err := im.compressed(i)
	if err != nil {
		return nil, err
	}
	switch im.comp {
	case compJPEG:
		return im.decodeJPEG(b, s, comps)
	case compWebP:
		return im.decodeWebP(b, s)
	}
	return im.decodeJ2K(b, s, comps, 0)
}

// Missing reports whether the file leaves a tile out.
func (im *Image) Missing(col, row int) bool {
	i := row*im.Cols + col
	return im.Tiled && i < len(im.sizes) && (im.sizes[i] == 0 || im.offs[i] == 0)
}

// compressed returns the bytes of segment i as the file has them.
func (im *Image) compressed(i int) ([]byte, error) {
	off, n := im.offs[i], im.sizes[i]
	if n == 0 || off == 0 {
		return nil, ErrMissing
	}
	if off > uint64(im.f.size) || n > uint64(im.f.size)-off {
		return nil, fmt.Errorf("%d bytes at %d beyond the end of the file (%d bytes): %w", n, off, im.f.size, ErrCorrupt)
	}
	b := make([]byte, n)
	if err := readFull(im.f.r, b, int64(off)); err != nil {
		return nil, err
	}
	im.turnBits(b)
	return b, nil
}

// samples returns the samples of a segment, planes interleaved, predictor
// undone: [h, w, spp] of 8 bits or of 16 bits in the file's byte order.
func (im *Image) samples(col, row int, s span) ([]byte, error) {
	if !im.planar {
		return im.plane(col, row, 0, s, im.spp)
	}
	size := im.bits / 8
	out := make([]byte, s.w*s.h*im.spp*size)
	for p := range im.spp {
		b, err := im.plane(col, row, p, s, 1)
		if err != nil {
			return nil, fmt.Errorf("plane %d: %w", p, err)
		}
		for i := range s.w * s.h {
			copy(out[(i*im.spp+p)*size:], b[i*size:(i+1)*size])
		}
	}
	return out, nil
}

// plane decodes one plane of a segment: [h, w, spp].
func (im *Image) plane(col, row, p int, s span, spp int) ([]byte, error) {
	i := (p*im.Rows+row)*im.Cols + col
	if im.coded() { // one component, which comes as gray
		pix, err := im.decode(i, s, 1)
		if err != nil {
			return nil, err
		}
		out := make([]byte, len(pix)/4)
		for k := range out {
			out[k] = pix[4*k]
		}
		return out, nil
	}
	px := spp * (im.bits / 8)
	if im.comp == compNone && !im.Tiled {
		return im.stripRows(row*im.SegH, p, s.w*px, s.h)
	}
	b, err := im.compressed(i)
	if err != nil {
		return nil, err
	}
	w, h := s.w, s.h
	if b, err = im.inflate(b, w*h*px); err != nil {
		return nil, err
	}
	if len(b) == s.inW*s.inH*px { // a tile cropped at the picture's edge
		w, h = s.inW, s.inH
	}
	if len(b) < w*h*px {
		return nil, fmt.Errorf("%d bytes of samples, want %d: %w", len(b), w*h*px, ErrCorrupt)
	}
	b = b[:w*h*px]
	if im.predictor == 2 {
		im.unpredict(b, w*px, spp)
	}
	return s.fit(b, w, h, px), nil
}

// stripRows reads h rows from row y of uncompressed plane p, all of them
// in one strip.
func (im *Image) stripRows(y, p, rowLen, h int) ([]byte, error) {
	strips := (im.H-1)/im.fileRows + 1
	i := p*strips + y/im.fileRows
	off, n := im.offs[i], im.sizes[i]
	if off == 0 || n == 0 {
		return nil, ErrMissing
	}
	skip := uint64(y%im.fileRows) * uint64(rowLen)
	need := uint64(rowLen) * uint64(h)
	size := uint64(im.f.size)
	if skip+need > n || off > size || skip+need > size-off {
		return nil, fmt.Errorf("strip of %d bytes at %d ends before row %d: %w", n, off, y+h, ErrCorrupt)
	}
	b := make([]byte, need)
	if err := readFull(im.f.r, b, int64(off+skip)); err != nil {
		return nil, err
	}
	im.turnBits(b)
	return b, nil
}

// turnBits undoes fill order 2, which does not concern pictures of their own.
func (im *Image) turnBits(b []byte) {
	if !im.reversed || im.coded() {
		return
	}
	for i, v := range b {
		b[i] = bits.Reverse8(v)
	}
}

// maxRatio bounds how much each scheme can expand its input: no honest
// segment is refused, and a short hostile one cannot ask for much memory.
var maxRatio = map[uint64]int{compPackBits: 128, compLZW: 4096, compDeflate: 1100, compDeflateO: 1100, compZstd: 1 << 16, compLZMA: 1 << 14}

// inflate undoes the compression of b, which stands for want bytes.
func (im *Image) inflate(b []byte, want int) ([]byte, error) {
	if im.comp == compNone {
		return b, nil
	}
	if r := maxRatio[im.comp]; want/r > len(b) {
		return nil, fmt.Errorf("%d bytes cannot hold %d: %w", len(b), want, ErrCorrupt)
	}
	if im.comp == compPackBits {
		return unpackBits(b, want)
	}
	if f := generalCodecs[im.comp]; f != nil {
		return f(b, want)
	}
	var r io.ReadCloser
	if im.comp == compLZW {
		r = lzw.NewReader(bytes.NewReader(b), lzw.MSB, 8)
	} else {
		z, err := zlib.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("deflate: %w: %w", err, ErrCorrupt)
		}
		r = z
	}
	defer r.Close()
	out := make([]byte, want)
	n, err := io.ReadFull(r, out)
	if errors.Is(err, io.ErrUnexpectedEOF) && n > 0 && im.comp != compLZW && im.Tiled {
		return out[:n], nil // the caller knows whether it is enough
	}
	if err != nil {
		var fe flate.CorruptInputError
		if errors.As(err, &fe) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("data ends or breaks before %d bytes: %w", want, ErrCorrupt)
		}
		return nil, fmt.Errorf("%w: %w", err, ErrCorrupt)
	}
	return out, nil
}

// unpackBits undoes Macintosh PackBits run lengths, up to want bytes.
func unpackBits(b []byte, want int) ([]byte, error) {
	out := make([]byte, 0, want)
	for len(b) > 0 && len(out) < want {
		n := int(int8(b[0]))
		b = b[1:]
		switch {
		case n >= 0:
			if len(b) < n+1 {
				return nil, fmt.Errorf("PackBits run of %d bytes, %d left: %w", n+1, len(b), ErrCorrupt)
			}
			out = append(out, b[:min(n+1, want-len(out))]...)
			b = b[n+1:]
		case n == -128: // no operation
		default:
			if len(b) == 0 {
				return nil, fmt.Errorf("PackBits run without a byte: %w", ErrCorrupt)
			}
			out = append(out, bytes.Repeat(b[:1], min(1-n, want-len(out)))...)
			b = b[1:]
		}
	}
	return out, nil
}

// unpredict undoes horizontal differencing (predictor 2) in place.
func (im *Image) unpredict(b []byte, rowLen, spp int) {
	for ; len(b) >= rowLen && rowLen > 0; b = b[rowLen:] {
		row := b[:rowLen]
		if im.bits == 8 {
			for i := spp; i < len(row); i++ {
				row[i] += row[i-spp]
			}
			continue
		}
		for i := 2 * spp; i+1 < len(row); i += 2 {
			v := im.f.order.Uint16(row[i:]) + im.f.order.Uint16(row[i-2*spp:])
			im.f.order.PutUint16(row[i:], v)
		}
	}
}
