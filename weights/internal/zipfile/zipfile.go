// Package zipfile reads the directory of a zip archive. Entries are found, not
// copied, for use in a mapped file:
//
//	entries, _, err := zipfile.Read(file, size)
//	b := mapped[entries[0].Off:][:entries[0].Stored]
//
// Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.
package zipfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
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

// Read returns the entries of an archive of size bytes, in the order of its
// directory, and its comment. It reads the directory and the headers of the
// entries, no more: touching them in a mapped file would bring in the pages
// around each.
//
// Every entry lies inside the archive, before the directory, and overlaps no
// other; stored entries are as long in the archive as outside. Read returns an
// error if that does not hold, and for encrypted and multi-part archives.
// Contents are not looked at.
func Read(r io.ReaderAt, size int) (entries []Entry, comment []byte, err error) {
	at, n, count, comment, err := directory(r, size)
	if err != nil {
		return nil, nil, fmt.Errorf("zip: %w", err)
	}
	dir := make([]byte, n)
	if err := readAt(r, dir, at); err != nil {
		return nil, nil, fmt.Errorf("zip: directory: %w", err)
	}
	b := body{r: r, size: at}
	entries = make([]Entry, 0, count) // no more than the directory has room for
	for len(dir) > 0 {
		e, rest, err := b.entry(dir)
		if err != nil {
			return nil, nil, fmt.Errorf("zip: entry %d: %w", len(entries), err)
		}
		if len(entries) == maxEntries {
			return nil, nil, fmt.Errorf("zip: more than %d entries", maxEntries)
		}
		entries = append(entries, e)
		dir = rest
	}
	if len(entries) != count {
		return nil, nil, fmt.Errorf("zip: %d entries, the directory says %d", len(entries), count)
	}
	return entries, comment, overlaps(entries)
}

// readAt fills b from off.
func readAt(r io.ReaderAt, b []byte, off int) error {
	n, err := r.ReadAt(b, int64(off))
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return errors.New(errCutShort)
	}
	return err
}

// directory returns where the central directory is, its size in bytes and the
// number of its entries, and the archive's comment.
func directory(r io.ReaderAt, fileSize int) (at, size, count int, comment []byte, err error) {
	tail := make([]byte, min(fileSize, locator64+endLen+maxComment))
	tailAt := fileSize - len(tail)
	if err := readAt(r, tail, tailAt); err != nil {
		return 0, 0, 0, nil, err
	}
	i, ok := findEnd(tail)
	if !ok {
		return 0, 0, 0, nil, errors.New("no directory at the end: " + errCutShort)
	}
	b, end := tail[i:], tailAt+i
	le := binary.LittleEndian
	comment = b[endLen:][:le.Uint16(b[20:])] // findEnd made sure that it is there
	disk, n := uint64(le.Uint16(b[4:])), uint64(le.Uint16(b[10:]))
	length, off := uint64(le.Uint32(b[12:])), uint64(le.Uint32(b[16:]))
	if (n == max16 || length == max32 || off == max32) && i >= locator64 && le.Uint32(tail[i-locator64:]) == sigLocator {
		end64 := le.Uint64(tail[i-locator64+8:])
		b := make([]byte, end64Len)
		if end64 > uint64(end) || readAt(r, b, int(end64)) != nil || le.Uint32(b) != sigEnd64 {
			return 0, 0, 0, nil, errors.New("damaged zip64 end record")
		}
		disk, n = uint64(le.Uint32(b[16:])), le.Uint64(b[32:])
		length, off = le.Uint64(b[40:]), le.Uint64(b[48:])
		end = int(end64)
	}
	if disk != 0 {
		return 0, 0, 0, nil, errors.New("one part of several")
	}
	if off > uint64(end) || length > uint64(end)-off {
		return 0, 0, 0, nil, fmt.Errorf("directory of %d bytes at %d does not fit a file of %d", length, off, fileSize)
	}
	if n > length/centralLen {
		return 0, 0, 0, nil, fmt.Errorf("directory of %d bytes cannot hold %d entries", length, n)
	}
	return int(off), int(length), int(n), comment, nil
}

// findEnd returns where the end record is, looking back past a comment.
func findEnd(tail []byte) (int, bool) {
	for i := len(tail) - endLen; i >= 0; i-- {
		if binary.LittleEndian.Uint32(tail[i:]) == sigEnd {
			n := int(binary.LittleEndian.Uint16(tail[i+20:]))
			if i+endLen+n <= len(tail) {
				return i, true
			}
		}
	}
	return 0, false
}

// body is the part of the archive before the directory.
type body struct {
	r    io.ReaderAt
	size int
	buf  []byte
}

// entry reads the first entry of dir, and returns the rest of dir.
func (z *body) entry(dir []byte) (e Entry, rest []byte, err error) {
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
	at, err := z.contents(off, name)
	if err != nil {
		return e, nil, fmt.Errorf("%q: %w", e.Name, err)
	}
	if stored > uint64(z.size-at) {
		return e, nil, fmt.Errorf("%q: %d bytes at %d of %d: %s", e.Name, stored, at, z.size, errCutShort)
	}
	e.Off, e.Stored, e.Size = at, int(stored), int(size)
	return e, rest, nil
}

// contents returns where the data of the entry begin whose local header is at
// off, and makes sure that it has that name.
func (z *body) contents(off uint64, name []byte) (int, error) {
	n := localLen + len(name)
	if z.size < n || off > uint64(z.size-n) {
		return 0, fmt.Errorf("header at %d of %d: %s", off, z.size, errCutShort)
	}
	z.buf = slices.Grow(z.buf[:0], n)[:n]
	if err := readAt(z.r, z.buf, int(off)); err != nil {
		return 0, err
	}
	le := binary.LittleEndian
	h := z.buf
	at := int(off) + n + int(le.Uint16(h[28:]))
	if le.Uint32(h) != sigLocal || int(le.Uint16(h[26:])) != len(name) || !bytes.Equal(h[localLen:], name) || at > z.size {
		return 0, errors.New("damaged header")
	}
	return at, nil
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
