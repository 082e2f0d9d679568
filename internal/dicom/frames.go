package dicom

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/slidesam/sam/internal/tiff"
)

// frameIndex says where the frames of an instance are.
type frameIndex struct {
	native int64   // bytes of a frame of native pixel data, 0 if encapsulated
	start  []int64 // of the first item of each frame, and of the end
	n      int64   // frames
}

// indexFrames finds the frames. Encapsulated ones come from the extended
// offset table, the basic one or, if both are empty, a walk over the items.
func (in *instance) indexFrames() error {
	if in.rows <= 0 || in.columns <= 0 || in.rows*in.columns > maxTile {
		return fmt.Errorf("frames of %d x %d: %w", in.columns, in.rows, tiff.ErrCorrupt)
	}
	if in.frames <= 0 || in.frames > maxFrames {
		return fmt.Errorf("%d frames, want 1 to %d: %w", in.frames, maxFrames, tiff.ErrUnsupported)
	}
	in.index = frameIndex{n: in.frames}
	encapsulated := codecOf(in.syntax) != native
	if encapsulated != (in.pixelLen == undefined) {
		return fmt.Errorf("transfer syntax %s with pixel data of %d bytes: %w", syntaxName(in.syntax), in.pixelLen, tiff.ErrCorrupt)
	}
	if !encapsulated {
		in.index.native = in.rows * in.columns * in.samples
		if have := min(in.pixelLen, in.size-in.pixelAt); in.index.native*in.frames > have {
			return fmt.Errorf("%d frames of %d bytes in %d: %w", in.frames, in.index.native, have, tiff.ErrCorrupt)
		}
		return nil
	}
	s := &stream{r: in.r, size: in.size, pos: in.pixelAt, implicit: true}
	t, _, n, err := s.header()
	if err != nil {
		return err
	}
	if t != tItem || n > in.size-s.pos || n%4 != 0 {
		return fmt.Errorf("offset table %08x of %d bytes: %w", uint32(t), n, tiff.ErrCorrupt)
	}
	table, base := span{s.pos, n}, s.pos+n
	switch {
	case in.extOffsets.n > 0:
		err = in.offsetTable(in.extOffsets, 8, base)
	case n > 0:
		err = in.offsetTable(table, 4, base)
	default:
		err = in.walkItems(base)
	}
	return err
}

// offsetTable reads the frames' offsets, of size bytes each, from base on.
func (in *instance) offsetTable(t span, size int, base int64) error {
	if t.n != in.frames*int64(size) {
		return fmt.Errorf("offset table of %d bytes for %d frames: %w", t.n, in.frames, tiff.ErrCorrupt)
	}
	b := make([]byte, t.n)
	if err := readFull(in.r, b, t.off); err != nil {
		return err
	}
	start := make([]int64, in.frames, in.frames+1)
	wraps, last := int64(0), int64(-1)
	for i := range start {
		v := int64(0)
		if size == 8 {
			u := binary.LittleEndian.Uint64(b[8*i:])
			v = int64(min(u, math.MaxInt64/2))
		} else {
			// Writers of files over 4 GiB let the 32 bits run over.
			v = int64(binary.LittleEndian.Uint32(b[4*i:])) + wraps
			if v <= last {
				wraps += 1 << 32
				v += 1 << 32
			}
		}
		if v <= last || v > in.size-base-8 {
			return fmt.Errorf("frame %d at %d of %d bytes: %w", i, v, in.size-base, tiff.ErrCorrupt)
		}
		start[i], last = base+v, v
	}
	end, err := in.endOfItems(start[len(start)-1])
	in.index.start = append(start, end)
	return err
}

// endOfItems returns where the run of items from off on ends.
func (in *instance) endOfItems(off int64) (int64, error) {
	s := &stream{r: in.r, size: in.size, pos: off, implicit: true}
	for {
		at := s.pos
		if at+8 > in.size {
			return at, nil // some writers leave the delimiter out
		}
		t, _, n, err := s.header()
		if err != nil {
			return 0, err
		}
		if t != tItem {
			return at, nil
		}
		if n > in.size-s.pos {
			return 0, fmt.Errorf("fragment of %d bytes at %d beyond the end (%d bytes): %w", n, at, in.size, tiff.ErrCorrupt)
		}
		s.pos += n
	}
}

// walkItems finds the frames without a table: one of each item, or, if
// there are more items than frames, from each start of a codestream on.
func (in *instance) walkItems(off int64) error {
	var items, starts []int64
	head := make([]byte, 2)
	for {
		s := &stream{r: in.r, size: in.size, pos: off, implicit: true}
		if off+8 > in.size {
			break
		}
		b := make([]byte, 8)
		if err := readFull(in.r, b, off); err != nil {
			return err
		}
		s.buf, s.bufAt = b, off
		t, _, n, err := s.header()
		if err != nil {
			return err
		}
		if t != tItem {
			break
		}
		if n > in.size-off-8 {
			return fmt.Errorf("fragment of %d bytes at %d beyond the end (%d bytes): %w", n, off, in.size, tiff.ErrCorrupt)
		}
		if len(items) >= 4*maxFrames {
			return fmt.Errorf("more than %d fragments: %w", 4*maxFrames, tiff.ErrUnsupported)
		}
		if n >= 2 {
			if err := readFull(in.r, head, off+8); err != nil {
				return err
			}
			if bytes.Equal(head, []byte{0xff, 0xd8}) || bytes.Equal(head, []byte{0xff, 0x4f}) {
				starts = append(starts, off)
			}
		}
		items = append(items, off)
		off += 8 + n
	}
	switch int64(len(items)) {
	case in.frames:
		starts = items
	case 0:
		return fmt.Errorf("no fragment: %w", tiff.ErrCorrupt)
	}
	if in.frames == 1 {
		starts = items[:1]
	}
	if int64(len(starts)) != in.frames {
		return fmt.Errorf("%d fragments begin a picture, want %d frames: %w", len(starts), in.frames, tiff.ErrCorrupt)
	}
	in.index.start = append(starts, off)
	return nil
}

// frame reads the bytes of frame i, fragments joined.
func (in *instance) frame(i int64) ([]byte, error) {
	if i < 0 || i >= in.index.n {
		return nil, fmt.Errorf("frame %d of %d: %w", i, in.index.n, tiff.ErrCorrupt)
	}
	if n := in.index.native; n > 0 {
		b := make([]byte, n)
		return b, readFull(in.r, b, in.pixelAt+i*n)
	}
	from, to := in.index.start[i], in.index.start[i+1]
	// No coding makes a picture more than a few times larger than its samples.
	if limit := 4*in.rows*in.columns*in.samples + 1<<20; to-from > limit {
		return nil, fmt.Errorf("frame of %d bytes, over %d: %w", to-from, limit, tiff.ErrCorrupt)
	}
	b := make([]byte, to-from)
	if err := readFull(in.r, b, from); err != nil {
		return nil, err
	}
	out := b[:0]
	for p := 0; p+8 <= len(b); {
		t := tag(binary.LittleEndian.Uint16(b[p:]))<<16 | tag(binary.LittleEndian.Uint16(b[p+2:]))
		n := int64(binary.LittleEndian.Uint32(b[p+4:]))
		if t != tItem || n > int64(len(b)-p-8) {
			return nil, fmt.Errorf("fragment %08x of %d bytes: %w", uint32(t), n, tiff.ErrCorrupt)
		}
		out = append(out, b[p+8:p+8+int(n)]...)
		p += 8 + int(n)
	}
	return out, nil
}

func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%d bytes at %d: %w", len(b), off, err)
}
