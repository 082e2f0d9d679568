package tiff

import (
	"bytes"
	"compress/flate"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

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
	w, h := im.SegW, im.SegH
	if !im.Tiled {
		h = min(h, im.H-row*im.SegH)
	}
	switch im.comp {
	case compJPEG, compJ2KYCC, compJ2KRGB, compJ2KLossy, compJ2K, compWebP:
		pix, err := im.picture(col, row, w, h)
		if err != nil {
			return nil, err
		}
		return &Segment{W: w, H: h, Pix: pix}, nil
	}
	raw, err := im.samples(col, row, w, h)
	if err != nil {
		return nil, err
	}
	return &Segment{W: w, H: h, Pix: im.rgba(raw, w, h)}, nil
}

// picture decodes a segment whose data is a picture of its own, or one for
// each plane, to RGBA [h, w, 4]. Planes are red, green and blue whatever the
// Photometric field says: Bio-Formats states YCbCr and stores those.
func (im *Image) picture(col, row, w, h int) ([]byte, error) {
	decode := func(p, planes int) ([]byte, error) {
		b, err := im.compressed((p*im.Rows+row)*im.Cols + col)
		if err != nil {
			return nil, err
		}
		switch im.comp {
		case compJPEG:
			return im.decodeJPEG(b, w, h, planes)
		case compWebP:
			return im.decodeWebP(b, w, h)
		}
		return im.decodeJ2K(b, w, h, planes)
	}
	if !im.planar {
		return decode(0, im.spp)
	}
	raw := make([]byte, w*h*im.spp)
	for p := range im.spp {
		pix, err := decode(p, 1)
		if err != nil {
			return nil, fmt.Errorf("plane %d: %w", p, err)
		}
		for i := range w * h {
			raw[i*im.spp+p] = pix[4*i]
		}
	}
	return im.rgba(raw, w, h), nil
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
	return b, nil
}

// samples returns the samples of a segment, planes interleaved, predictor
// undone: [h, w, spp] of 8 bits or of 16 bits in the file's byte order.
func (im *Image) samples(col, row, w, h int) ([]byte, error) {
	if !im.planar {
		return im.plane(col, row, 0, w, h, im.spp)
	}
	size := im.bits / 8
	out := make([]byte, w*h*im.spp*size)
	for p := range im.spp {
		b, err := im.plane(col, row, p, w, h, 1)
		if err != nil {
			return nil, fmt.Errorf("plane %d: %w", p, err)
		}
		for i := range w * h {
			copy(out[(i*im.spp+p)*size:], b[i*size:(i+1)*size])
		}
	}
	return out, nil
}

// plane decodes one plane of a segment: [h, w, spp].
func (im *Image) plane(col, row, p, w, h, spp int) ([]byte, error) {
	rowLen := w * spp * (im.bits / 8)
	want := rowLen * h
	if im.comp == compNone && !im.Tiled {
		return im.stripRows(row*im.SegH, p, rowLen, h)
	}
	b, err := im.compressed((p*im.Rows+row)*im.Cols + col)
	if err != nil {
		return nil, err
	}
	if b, err = im.inflate(b, want); err != nil {
		return nil, err
	}
	if len(b) < want {
		return nil, fmt.Errorf("%d bytes of samples, want %d: %w", len(b), want, ErrCorrupt)
	}
	b = b[:want]
	if im.predictor == 2 {
		im.unpredict(b, rowLen, spp)
	}
	return b, nil
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
	return b, nil
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
	if _, err := io.ReadFull(r, out); err != nil {
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
