package tiff

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"
	"slices"
)

const (
	digestWhole    = 64 << 20 // bytes of a file that all count
	digestSegments = 64       // of each directory whose bytes count in a longer one
	digestBytes    = 1 << 18  // of each of them
)

// Digest tells files apart by their content: it is a hash of all bytes of a
// file of up to 64 MiB. Of a longer one it is a hash of the length, of all
// fields of all directories, where segments lie and how long they are among
// them, and of the first 256 KiB of up to 64 segments of each directory, evenly
// spread, so that it takes seconds, however long the file is.
func (f *File) Digest() (string, error) {
	h := sha256.New()
	le := binary.LittleEndian
	number := func(v uint64) { h.Write(le.AppendUint64(nil, v)) }
	number(uint64(f.size))
	if f.size <= digestWhole {
		if _, err := io.Copy(h, io.NewSectionReader(f.r, 0, f.size)); err != nil {
			return "", err
		}
		return hex.EncodeToString(h.Sum(nil)[:16]), nil
	}
	var walk func(d *Dir) error
	walk = func(d *Dir) error {
		tags := make([]Tag, 0, len(d.entries))
		for t := range d.entries {
			tags = append(tags, t)
		}
		slices.Sort(tags)
		for _, t := range tags {
			e, b, err := d.raw(t)
			if err != nil {
				continue // Image says so, if it matters
			}
			number(uint64(t))
			number(uint64(e.typ))
			number(uint64(len(b)))
			h.Write(b)
		}
		offs, sizes := StripOffsets, StripByteCounts
		if d.Has(TileOffsets) {
			offs, sizes = TileOffsets, TileByteCounts
		}
		at, err := d.Uints(offs)
		if err != nil {
			return nil //nolint:nilerr // the field is no list: it was hashed as it stands
		}
		n, err := d.Uints(sizes)
		if err != nil {
			return nil //nolint:nilerr // as above
		}
		k := min(len(at), len(n))
		for i := range min(k, digestSegments) {
			j := i * k / min(k, digestSegments)
			length := min(n[j], digestBytes)
			if at[j] > uint64(f.size) || length > uint64(f.size)-at[j] {
				continue
			}
			b := make([]byte, length)
			if err := readFull(f.r, b, int64(at[j])); err != nil {
				return err
			}
			h.Write(b)
		}
		for _, s := range d.Sub {
			if err := walk(s); err != nil {
				return err
			}
		}
		return nil
	}
	for _, d := range f.dirs {
		if err := walk(d); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), nil
}
