package tiff

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"sync"
)

// Tag is the number of a TIFF field.
type Tag uint16

// The fields this package and its callers look at.
const (
	NewSubfileType   Tag = 254
	ImageWidth       Tag = 256
	ImageLength      Tag = 257
	BitsPerSample    Tag = 258
	Compression      Tag = 259
	Photometric      Tag = 262
	FillOrder        Tag = 266
	ImageDescription Tag = 270
	Make             Tag = 271
	Model            Tag = 272
	StripOffsets     Tag = 273
	SamplesPerPixel  Tag = 277
	RowsPerStrip     Tag = 278
	StripByteCounts  Tag = 279
	XResolution      Tag = 282
	YResolution      Tag = 283
	PlanarConfig     Tag = 284
	ResolutionUnit   Tag = 296
	Software         Tag = 305
	Predictor        Tag = 317
	ColorMap         Tag = 320
	TileWidth        Tag = 322
	TileLength       Tag = 323
	TileOffsets      Tag = 324
	TileByteCounts   Tag = 325
	SubIFDs          Tag = 330
	ExtraSamples     Tag = 338
	SampleFormat     Tag = 339
	JPEGTables       Tag = 347
	YCbCrSubsampling Tag = 530
	XMP              Tag = 700
	ICCProfile       Tag = 34675
	NDPIFormat       Tag = 65420
)

// entry is one field of a directory: where its value lies.
type entry struct {
	typ   uint16
	count uint64
	off   int64
}

// typeSize is the length in bytes of one value of each TIFF type.
var typeSize = [19]int64{1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}

// Dir is one directory (IFD): the fields of one picture. Values are read
// from the file when asked for.
type Dir struct {
	// Index is the position among the top-level directories; a SubIFD has
	// the index of its parent.
	Index int
	// Sub are the directories of the SubIFDs field, in its order.
	Sub []*Dir

	f       *File
	entries map[Tag]entry
	once    sync.Once
	im      *Image
	imErr   error
}

// readDir reads the directory at off and the offset of the next one.
func (f *File) readDir(off int64, index int, seen map[int64]bool) (*Dir, int64, error) {
	if seen[off] {
		return nil, 0, fmt.Errorf("directory at %d is listed twice: %w", off, ErrCorrupt)
	}
	seen[off] = true
	nlen, elen, olen := int64(2), int64(12), int64(4)
	if f.big {
		nlen, elen, olen = 8, 20, 8
	}
	b, err := f.bytes(off, nlen)
	if err != nil {
		return nil, 0, err
	}
	n := uint64(0)
	if f.big {
		n = f.order.Uint64(b)
	} else {
		n = uint64(f.order.Uint16(b))
	}
	if n == 0 || n > maxEntries {
		return nil, 0, fmt.Errorf("%d fields, want 1 to %d: %w", n, maxEntries, ErrCorrupt)
	}
	if b, err = f.bytes(off+nlen, int64(n)*elen); err != nil {
		return nil, 0, err
	}
	d := &Dir{Index: index, f: f, entries: make(map[Tag]entry, n)}
	for i := int64(0); i < int64(n); i++ {
		e := b[i*elen:]
		en := entry{typ: f.order.Uint16(e[2:]), off: off + nlen + i*elen + elen - olen}
		v := e[elen-olen:]
		var at uint64
		if f.big {
			en.count, at = f.order.Uint64(e[4:]), f.order.Uint64(v)
		} else {
			en.count, at = uint64(f.order.Uint32(e[4:])), uint64(f.order.Uint32(v))
		}
		if int(en.typ) >= len(typeSize) || typeSize[en.typ] == 0 {
			continue // readers must skip unknown types
		}
		if en.count > uint64(olen)/uint64(typeSize[en.typ]) {
			if at > math.MaxInt64 {
				at = math.MaxInt64
			}
			en.off = int64(at)
		}
		tag := Tag(f.order.Uint16(e))
		if _, dup := d.entries[tag]; !dup {
			d.entries[tag] = en
		}
	}
	// Some writers end the file right after the last directory.
	next := int64(0)
	if end := off + nlen + int64(n)*elen; end+olen <= f.size {
		if b, err = f.bytes(end, olen); err != nil {
			return nil, 0, err
		}
		u := uint64(0)
		if f.big {
			u = f.order.Uint64(b)
		} else {
			u = uint64(f.order.Uint32(b))
		}
		if u != 0 {
			// What is there so far is read, as libtiff does.
			if next, err = f.offset(u); err != nil {
				next = 0
				f.warn("directory %d: the next one would lie at byte %d of %d: pages after it are missing", index, u, f.size)
			} else if seen[next] {
				next = 0
				f.warn("directory %d: the next one is an earlier one again: the list ends here", index)
			}
		}
	}
	return d, next, nil
}

// readSubs reads the SubIFDs of d, one level deep.
func (f *File) readSubs(d *Dir, seen map[int64]bool) error {
	if !d.Has(SubIFDs) {
		return nil
	}
	offs, err := d.Uints(SubIFDs)
	if errors.Is(err, ErrCorrupt) {
		f.warn("directory %d: the SubIFDs cannot be read (%v) and are left out", d.Index, err)
		return nil
	}
	if err != nil {
		return err
	}
	for _, u := range offs {
		if len(seen) >= maxDirs {
			return fmt.Errorf("more than %d directories: %w", maxDirs, ErrCorrupt)
		}
		if u == 0 {
			f.warn("directory %d: a SubIFD at byte 0 is left out", d.Index)
			continue
		}
		off, err := f.offset(u)
		var s *Dir
		if err == nil {
			s, _, err = f.readDir(off, d.Index, seen)
		}
		if errors.Is(err, ErrCorrupt) {
			f.warn("directory %d: a SubIFD cannot be read (%v) and is left out", d.Index, err)
			continue
		}
		if err != nil {
			return err
		}
		d.Sub = append(d.Sub, s)
	}
	return nil
}

// Has reports whether the field is there.
func (d *Dir) Has(t Tag) bool { _, ok := d.entries[t]; return ok }

// raw returns the bytes of a field's value, nil if it is absent.
func (d *Dir) raw(t Tag) (entry, []byte, error) {
	e, ok := d.entries[t]
	if !ok {
		return e, nil, nil
	}
	size := typeSize[e.typ]
	if e.count > uint64(d.f.size)/uint64(size) {
		return e, nil, fmt.Errorf("tag %d: %d values of %d bytes in a file of %d: %w", t, e.count, size, d.f.size, ErrCorrupt)
	}
	b, err := d.f.bytes(e.off, int64(e.count)*size)
	if err != nil {
		return e, nil, fmt.Errorf("tag %d: %w", t, err)
	}
	return e, b, nil
}

// Bytes returns the value of a field as the file has it, nil if absent.
func (d *Dir) Bytes(t Tag) ([]byte, error) {
	_, b, err := d.raw(t)
	return b, err
}

// Text returns the value of a text field up to its closing zero byte, empty
// if the field is absent or unreadable.
func (d *Dir) Text(t Tag) string {
	e, b, err := d.raw(t)
	if err != nil || (e.typ != 2 && e.typ != 1 && e.typ != 7) {
		return ""
	}
	return string(bytes.TrimRight(b, "\x00"))
}

// Uints returns the values of an unsigned integer field, nil if absent.
func (d *Dir) Uints(t Tag) ([]uint64, error) {
	e, b, err := d.raw(t)
	if b == nil || err != nil {
		return nil, err
	}
	if err := d.f.charge(8 * int64(e.count)); err != nil {
		return nil, fmt.Errorf("tag %d: %w", t, err)
	}
	v := make([]uint64, e.count)
	for i := range v {
		switch e.typ {
		case 1, 7:
			v[i] = uint64(b[i])
		case 3:
			v[i] = uint64(d.f.order.Uint16(b[2*i:]))
		case 4, 13:
			v[i] = uint64(d.f.order.Uint32(b[4*i:]))
		case 6, 8, 9: // signed, as some writers have it for sizes
			n := signed(e.typ, b, i, d.f.order)
			if n < 0 {
				return nil, fmt.Errorf("tag %d: %d, want no negative number: %w", t, n, ErrCorrupt)
			}
			v[i] = uint64(n)
		case 16, 18:
			v[i] = d.f.order.Uint64(b[8*i:])
		default:
			return nil, fmt.Errorf("tag %d: type %d is not an unsigned integer: %w", t, e.typ, ErrCorrupt)
		}
	}
	return v, nil
}

// look warns of fields that are read although they are wrong.
func (d *Dir) look() {
	for _, t := range []Tag{ImageWidth, ImageLength} {
		if e, ok := d.entries[t]; ok && (e.typ == 6 || e.typ == 8 || e.typ == 9) {
			d.f.warn("directory %d: tag %d, a side of the picture, is a signed number", d.Index, t)
		}
	}
	if v, err := d.Uint(FillOrder, 1); err == nil && v == 0 {
		d.f.warn("directory %d: fill order 0, read as 1", d.Index)
	}
}

// signed returns the i-th value of a signed field.
func signed(typ uint16, b []byte, i int, o binary.ByteOrder) int64 {
	switch typ {
	case 6:
		return int64(int8(b[i]))
	case 8:
		return int64(int16(o.Uint16(b[2*i:])))
	}
	return int64(int32(o.Uint32(b[4*i:])))
}

// Uint returns the first value of an unsigned integer field, def if the
// field is absent.
func (d *Dir) Uint(t Tag, def uint64) (uint64, error) {
	v, err := d.Uints(t)
	if err != nil {
		return 0, err
	}
	if len(v) == 0 {
		return def, nil
	}
	return v[0], nil
}

// Float returns the first value of a rational or floating-point field, 0 if
// the field is absent, unreadable or not a finite number.
func (d *Dir) Float(t Tag) float64 {
	e, b, err := d.raw(t)
	if err != nil || int64(len(b)) < max(typeSize[e.typ], 1) {
		return 0
	}
	return floatValue(e.typ, b, d.f.order)
}

func floatValue(typ uint16, b []byte, o binary.ByteOrder) float64 {
	v := 0.0
	switch typ {
	case 3:
		v = float64(o.Uint16(b))
	case 4:
		v = float64(o.Uint32(b))
	case 5:
		v = float64(o.Uint32(b)) / float64(o.Uint32(b[4:]))
	case 11:
		v = float64(math.Float32frombits(o.Uint32(b)))
	case 12:
		v = math.Float64frombits(o.Uint64(b))
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return v
}
