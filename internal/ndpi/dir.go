package ndpi

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/slidesam/sam/internal/tiff"
)

// The fields that are looked at.
const (
	tWidth        = 256
	tHeight       = 257
	tCompression  = 259
	tModel        = 272
	tStripOffset  = 273
	tStripSize    = 279
	tXResolution  = 282
	tYResolution  = 283
	tUnit         = 296
	tFormat       = 65420
	tLens         = 65421
	tFocalPlane   = 65424
	tStartsLow    = 65426
	tStartsHigh   = 65432
	tProperties   = 65449
	maxDirs       = 4096
	maxFields     = 4096
	typeASCII     = 2
	typeShort     = 3
	typeLong      = 4
	typeRational  = 5
	typeSLong     = 9
	typeFloat     = 11
	typeLong8     = 16
	maxProperties = 1 << 20
)

var typeSize = map[uint16]int64{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 16: 8}

// field is where the value of a field lies, or the value if it is one
// integer of 64 bits that the extension completes.
type field struct {
	typ   uint16
	count int64
	off   int64
	value uint64
	whole bool // value counts
}

type directory map[uint16]field

// file is an NDPI file: a classic little-endian TIFF, but that offsets and
// single integers have 64 bits. Their upper halves lie behind the directory
// and its eight-byte offset of the next one. Other programs write the fields
// of NDPI into a classic TIFF, without the upper halves.
type file struct {
	r       io.ReaderAt
	size    int64
	classic bool
}

func (f file) read(b []byte, off int64) error {
	if off < 0 || off > f.size || int64(len(b)) > f.size-off {
		return fmt.Errorf("%d bytes at %d beyond the end (%d bytes): %w", len(b), off, f.size, tiff.ErrCorrupt)
	}
	n, err := f.r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// detect finds out which form a file has; ErrNotNDPI if it has neither.
func (f *file) detect() (first uint64, err error) {
	head := make([]byte, 12)
	if err := f.read(head, 0); err != nil || string(head[:4]) != "II*\x00" {
		return 0, ErrNotNDPI
	}
	first = binary.LittleEndian.Uint64(head[4:])
	for _, f.classic = range []bool{false, true} {
		if f.classic {
			first &= 0xffffffff
		}
		if first == 0 || first >= uint64(f.size) {
			continue
		}
		if d, _, err := f.dir(int64(first)); err == nil && d[tFormat].count > 0 {
			return first, nil
		}
	}
	return 0, ErrNotNDPI
}

// dirs lists the directories.
func (f file) dirs(first uint64) ([]directory, error) {
	var out []directory
	seen := map[int64]bool{}
	for off := first; off != 0; {
		if off >= uint64(f.size) || seen[int64(off)] || len(out) >= maxDirs {
			return nil, fmt.Errorf("directory %d at %d: %w", len(out), off, tiff.ErrCorrupt)
		}
		seen[int64(off)] = true
		d, next, err := f.dir(int64(off))
		if err != nil {
			return nil, fmt.Errorf("directory %d: %w", len(out), err)
		}
		out = append(out, d)
		off = next
	}
	return out, nil
}

func (f file) dir(off int64) (directory, uint64, error) {
	b := make([]byte, 2)
	if err := f.read(b, off); err != nil {
		return nil, 0, err
	}
	n := int64(binary.LittleEndian.Uint16(b))
	if n == 0 || n > maxFields {
		return nil, 0, fmt.Errorf("%d fields, want 1 to %d: %w", n, maxFields, tiff.ErrCorrupt)
	}
	b = make([]byte, 12*n+8+4*n)
	have := b
	if f.classic { // the upper halves stay 0
		have = b[:12*n+4]
	}
	if err := f.read(have, off+2); err != nil {
		return nil, 0, err
	}
	d := directory{}
	for i := range n {
		e := b[12*i:]
		t := binary.LittleEndian.Uint16(e)
		fl := field{typ: binary.LittleEndian.Uint16(e[2:]), count: int64(binary.LittleEndian.Uint32(e[4:]))}
		ext := binary.LittleEndian.Uint32(b[12*n+8+4*i:])
		v := uint64(ext)<<32 | uint64(binary.LittleEndian.Uint32(e[8:]))
		size := typeSize[fl.typ]
		switch {
		case size == 0:
			continue
		case (fl.typ != typeASCII || f.classic) && fl.count*size <= 4: // Hamamatsu puts no text in place
			fl.off = off + 2 + 12*i + 8
			if fl.typ == typeLong && fl.count == 1 {
				fl.value, fl.whole = v, true
			}
		case v > uint64(f.size) || fl.count > f.size/size || int64(v) > f.size-fl.count*size:
			return nil, 0, fmt.Errorf("field %d: %d values at %d beyond the end (%d bytes): %w", t, fl.count, v, f.size, tiff.ErrCorrupt)
		default:
			fl.off = int64(v)
		}
		d[t] = fl
	}
	return d, binary.LittleEndian.Uint64(b[12*n:]), nil
}

// uint returns the first value of an integer field, 0 if there is none.
func (f file) uint(d directory, t uint16) (uint64, error) {
	fl, ok := d[t]
	switch {
	case !ok || fl.count == 0:
		return 0, nil
	case fl.whole:
		return fl.value, nil
	}
	b := make([]byte, typeSize[fl.typ])
	if err := f.read(b, fl.off); err != nil {
		return 0, fmt.Errorf("field %d: %w", t, err)
	}
	switch fl.typ {
	case typeShort:
		return uint64(binary.LittleEndian.Uint16(b)), nil
	case typeLong:
		return uint64(binary.LittleEndian.Uint32(b)), nil
	case typeSLong:
		return uint64(int64(int32(binary.LittleEndian.Uint32(b)))), nil
	case typeLong8:
		return binary.LittleEndian.Uint64(b), nil
	}
	return 0, fmt.Errorf("field %d: type %d is not an integer: %w", t, fl.typ, tiff.ErrCorrupt)
}

// float returns the first value of a rational or floating-point field.
func (f file) float(d directory, t uint16) (float64, error) {
	fl := d[t]
	if fl.count == 0 {
		return 0, nil
	}
	b := make([]byte, typeSize[fl.typ])
	if err := f.read(b, fl.off); err != nil {
		return 0, fmt.Errorf("field %d: %w", t, err)
	}
	v := 0.0
	switch fl.typ {
	case typeFloat:
		v = float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case typeRational:
		v = float64(binary.LittleEndian.Uint32(b)) / float64(binary.LittleEndian.Uint32(b[4:]))
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	return v, nil
}

// text returns a text field, empty if it is absent or unreadable.
func (f file) text(d directory, t uint16) string {
	fl := d[t]
	if fl.typ != typeASCII || fl.count == 0 || fl.count > maxProperties {
		return ""
	}
	b := make([]byte, fl.count)
	if f.read(b, fl.off) != nil {
		return ""
	}
	for i, c := range b {
		if c == 0 {
			return string(b[:i])
		}
	}
	return string(b)
}

// longs reads a field of n LONG values; nil if it has another number.
func (f file) longs(d directory, t uint16, n int64) ([]uint32, error) {
	fl := d[t]
	if fl.typ != typeLong || fl.count != n {
		return nil, nil
	}
	b := make([]byte, 4*n)
	if err := f.read(b, fl.off); err != nil {
		return nil, fmt.Errorf("field %d: %w", t, err)
	}
	out := make([]uint32, n)
	for i := range out {
		out[i] = binary.LittleEndian.Uint32(b[4*i:])
	}
	return out, nil
}
