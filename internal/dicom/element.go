package dicom

import (
	"encoding/binary"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// tag is a data element's number: the group in the upper 16 bits.
type tag uint32

// The elements that are looked at.
const (
	tTransferSyntax   tag = 0x00020010
	tImageType        tag = 0x00080008
	tSOPClass         tag = 0x00080016
	tSOPInstance      tag = 0x00080018
	tPyramidUID       tag = 0x00080019
	tManufacturer     tag = 0x00080070
	tModelName        tag = 0x00081090
	tSeriesUID        tag = 0x0020000e
	tInstanceNumber   tag = 0x00200013
	tConcatenationUID tag = 0x00209161
	tInConcatenation  tag = 0x00209162
	tInConcatTotal    tag = 0x00209163
	tConcatOffset     tag = 0x00209228
	tOrganization     tag = 0x00209311
	tSamples          tag = 0x00280002
	tPhotometric      tag = 0x00280004
	tPlanar           tag = 0x00280006
	tFrames           tag = 0x00280008
	tRows             tag = 0x00280010
	tColumns          tag = 0x00280011
	tPixelSpacing     tag = 0x00280030
	tBitsAllocated    tag = 0x00280100
	tBitsStored       tag = 0x00280101
	tICCProfile       tag = 0x00282000
	tPixelMeasures    tag = 0x00289110
	tZOffset          tag = 0x0040074a
	tVolumeWidth      tag = 0x00480001
	tVolumeHeight     tag = 0x00480002
	tMatrixColumns    tag = 0x00480006
	tMatrixRows       tag = 0x00480007
	tOpticalPaths     tag = 0x00480105
	tOpticalPathID    tag = 0x00480106
	tLensPower        tag = 0x00480112
	tOpticalPathUse   tag = 0x00480207
	tPlanePosition    tag = 0x0048021a
	tColumnPosition   tag = 0x0048021e
	tRowPosition      tag = 0x0048021f
	tFocalPlanes      tag = 0x00480303
	tSharedGroups     tag = 0x52009229
	tPerFrameGroups   tag = 0x52009230
	tExtendedOffsets  tag = 0x7fe00001
	tExtendedLengths  tag = 0x7fe00002
	tPixelData        tag = 0x7fe00010
	tItem             tag = 0xfffee000
	tItemEnd          tag = 0xfffee00d
	tSequenceEnd      tag = 0xfffee0dd
)

// undefined is the length of what a delimiter ends.
const undefined = 0xffffffff

const (
	maxDepth = 16      // sequences inside sequences
	maxValue = 1 << 20 // bytes of a value that is kept
	maxICC   = 1 << 24
)

// sequences are those whose items are read when the file does not say that
// they are sequences (implicit VR).
var sequences = map[tag]bool{
	tPixelMeasures: true, tOpticalPaths: true, tOpticalPathUse: true, tPlanePosition: true, tSharedGroups: true, tPerFrameGroups: true,
}

// longVR are the value representations with a length of four bytes.
const longVR = "OB OD OF OL OV OW SQ SV UC UN UR UT UV"

// stream reads data elements one after the other through a small buffer.
type stream struct {
	r        io.ReaderAt
	size     int64
	pos      int64
	implicit bool
	buf      []byte
	bufAt    int64
}

func (s *stream) peek(n int) ([]byte, error) {
	if s.pos < 0 || int64(n) > s.size-s.pos {
		return nil, fmt.Errorf("%d bytes at %d beyond the end (%d bytes): %w", n, s.pos, s.size, tiff.ErrCorrupt)
	}
	if s.pos < s.bufAt || s.pos+int64(n) > s.bufAt+int64(len(s.buf)) {
		want := int(min(int64(max(n, 4096)), s.size-s.pos))
		if cap(s.buf) < want {
			s.buf = make([]byte, want)
		}
		s.buf, s.bufAt = s.buf[:want], s.pos
		if k, err := s.r.ReadAt(s.buf, s.pos); k < want {
			s.buf = s.buf[:0]
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return s.buf[s.pos-s.bufAt:][:n], nil
}

func (s *stream) next(n int) ([]byte, error) {
	b, err := s.peek(n)
	s.pos += int64(n)
	return b, err
}

// header reads an element's tag, value representation (empty if the file
// does not say) and length.
func (s *stream) header() (t tag, vr string, n int64, err error) {
	b, err := s.next(8)
	if err != nil {
		return 0, "", 0, err
	}
	t = tag(binary.LittleEndian.Uint16(b))<<16 | tag(binary.LittleEndian.Uint16(b[2:]))
	if s.implicit || t>>16 == 0xfffe {
		return t, "", int64(binary.LittleEndian.Uint32(b[4:])), nil
	}
	vr = string(b[4:6])
	if vr[0] < 'A' || vr[0] > 'Z' || vr[1] < 'A' || vr[1] > 'Z' {
		return 0, "", 0, fmt.Errorf("element %08x at %d: value representation %q: %w", uint32(t), s.pos-8, vr, tiff.ErrCorrupt)
	}
	if !strings.Contains(longVR, vr) {
		return t, vr, int64(binary.LittleEndian.Uint16(b[6:])), nil
	}
	if b, err = s.next(4); err != nil {
		return 0, "", 0, err
	}
	return t, vr, int64(binary.LittleEndian.Uint32(b)), nil
}

// visitor is told of what a data set holds. path are the tags of the
// sequences around.
type visitor interface {
	// item begins an item of the innermost sequence of path.
	item(path []tag) error
	// wants reports whether the value is of use.
	wants(path []tag, t tag) bool
	value(path []tag, t tag, b []byte) error
	// skipped is told where a value lies that is not wanted.
	skipped(path []tag, t tag, at span)
	// stop ends the walk before an element of the outermost data set.
	stop(t tag, vr string, n int64) bool
}

// dataset walks over the elements up to end, or up to the delimiter of an
// item if end is negative.
func (s *stream) dataset(end int64, path []tag, v visitor) error {
	for {
		if end >= 0 && s.pos >= end || len(path) == 0 && s.pos >= s.size {
			return nil
		}
		t, vr, n, err := s.header()
		if err != nil {
			return err
		}
		if end < 0 && t == tItemEnd {
			return nil
		}
		if len(path) == 0 && v.stop(t, vr, n) {
			return nil
		}
		switch {
		case t == tPixelData && n == undefined: // of an icon
			err = s.skipFragments()
		case n == undefined, vr == "SQ", vr == "" && sequences[t]:
			err = s.sequence(t, vr, n, path, v)
		default:
			err = s.element(t, n, path, v)
		}
		if err != nil {
			return err
		}
	}
}

func (s *stream) element(t tag, n int64, path []tag, v visitor) error {
	if n > s.size-s.pos {
		return fmt.Errorf("element %08x of %d bytes at %d, %d left: %w", uint32(t), n, s.pos, s.size-s.pos, tiff.ErrCorrupt)
	}
	if !v.wants(path, t) {
		v.skipped(path, t, span{s.pos, n})
		s.pos += n
		return nil
	}
	limit := int64(maxValue)
	if t == tICCProfile {
		limit = maxICC
	}
	if n > limit {
		return fmt.Errorf("element %08x of %d bytes, over %d: %w", uint32(t), n, limit, tiff.ErrUnsupported)
	}
	b, err := s.next(int(n))
	if err != nil {
		return err
	}
	return v.value(path, t, b)
}

// sequence walks over the items of a sequence of n bytes.
func (s *stream) sequence(t tag, vr string, n int64, path []tag, v visitor) error {
	if len(path) >= maxDepth {
		return fmt.Errorf("sequences nested over %d deep: %w", maxDepth, tiff.ErrCorrupt)
	}
	end := int64(-1)
	if n != undefined {
		if n > s.size-s.pos {
			return fmt.Errorf("sequence %08x of %d bytes at %d, %d left: %w", uint32(t), n, s.pos, s.size-s.pos, tiff.ErrCorrupt)
		}
		end = s.pos + n
		if !sequences[t] {
			s.pos = end
			return nil
		}
	}
	// What is of unknown kind and undefined length is coded with implicit VR.
	defer func(was bool) { s.implicit = was }(s.implicit)
	s.implicit = s.implicit || vr == "UN"
	path = append(path[:len(path):len(path)], t)
	for end < 0 || s.pos < end {
		it, _, m, err := s.header()
		if err != nil {
			return err
		}
		if it == tSequenceEnd && end < 0 {
			return nil
		}
		if it != tItem {
			return fmt.Errorf("element %08x in sequence %08x, want an item: %w", uint32(it), uint32(t), tiff.ErrCorrupt)
		}
		if err := v.item(path); err != nil {
			return err
		}
		itemEnd := int64(-1)
		if m != undefined {
			if m > s.size-s.pos {
				return fmt.Errorf("item of %d bytes at %d, %d left: %w", m, s.pos, s.size-s.pos, tiff.ErrCorrupt)
			}
			itemEnd = s.pos + m
		}
		if err := s.dataset(itemEnd, path, v); err != nil {
			return err
		}
	}
	return nil
}

// skipFragments goes past encapsulated pixel data.
func (s *stream) skipFragments() error {
	for {
		t, _, n, err := s.header()
		if err != nil {
			return err
		}
		if t == tSequenceEnd {
			return nil
		}
		if t != tItem || n > s.size-s.pos {
			return fmt.Errorf("fragment %08x of %d bytes at %d: %w", uint32(t), n, s.pos, tiff.ErrCorrupt)
		}
		s.pos += n
	}
}

// text is the value of a text element without its padding.
func text(b []byte) string { return strings.TrimRight(strings.TrimSpace(string(b)), "\x00 ") }

// number reads a binary integer of 2, 4 or 8 bytes.
func number(b []byte) int64 {
	switch {
	case len(b) >= 8:
		return int64(binary.LittleEndian.Uint64(b))
	case len(b) >= 4:
		return int64(int32(binary.LittleEndian.Uint32(b)))
	case len(b) >= 2:
		return int64(binary.LittleEndian.Uint16(b))
	}
	return 0
}

// decimals reads decimal strings between backslashes.
func decimals(b []byte) (out []float64) {
	for _, f := range strings.Split(text(b), `\`) {
		v, err := strconv.ParseFloat(strings.TrimSpace(f), 64)
		if err != nil {
			return nil
		}
		out = append(out, v)
	}
	return out
}
