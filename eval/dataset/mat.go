package dataset

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/slidesam/sam/internal/regular"
)

// matArray is a numeric array of a .mat file, column-major.
type matArray struct {
	dims []int
	data []float64
}

// Limits on what one .mat file may hold: CoNSeP's are 1000 x 1000, a label
// picture of the largest size that is read has maxPixels numbers.
const (
	maxMatFile     = 1 << 31
	maxMatElement  = 1 << 30 // bytes of one element, unpacked
	maxMatElements = 4096
	maxMatHeader   = 1 << 12 // bytes of an array's flags, dimensions or name
	// Arrays of up to freeMatArray bytes may come from any number of bytes,
	// larger ones from a maxMatRatio-th at least: zlib makes 1,000 of one.
	freeMatArray = 1 << 24
	maxMatRatio  = 256
)

// readMat reads the named numeric arrays of a MATLAB level 5 file (-v6 or -v7).
// Arrays of other names, and cells, structures and text, are passed over
// without unpacking them. A name that is not there is absent from the result.
// An array is refused, before memory is taken, if its size does not fit its
// dimensions or is out of all proportion to the bytes that it comes from.
//
// Source: MAT-File Format, The MathWorks, chapter 1.
func readMat(path string, names ...string) (map[string]*matArray, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out, err := parseMat(io.LimitReader(f, maxMatFile), names...)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, path, err)
	}
	return out, nil
}

func parseMat(r io.Reader, names ...string) (map[string]*matArray, error) {
	var head [128]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("no .mat header: %w", err)
	}
	if bytes.HasPrefix(head[:], []byte("MATLAB 7.3")) {
		return nil, errors.New("MATLAB 7.3 file (HDF5), want level 5: save it with -v7")
	}
	var o binary.ByteOrder = binary.LittleEndian
	switch string(head[126:]) {
	case "IM":
	case "MI":
		o = binary.BigEndian
	default:
		return nil, errors.New("not a MATLAB level 5 file")
	}
	wanted := map[string]bool{}
	for _, n := range names {
		wanted[n] = true
	}
	out := map[string]*matArray{}
	for range maxMatElements {
		t, err := readTag(r, o)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if t.small != nil {
			continue
		}
		body := &io.LimitedReader{R: r, N: int64(t.size)}
		if err := parseElement(body, t, o, wanted, out); err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, body); err != nil {
			return nil, err
		}
		if body.N > 0 {
			return nil, fmt.Errorf("element of %d bytes ends after %d", t.size, int64(t.size)-body.N)
		}
		if err := t.skipPadding(r); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("more than %d elements", maxMatElements)
}

// The types of elements.
const (
	miInt8 = iota + 1
	miUint8
	miInt16
	miUint16
	miInt32
	miUint32
	miSingle
	_
	miDouble
	_
	_
	miInt64
	miUint64
	miMatrix
	miCompressed
)

var matWidth = map[uint32]int{miInt8: 1, miUint8: 1, miInt16: 2, miUint16: 2, miInt32: 4, miUint32: 4, miSingle: 4, miDouble: 8, miInt64: 8, miUint64: 8}

// parseElement adds the array of an element to out if it is wanted.
func parseElement(body io.Reader, t matTag, o binary.ByteOrder, wanted map[string]bool, out map[string]*matArray) error {
	kind := t.kind
	if kind == miCompressed {
		z, err := zlib.NewReader(body)
		if err != nil {
			return err
		}
		inner, err := readTag(z, o)
		if err != nil {
			return fmt.Errorf("compressed element: %w", err)
		}
		kind, body = inner.kind, io.LimitReader(z, int64(inner.size))
	}
	if kind != miMatrix {
		return nil
	}
	name, a, err := parseMatrix(body, int64(t.size), o, wanted)
	if err != nil {
		return fmt.Errorf("array %q: %w", name, err)
	}
	if a != nil {
		out[name] = a
	}
	return nil
}

// matTag is the head of an element.
type matTag struct {
	kind, size uint32
	small      []byte // the data where they lie in the tag
}

// readTag reads an element's head. io.EOF says that nothing follows.
func readTag(r io.Reader, o binary.ByteOrder) (matTag, error) {
	var tag [8]byte
	if n, err := io.ReadFull(r, tag[:]); err != nil {
		if n == 0 && err == io.EOF {
			return matTag{}, io.EOF
		}
		return matTag{}, fmt.Errorf("element tag: %w", io.ErrUnexpectedEOF)
	}
	t := matTag{kind: o.Uint32(tag[:4]), size: o.Uint32(tag[4:])}
	if small := t.kind >> 16; small != 0 { // up to four bytes within the tag
		if small > 4 {
			return matTag{}, fmt.Errorf("small element of %d bytes", small)
		}
		return matTag{t.kind & 0xFFFF, small, tag[4 : 4+small]}, nil
	}
	if t.size > maxMatElement {
		return matTag{}, fmt.Errorf("element of %d bytes, at most %d are read", t.size, maxMatElement)
	}
	return t, nil
}

func (t matTag) skipPadding(r io.Reader) error {
	pad := -int64(t.size) & 7
	if t.small != nil || pad == 0 || t.kind == miCompressed {
		return nil
	}
	if _, err := io.CopyN(io.Discard, r, pad); err != nil && err != io.EOF {
		return err
	}
	return nil
}

type element struct {
	kind uint32
	data []byte
}

// readElement reads a short element with its padding.
func readElement(r io.Reader, o binary.ByteOrder) (element, error) {
	t, err := readTag(r, o)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil || t.small != nil {
		return element{t.kind, t.small}, err
	}
	if t.size > maxMatHeader {
		return element{}, fmt.Errorf("%d bytes, at most %d are read", t.size, maxMatHeader)
	}
	b := make([]byte, t.size)
	if n, err := io.ReadFull(r, b); err != nil {
		return element{}, fmt.Errorf("element of %d bytes ends after %d", t.size, n)
	}
	return element{t.kind, b}, t.skipPadding(r)
}

// parseMatrix reads an array that comes from that many bytes of the file.
func parseMatrix(r io.Reader, stored int64, o binary.ByteOrder, wanted map[string]bool) (string, *matArray, error) {
	var e [3]element // flags, dimensions, name
	for i := range e {
		var err error
		if e[i], err = readElement(r, o); err != nil {
			return "", nil, fmt.Errorf("sub-element %d: %w", i, err)
		}
	}
	name := string(e[2].data)
	if len(name) > 255 {
		return "", nil, fmt.Errorf("name of %d bytes", len(name))
	}
	if !wanted[name] {
		return name, nil, nil
	}
	if e[0].kind != miUint32 || len(e[0].data) < 8 || e[1].kind != miInt32 || len(e[1].data)%4 != 0 {
		return name, nil, errors.New("malformed flags or dimensions")
	}
	flags := o.Uint32(e[0].data)
	if class := flags & 0xFF; class < 6 || class > 15 { // mxDOUBLE to mxUINT64
		return name, nil, fmt.Errorf("class %d, want numbers", class)
	}
	if flags&0x0800 != 0 {
		return name, nil, errors.New("complex numbers")
	}
	if n := len(e[1].data) / 4; n < 2 || n > 8 {
		return name, nil, fmt.Errorf("%d dimensions", n)
	}
	a := &matArray{}
	total := 1
	for i := 0; i < len(e[1].data); i += 4 {
		d := int(int32(o.Uint32(e[1].data[i:])))
		if d < 0 || d > 0 && total > maxPixels/d {
			return name, nil, fmt.Errorf("dimension %d of %v", d, a.dims)
		}
		a.dims = append(a.dims, d)
		total *= d
	}
	if total == 0 {
		return name, a, nil
	}
	t, err := readTag(r, o)
	if err != nil {
		return name, nil, fmt.Errorf("numbers: %w", err)
	}
	w := matWidth[t.kind]
	if w == 0 || int64(t.size) != int64(total)*int64(w) {
		return name, nil, fmt.Errorf("%d bytes of type %d for dimensions %v", t.size, t.kind, a.dims)
	}
	if n := int64(t.size); n > freeMatArray && n/maxMatRatio > stored {
		return name, nil, fmt.Errorf("%d bytes from %d, at most %d of one are read: save it without compression (-v6)", n, stored, maxMatRatio)
	}
	if t.small != nil {
		r = bytes.NewReader(t.small)
	}
	// Memory is taken as numbers come: the size is only a claim.
	buf := make([]byte, min(int(t.size), 1<<16))
	for len(a.data) < total {
		b := buf[:min(len(buf)/w, total-len(a.data))*w]
		if _, err := io.ReadFull(r, b); err != nil {
			return name, nil, fmt.Errorf("element of %d bytes ends after %d", t.size, len(a.data)*w)
		}
		a.data = slices.Grow(a.data, len(b)/w)
		for ; len(b) > 0; b = b[w:] {
			a.data = append(a.data, matNumber(b, t.kind, o))
		}
	}
	return name, a, nil
}

func matNumber(b []byte, kind uint32, o binary.ByteOrder) float64 {
	switch kind {
	case miInt8:
		return float64(int8(b[0]))
	case miUint8:
		return float64(b[0])
	case miInt16:
		return float64(int16(o.Uint16(b)))
	case miUint16:
		return float64(o.Uint16(b))
	case miInt32:
		return float64(int32(o.Uint32(b)))
	case miUint32:
		return float64(o.Uint32(b))
	case miSingle:
		return float64(math.Float32frombits(o.Uint32(b)))
	case miInt64:
		return float64(int64(o.Uint64(b)))
	case miUint64:
		return float64(o.Uint64(b))
	}
	return math.Float64frombits(o.Uint64(b))
}
