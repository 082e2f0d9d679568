package weights

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/sbinet/npyio/npy"

	"github.com/slidesam/sam/weights/internal/zipfile"
)

// isNPZ reports whether an archive holds arrays and is not one of torch.save.
func isNPZ(entries []zipfile.Entry) bool {
	is := func(test func(name string) bool) bool {
		return slices.ContainsFunc(entries, func(e zipfile.Entry) bool { return test(e.Name) })
	}
	return is(func(n string) bool { return strings.HasSuffix(n, ".npy") }) &&
		!is(func(n string) bool { return path.Base(n) == "data.pkl" })
}

// Compressed arrays may take freeNPZ bytes and maxNPZRatio times the file
// together. Those of a model take little more than the file does.
const (
	freeNPZ     = 64 << 20
	maxNPZRatio = 16
)

// readNPZ returns the arrays of a file that numpy.savez or savez_compressed
// wrote, by name. Only headers are read; entries that are not compressed are
// views of the file.
func readNPZ(file *mapping, entries []zipfile.Entry) (map[string]*Tensor, error) {
	tensors := map[string]*Tensor{}
	total := 0
	for _, e := range entries {
		if e.Method == zipfile.Deflate {
			if total += e.Size; e.Size < 0 || total > freeNPZ+maxNPZRatio*len(file.data) {
				return nil, fmt.Errorf("arrays of more than %d bytes in a file of %d: weights do not compress so well; save them with numpy.savez", total, len(file.data))
			}
		}
		name, ok := strings.CutSuffix(e.Name, ".npy")
		if !ok {
			continue
		}
		if _, ok := tensors[name]; ok {
			return nil, fmt.Errorf("two arrays named %.80q", name)
		}
		t, err := readNPZEntry(&zipEntry{file: file, Entry: e})
		if err != nil {
			return nil, fmt.Errorf("array %.80q: %w", name, err)
		}
		t.Name = name
		tensors[name] = t
	}
	return tensors, nil
}

func readNPZEntry(e *zipEntry) (*Tensor, error) {
	var head []byte
	switch e.Method {
	case zipfile.Store:
		head = make([]byte, min(e.Stored, maxNPYHeader+12))
		if _, err := e.file.ReadAt(head, int64(e.Off)); err != nil && err != io.EOF {
			return nil, err
		}
	case zipfile.Deflate:
		// The best that deflate can do is 258 bytes for 2 bits.
		if e.Size/1032 > e.Stored {
			return nil, fmt.Errorf("%d bytes cannot come from %d: damaged", e.Size, e.Stored)
		}
		var err error
		r := flate.NewReader(io.NewSectionReader(e.file, int64(e.Off), int64(e.Stored)))
		if head, err = io.ReadAll(io.LimitReader(r, maxNPYHeader+12)); err != nil && len(head) < 12 {
			return nil, fmt.Errorf("inflate: %w", err)
		}
	default:
		return nil, fmt.Errorf("compression method %d is unknown: save it with numpy.savez", e.Method)
	}
	h, err := parseNPY(head)
	if err != nil {
		return nil, err
	}
	v := view{dtype: h.dtype, big: h.big, shape: h.shape, strides: h.strides, size: e.Size - h.len}
	if e.Method == zipfile.Store {
		v.file, v.off, v.sum = e.file, e.Off+h.len, e
	}
	checked, err := newView(v)
	if err != nil {
		return nil, err
	}
	if checked.size != v.size {
		return nil, fmt.Errorf("%d bytes of values, want %d for shape %v", v.size, checked.size, h.shape)
	}
	t := &Tensor{Shape: h.shape, DType: h.dtype, src: checked}
	if e.Method == zipfile.Deflate {
		t.src = &inflated{entry: e, view: *checked, skip: h.len}
	}
	return t, nil
}

// npyHeader is the header of an array.
type npyHeader struct {
	len     int // bytes before the values
	dtype   DType
	big     bool
	shape   []int
	strides []int // nil when row-major
}

// maxNPYHeader is more than any header of a plain array takes: that of maxRank
// axes is under 300 bytes.
const maxNPYHeader = 1 << 12

// npyDict matches the dictionary that numpy writes for a plain array. npyio
// takes it apart, but panics on some that do not match.
var npyDict = regexp.MustCompile(`^\{'descr': '[<>|][a-zA-Z]\d{1,3}', 'fortran_order': (?:True|False), 'shape': \([0-9, ]*\), \} *\n$`)

var npyTypes = map[string]DType{
	"f4": Float32, "f8": Float64, "f2": Float16,
	"i8": Int64, "i4": Int32, "i2": Int16, "i1": Int8, "u1": Uint8, "b1": Bool,
}

// parseNPY reads the header at the start of an array's entry.
func parseNPY(b []byte) (npyHeader, error) {
	var h npyHeader
	if len(b) < 12 || string(b[:6]) != "\x93NUMPY" {
		return h, errors.New("not a .npy array")
	}
	n := int(b[8]) | int(b[9])<<8
	h.len = 10
	switch b[6] {
	case 1:
	case 2:
		n |= int(b[10])<<16 | int(b[11])<<24
		h.len = 12
	default:
		return h, fmt.Errorf("version %d of .npy, at most 2 is read", b[6])
	}
	if n < 0 || n > maxNPYHeader || n > len(b)-h.len {
		return h, fmt.Errorf("a header of %d bytes: damaged", n)
	}
	dict := b[h.len : h.len+n]
	h.len += n
	if !npyDict.Match(dict) {
		return h, fmt.Errorf("header %.80q is not that of a plain array", bytes.TrimSpace(dict))
	}
	r, err := npy.NewReader(bytes.NewReader(b[:h.len]))
	if err != nil {
		return h, err
	}
	d := r.Header.Descr
	dtype, ok := npyTypes[d.Type[1:]]
	if !ok {
		return h, fmt.Errorf("type %q: save it as float32", d.Type)
	}
	if len(d.Shape) > maxRank {
		return h, fmt.Errorf("%d axes, at most %d are read", len(d.Shape), maxRank)
	}
	h.dtype, h.big = dtype, d.Type[0] == '>'
	h.shape = append([]int{}, d.Shape...)
	if _, err := numel(h.shape); err != nil {
		return h, err
	}
	if d.Fortran {
		h.strides = make([]int, len(h.shape))
		step := 1
		for i, n := range h.shape {
			h.strides[i] = step
			step *= max(n, 1)
		}
	}
	return h, nil
}

// inflated is a compressed array, which is inflated whenever it is read.
type inflated struct {
	entry *zipEntry
	view  view // without a file
	skip  int  // bytes of header
}

func (s *inflated) float32s() ([]float32, error) {
	b, err := s.entry.file.bytes(s.entry.Off, s.entry.Stored)
	if err != nil {
		return nil, err
	}
	// Grow with what is there, not with what the archive says is there.
	var buf bytes.Buffer
	buf.Grow(min(s.entry.Size, 4*s.entry.Stored))
	n, err := io.Copy(&buf, io.LimitReader(flate.NewReader(bytes.NewReader(b)), int64(s.entry.Size)+1))
	if err != nil {
		return nil, formatError{fmt.Errorf("inflate: %w", err)}
	}
	if n != int64(s.entry.Size) {
		return nil, formatError{fmt.Errorf("inflates to other than %d bytes: damaged", s.entry.Size)}
	}
	if err := checksum(s.entry.Entry, crc32.ChecksumIEEE(buf.Bytes())); err != nil {
		return nil, err
	}
	v := s.view
	v.file, v.off = &mapping{data: buf.Bytes()}, s.skip
	return v.float32s()
}

func (s *inflated) release() { s.entry.file.release(s.entry.Off, s.entry.Stored) }
