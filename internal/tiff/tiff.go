// Package tiff reads the structure and the pixels of TIFF and BigTIFF files
// as whole-slide scanners write them.
//
// It is a reader for large pyramids: directories are listed without touching
// the pixels, and each tile or strip is decoded on its own, so that the
// memory used does not depend on the size of the picture. Both byte orders,
// tiles and strips, uncompressed, PackBits, LZW, Deflate, LZMA, Zstandard,
// JPEG, JPEG 2000 and WebP data are read; anything else is refused with an error that names it.
//
//	f, err := tiff.Open("slide.svs")
//	im, err := f.Dirs()[0].Image()
//	seg, err := im.Segment(0, 0) // RGBA, one tile
//
// Memory. Opening a file holds at most 1 MiB plus eight times the length of
// the file, and at most Limits.Bytes, whatever its tags claim; a segment may
// have at most Limits.Pixels pixels, a quarter of them for JPEG 2000, whose
// decoder takes up to 50 bytes for each, and is decoded only if its compressed
// length makes that many pixels possible.
package tiff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// ErrNotTIFF is returned for data that does not begin with a TIFF header.
var ErrNotTIFF = errors.New("not a TIFF file")

// ErrUnsupported is wrapped by every error about a valid file that uses a
// feature this package does not read.
var ErrUnsupported = errors.New("not supported")

// ErrMissing is wrapped by the error for a tile or strip that the file
// leaves out (length zero).
var ErrMissing = errors.New("segment is missing from the file")

// ErrCorrupt is wrapped by errors about data that contradicts itself.
var ErrCorrupt = errors.New("corrupt")

const (
	maxDirs    = 4096    // directories in a file, SubIFDs included
	maxEntries = 4096    // tags in one directory
	slack      = 1 << 20 // bytes of tag values any file may hold
)

// Limits bound what one file makes the reader hold. Zero is the default.
type Limits struct {
	Pixels int64 // of one tile or strip; 0: 1<<26
	Bytes  int64 // of the values of tags, texts among them; 0: 1<<28
}

func (l Limits) withDefaults() Limits {
	if l.Pixels <= 0 {
		l.Pixels = 1 << 26
	}
	if l.Bytes <= 0 {
		l.Bytes = 1 << 28
	}
	return l
}

// File is an open TIFF. It is safe for use by many goroutines.
type File struct {
	r      io.ReaderAt
	closer io.Closer
	size   int64
	limits Limits
	order  binary.ByteOrder
	big    bool
	dirs   []*Dir

	mu       sync.Mutex
	budget   int64 // bytes of tag values that may still be read
	warnings []string
}

// Warnings returns what is wrong with the file's structure and was passed
// over, as libtiff does.
func (f *File) Warnings() []string { return f.warnings }

func (f *File) warn(format string, args ...any) {
	f.warnings = append(f.warnings, fmt.Sprintf(format, args...))
}

// Open opens the file at path and lists its directories. The error wraps
// ErrNotTIFF if it is not a TIFF at all.
func Open(path string) (*File, error) { return OpenWithin(path, Limits{}) }

// OpenWithin is Open within limits.
func OpenWithin(path string, l Limits) (*File, error) {
	h, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("tiff: open: %w", err)
	}
	st, err := h.Stat()
	if err != nil {
		h.Close()
		return nil, fmt.Errorf("tiff: open %s: %w", path, err)
	}
	f, err := NewWithin(h, st.Size(), l)
	if err != nil {
		h.Close()
		return nil, err
	}
	f.closer = h
	return f, nil
}

// New lists the directories of the TIFF held by r, which has size bytes.
func New(r io.ReaderAt, size int64) (*File, error) { return NewWithin(r, size, Limits{}) }

// NewWithin is New within limits.
func NewWithin(r io.ReaderAt, size int64, l Limits) (*File, error) {
	l = l.withDefaults()
	f := &File{r: r, size: size, limits: l, budget: min(slack+8*size, l.Bytes)}
	first, err := f.header()
	if err != nil {
		return nil, fmt.Errorf("tiff: read header: %w", err)
	}
	seen := map[int64]bool{}
	for off := first; off != 0; {
		if len(f.dirs) >= maxDirs {
			return nil, fmt.Errorf("tiff: read directory %d: more than %d directories: %w", len(f.dirs), maxDirs, ErrCorrupt)
		}
		d, next, err := f.readDir(off, len(f.dirs), seen)
		if err != nil && len(f.dirs) > 0 && errors.Is(err, ErrCorrupt) {
			f.warn("directory %d cannot be read (%v): it and pages after it are missing", len(f.dirs), err)
			break
		}
		if err != nil {
			return nil, fmt.Errorf("tiff: read directory %d: %w", len(f.dirs), err)
		}
		f.dirs = append(f.dirs, d)
		off = next
	}
	if len(f.dirs) == 0 {
		return nil, fmt.Errorf("tiff: read header: no directory: %w", ErrCorrupt)
	}
	for _, d := range f.dirs {
		if err := f.readSubs(d, seen); err != nil {
			return nil, fmt.Errorf("tiff: read directory %d: SubIFDs: %w", d.Index, err)
		}
	}
	for _, d := range f.dirs {
		for _, o := range append([]*Dir{d}, d.Sub...) {
			o.look()
		}
	}
	return f, nil
}

// Close closes the file if Open opened it.
func (f *File) Close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

// Dirs returns the top-level directories in file order.
func (f *File) Dirs() []*Dir { return f.dirs }

// Size returns the length of the file in bytes.
func (f *File) Size() int64 { return f.size }

// Big reports whether the file is a BigTIFF.
func (f *File) Big() bool { return f.big }

// Order returns the byte order of the file.
func (f *File) Order() binary.ByteOrder { return f.order }

func (f *File) header() (first int64, err error) {
	h := make([]byte, 16)
	n, err := f.r.ReadAt(h, 0)
	if n < 8 {
		if err != nil && err != io.EOF {
			return 0, err
		}
		return 0, ErrNotTIFF
	}
	switch string(h[:2]) {
	case "II":
		f.order = binary.LittleEndian
	case "MM":
		f.order = binary.BigEndian
	default:
		return 0, ErrNotTIFF
	}
	switch f.order.Uint16(h[2:]) {
	case 42:
		return int64(f.order.Uint32(h[4:])), nil
	case 43:
		if n < 16 || f.order.Uint16(h[4:]) != 8 || f.order.Uint16(h[6:]) != 0 {
			return 0, fmt.Errorf("BigTIFF header: %w", ErrCorrupt)
		}
		f.big = true
		return f.offset(f.order.Uint64(h[8:]))
	}
	return 0, ErrNotTIFF
}

// offset checks that v is a place inside the file.
func (f *File) offset(v uint64) (int64, error) {
	if v >= uint64(f.size) {
		return 0, fmt.Errorf("offset %d beyond the end (%d bytes): %w", v, f.size, ErrCorrupt)
	}
	return int64(v), nil
}

// bytes reads n bytes at off after checking that the file has them. The
// bytes count against what one file may make the reader hold.
func (f *File) bytes(off, n int64) ([]byte, error) {
	if off < 0 || n < 0 || off > f.size || n > f.size-off {
		return nil, fmt.Errorf("%d bytes at %d beyond the end (%d bytes): %w", n, off, f.size, ErrCorrupt)
	}
	if err := f.charge(n); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	if err := readFull(f.r, b, off); err != nil {
		return nil, err
	}
	return b, nil
}

// charge counts n bytes against the budget.
func (f *File) charge(n int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.budget < n {
		return fmt.Errorf("tag values of more than eight times the file or the limit of %d bytes (MaxBytes): %w", f.limits.Bytes, ErrCorrupt)
	}
	f.budget -= n
	return nil
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}
