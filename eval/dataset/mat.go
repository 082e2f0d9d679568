package dataset

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

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
)

// readMat reads the named numeric arrays of a MATLAB level 5 file (-v6 or -v7).
// Arrays of other names, and cells, structures and text, are passed over. A
// name that is not there is absent from the result.
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
		e, err := readElement(r, o)
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		if e.kind == miCompressed {
			z, err := zlib.NewReader(bytes.NewReader(e.data))
			if err != nil {
				return nil, err
			}
			if e, err = readElement(z, o); err != nil {
				return nil, fmt.Errorf("compressed element: %w", err)
			}
		}
		if e.kind != miMatrix {
			continue
		}
		name, a, err := parseMatrix(e.data, o, wanted)
		if err != nil {
			return nil, fmt.Errorf("array %q: %w", name, err)
		}
		if a != nil {
			out[name] = a
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

type element struct {
	kind uint32
	data []byte
}

// readElement reads a tag, its data and the padding. io.EOF says that nothing
// follows.
func readElement(r io.Reader, o binary.ByteOrder) (element, error) {
	var tag [8]byte
	if n, err := io.ReadFull(r, tag[:]); err != nil {
		if n == 0 && err == io.EOF {
			return element{}, io.EOF
		}
		return element{}, fmt.Errorf("element tag: %w", io.ErrUnexpectedEOF)
	}
	kind, size := o.Uint32(tag[:4]), o.Uint32(tag[4:])
	if small := kind >> 16; small != 0 { // up to four bytes within the tag
		if small > 4 {
			return element{}, fmt.Errorf("small element of %d bytes", small)
		}
		return element{kind & 0xFFFF, tag[4 : 4+small]}, nil
	}
	if size > maxMatElement {
		return element{}, fmt.Errorf("element of %d bytes, at most %d are read", size, maxMatElement)
	}
	var buf bytes.Buffer // grows as bytes come: the size is only a claim
	if n, err := io.CopyN(&buf, r, int64(size)); err != nil {
		return element{}, fmt.Errorf("element of %d bytes ends after %d", size, n)
	}
	if pad := -int64(size) & 7; pad > 0 && kind != miCompressed {
		if _, err := io.CopyN(io.Discard, r, pad); err != nil && err != io.EOF {
			return element{}, err
		}
	}
	return element{kind, buf.Bytes()}, nil
}

func parseMatrix(b []byte, o binary.ByteOrder, wanted map[string]bool) (string, *matArray, error) {
	r := bytes.NewReader(b)
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
	re, err := readElement(r, o)
	if err != nil {
		return name, nil, err
	}
	w := matWidth[re.kind]
	if w == 0 || len(re.data) != total*w {
		return name, nil, fmt.Errorf("%d bytes of type %d for dimensions %v", len(re.data), re.kind, a.dims)
	}
	a.data = make([]float64, total)
	for i := range a.data {
		a.data[i] = matNumber(re.data[i*w:], re.kind, o)
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
