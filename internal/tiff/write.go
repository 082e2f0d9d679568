package tiff

import (
	"encoding/binary"
	"io"
)

// FieldType is the type of a field's values.
type FieldType uint16

// The types that Writer writes.
const (
	Short    FieldType = 3  // 16 bits
	Long     FieldType = 4  // 32 bits
	Rational FieldType = 5  // numerator in the lower, denominator in the upper 32 bits
	Long8    FieldType = 16 // 64 bits
)

// Field is one field of a directory that is to be written. A field without
// values is left out.
type Field struct {
	Tag    Tag
	Type   FieldType
	Values []uint64
}

// HeaderSize is the length of the header of a BigTIFF file.
const HeaderSize = 16

// Writer writes a little-endian BigTIFF file in one pass. The header, which
// says where the first directory lies, is known at the end alone: the caller
// puts Header at the beginning of the file. Its first error sticks.
type Writer struct {
	w     io.Writer
	at    uint64
	first uint64
	err   error
}

// NewWriter returns a Writer on w and writes HeaderSize bytes in the header's
// place.
func NewWriter(w io.Writer) *Writer {
	t := &Writer{w: w}
	t.write(make([]byte, HeaderSize))
	return t
}

// Err returns the first error of the underlying writer.
func (t *Writer) Err() error { return t.err }

func (t *Writer) write(b []byte) {
	if t.err != nil {
		return
	}
	n, err := t.w.Write(b)
	t.at += uint64(n)
	t.err = err
}

// Segment writes a tile or strip and returns its offset and length.
func (t *Writer) Segment(b []byte) (offset, length uint64) {
	offset = t.at
	t.write(b)
	return offset, uint64(len(b))
}

// Header returns the file's header, once all directories are written.
func (t *Writer) Header() []byte {
	return binary.LittleEndian.AppendUint64([]byte{'I', 'I', 43, 0, 8, 0, 0, 0}, t.first)
}

// Directories writes the file's directories, one after the other. Fields must
// be in the order of their tags.
func (t *Writer) Directories(dirs ...[]Field) {
	t.first = t.at
	for i, fields := range dirs {
		t.directory(fields, i == len(dirs)-1)
	}
}

// directory writes a directory, where the next one lies, and the values that
// are too long for an entry.
func (t *Writer) directory(fields []Field, last bool) {
	le := binary.LittleEndian
	count := 0
	for _, f := range fields {
		if len(f.Values) > 0 {
			count++
		}
	}
	place := t.at + 8 + uint64(20*count) + 8 // of the first long value
	dir := le.AppendUint64(nil, uint64(count))
	var long []byte
	for _, f := range fields {
		if len(f.Values) == 0 {
			continue
		}
		dir = le.AppendUint16(le.AppendUint16(dir, uint16(f.Tag)), uint16(f.Type))
		dir = le.AppendUint64(dir, uint64(len(f.Values)))
		b := f.bytes()
		if len(b) > 8 {
			dir = le.AppendUint64(dir, place+uint64(len(long)))
			long = append(long, b...)
			continue
		}
		dir = append(dir, append(b, make([]byte, 8-len(b))...)...)
	}
	next := place + uint64(len(long))
	if last {
		next = 0
	}
	t.write(le.AppendUint64(dir, next))
	t.write(long)
}

// bytes returns the field's values as they lie in the file.
func (f Field) bytes() []byte {
	le := binary.LittleEndian
	var b []byte
	for _, v := range f.Values {
		switch f.Type {
		case Short:
			b = le.AppendUint16(b, uint16(v))
		case Long:
			b = le.AppendUint32(b, uint32(v))
		default:
			b = le.AppendUint64(b, v)
		}
	}
	return b
}
