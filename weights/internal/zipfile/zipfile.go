// Package zipfile reads the directory of a zip archive that is in memory, such
// as a mapped checkpoint. Entries are found, not copied:
//
//	entries, err := zipfile.Read(data)
//	b := data[entries[0].Off:][:entries[0].Stored]
//
// Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.
package zipfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// Methods of compression.
const (
	Store   = 0
	Deflate = 8
)

// Entry is one file of an archive.
type Entry struct {
	Name   string
	Method uint16
	CRC32  uint32 // of the contents; 0 if the writer did not compute it
	Off    int    // of the first stored byte
	Stored int    // bytes in the archive
	Size   int    // bytes when uncompressed
}

// IsZip reports whether data begins as a zip archive does.
func IsZip(data []byte) bool {
	return bytes.HasPrefix(data, []byte("PK\x03\x04")) || bytes.HasPrefix(data, []byte("PK\x05\x06"))
}

const (
	localLen    = 30
	centralLen  = 46
	endLen      = 22
	end64Len    = 56
	locator64   = 20
	maxComment  = 1<<16 - 1
	maxEntries  = 1 << 17 // ViT-H with the state of its optimizer has about 2,000
	max32       = 1<<32 - 1
	max16       = 1<<16 - 1
	encrypted   = 1 << 0
	extra64     = 1
	sigLocal    = 0x04034b50
	sigCentral  = 0x02014b50
	sigEnd      = 0x06054b50
	sigEnd64    = 0x06064b50
	sigLocator  = 0x07064b50
	errCutShort = "the file is cut short"
)

// Read returns the entries of an archive in the order of its directory.
//
// Every entry lies inside data, before the directory, and overlaps no other;
// stored entries are as long in the archive as outside. It returns an error if
// that does not hold, and for encrypted and multi-part archives. Contents are
// not looked at.
func Read(data []byte) ([]Entry, error) {
	at, size, count, err := directory(data)
	if err != nil {
		return nil, fmt.Errorf("zip: %w", err)
	}
	dir := data[at : at+size]
	// The count is a claim; the space that entries take is not.
	entries := make([]Entry, 0, min(count, len(dir)/centralLen))
	for len(dir) > 0 {
		e, rest, err := central(dir, data[:at])
		if err != nil {
			return nil, fmt.Errorf("zip: entry %d: %w", len(entries), err)
		}
		if len(entries) == maxEntries {
			return nil, fmt.Errorf("zip: more than %d entries", maxEntries)
		}
		entries = append(entries, e)
		dir = rest
	}
	if len(entries) != count {
		return nil, fmt.Errorf("zip: %d entries, the directory says %d", len(entries), count)
	}
	return entries, overlaps(entries)
}

// directory returns where the central directory is, its size in bytes and the
// number of its entries.
func directory(data []byte) (at, size, count int, err error) {
	end, ok := findEnd(data)
	if !ok {
		return 0, 0, 0, errors.New("no directory at the end: " + errCutShort)
	}
	b := data[end:]
	le := binary.LittleEndian
	disk, n := uint64(le.Uint16(b[4:])), uint64(le.Uint16(b[10:]))
	length, off := uint64(le.Uint32(b[12:])), uint64(le.Uint32(b[16:]))
	if n == max16 || length == max32 || off == max32 {
		end64, err := findEnd64(data, end)
		if err != nil {
			return 0, 0, 0, err
		}
		if end64 >= 0 {
			b := data[end64:]
			disk, n = uint64(le.Uint32(b[16:])), le.Uint64(b[32:])
			length, off = le.Uint64(b[40:]), le.Uint64(b[48:])
			end = end64
		}
	}
	if disk != 0 {
		return 0, 0, 0, errors.New("one part of several")
	}
	if off > uint64(end) || length > uint64(end)-off {
		return 0, 0, 0, fmt.Errorf("directory of %d bytes at %d does not fit a file of %d", length, off, len(data))
	}
	if n > length/centralLen {
		return 0, 0, 0, fmt.Errorf("directory of %d bytes cannot hold %d entries", length, n)
	}
	return int(off), int(length), int(n), nil
}

// findEnd returns where the end record is, looking back past a comment.
func findEnd(data []byte) (int, bool) {
	for i := len(data) - endLen; i >= 0 && i >= len(data)-endLen-maxComment; i-- {
		if binary.LittleEndian.Uint32(data[i:]) == sigEnd {
			n := int(binary.LittleEndian.Uint16(data[i+20:]))
			if i+endLen+n <= len(data) {
				return i, true
			}
		}
	}
	return 0, false
}

// findEnd64 returns where the zip64 end record is, or -1 if there is none.
func findEnd64(data []byte, end int) (int, error) {
	at := end - locator64
	if at < 0 || binary.LittleEndian.Uint32(data[at:]) != sigLocator {
		return -1, nil
	}
	off := binary.LittleEndian.Uint64(data[at+8:])
	if at < end64Len || off > uint64(at-end64Len) || binary.LittleEndian.Uint32(data[off:]) != sigEnd64 {
		return 0, errors.New("damaged zip64 end record")
	}
	return int(off), nil
}

// central reads the first entry of dir and finds its data in body, the part of
// the file before the directory. It returns the rest of dir.
func central(dir, body []byte) (e Entry, rest []byte, err error) {
	le := binary.LittleEndian
	if len(dir) < centralLen || le.Uint32(dir) != sigCentral {
		return e, nil, errors.New("damaged directory")
	}
	flags := le.Uint16(dir[8:])
	e.Method, e.CRC32 = le.Uint16(dir[10:]), le.Uint32(dir[16:])
	stored, size := uint64(le.Uint32(dir[20:])), uint64(le.Uint32(dir[24:]))
	nameLen, extraLen, noteLen := int(le.Uint16(dir[28:])), int(le.Uint16(dir[30:])), int(le.Uint16(dir[32:]))
	off := uint64(le.Uint32(dir[42:]))
	if len(dir)-centralLen < nameLen+extraLen+noteLen {
		return e, nil, errors.New("damaged directory")
	}
	name := dir[centralLen : centralLen+nameLen]
	extra := dir[centralLen+nameLen:][:extraLen]
	rest = dir[centralLen+nameLen+extraLen+noteLen:]
	e.Name = string(name)
	if err := sizes64(extra, &size, &stored, &off); err != nil {
		return e, nil, fmt.Errorf("%q: %w", e.Name, err)
	}
	if flags&encrypted != 0 {
		return e, nil, fmt.Errorf("%q: encrypted", e.Name)
	}
	if e.Method == Store && stored != size {
		return e, nil, fmt.Errorf("%q: stored as %d bytes, size %d", e.Name, stored, size)
	}
	if size > math.MaxInt {
		return e, nil, fmt.Errorf("%q: size %d is too large", e.Name, size)
	}
	at, err := contents(body, off, name)
	if err != nil {
		return e, nil, fmt.Errorf("%q: %w", e.Name, err)
	}
	if stored > uint64(len(body)-at) {
		return e, nil, fmt.Errorf("%q: %d bytes at %d of %d: %s", e.Name, stored, at, len(body), errCutShort)
	}
	e.Off, e.Stored, e.Size = at, int(stored), int(size)
	return e, rest, nil
}

// contents returns where the data of the entry begin whose local header is at
// off, and makes sure that it has that name.
func contents(body []byte, off uint64, name []byte) (int, error) {
	le := binary.LittleEndian
	if len(body) < localLen || off > uint64(len(body)-localLen) {
		return 0, fmt.Errorf("header at %d of %d: %s", off, len(body), errCutShort)
	}
	h := body[off:]
	if le.Uint32(h) != sigLocal {
		return 0, errors.New("damaged header")
	}
	n, x := int(le.Uint16(h[26:])), int(le.Uint16(h[28:]))
	if localLen+n+x > len(h) || !bytes.Equal(h[localLen:localLen+n], name) {
		return 0, errors.New("damaged header")
	}
	return int(off) + localLen + n + x, nil
}

// sizes64 replaces the values that did not fit 32 bits by those of the zip64
// extra field, which has them in this order.
func sizes64(extra []byte, values ...*uint64) error {
	le := binary.LittleEndian
	for len(extra) >= 4 {
		id, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		if n > len(extra)-4 {
			break
		}
		field := extra[4 : 4+n]
		extra = extra[4+n:]
		if id != extra64 {
			continue
		}
		for _, v := range values {
			if *v != max32 {
				continue
			}
			if len(field) < 8 {
				return errors.New("damaged zip64 field")
			}
			*v = le.Uint64(field)
			field = field[8:]
		}
		return nil
	}
	return nil
}

// overlaps returns an error if two entries share bytes.
func overlaps(entries []Entry) error {
	byOff := make([]*Entry, len(entries))
	for i := range entries {
		byOff[i] = &entries[i]
	}
	slices.SortFunc(byOff, func(a, b *Entry) int { return a.Off - b.Off })
	for i := 1; i < len(byOff); i++ {
		if a, b := byOff[i-1], byOff[i]; a.Off+a.Stored > b.Off {
			return fmt.Errorf("zip: %q and %q overlap", a.Name, b.Name)
		}
	}
	return nil
}
