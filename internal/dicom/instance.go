package dicom

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// wsiClass is VL Whole Slide Microscopy Image Storage.
const wsiClass = "1.2.840.10008.5.1.4.1.1.77.1.6"

const (
	maxFrames = 1 << 24
	maxSide   = 1 << 30
	maxTile   = 1 << 26 // pixels of a frame
)

// instance is one file: what its header says and where its frames are.
type instance struct {
	name string
	r    io.ReaderAt
	c    io.Closer
	size int64

	syntax, class, uid, series, pyramid string
	kind                                string // third value of ImageType
	manufacturer, model                 string
	number                              int64
	concat                              string
	part, parts, partFrom               int64

	organization, photometric string
	samples, planar           int64
	frames, rows, columns     int64
	bits, stored              int64
	matrixW, matrixH          int64
	volumeW, volumeH          float64 // mm
	spacing                   []float64
	planes, paths             int64
	power                     float64
	icc                       []byte
	place                     []place // per frame, of TILED_SPARSE
	pathNumber                map[string]int32
	extOffsets, extLengths    span
	pixelAt, pixelLen         int64

	index frameIndex
}

// span is a part of the file.
type span struct{ off, n int64 }

// place is where a frame lies: its top left pixel counted from 0, its focal
// plane and its optical path.
type place struct {
	x, y int32
	z    float32
	path int32
}

// errNotDICOM is what open returns for other files.
var errNotDICOM = errors.New("not a DICOM file")

// openInstance reads the header of a file. With short it stops behind the
// series, which is enough to see what belongs together.
func openInstance(fsys fs.FS, name string, short bool) (in *instance, err error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil || short {
			f.Close()
		}
	}()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, ok := f.(io.ReaderAt)
	if !ok || !st.Mode().IsRegular() {
		return nil, errNotDICOM
	}
	in = &instance{name: name, r: r, c: f, size: st.Size(), frames: 1, pathNumber: map[string]int32{}, samples: 1, planes: 1}
	head := make([]byte, 132)
	if n, _ := r.ReadAt(head, 0); n < 132 || string(head[128:]) != "DICM" {
		return nil, errNotDICOM
	}
	s := &stream{r: r, size: in.size, pos: 132}
	if err := in.readMeta(s); err != nil {
		return nil, err
	}
	switch in.syntax {
	case "1.2.840.10008.1.2":
		s.implicit = true
	case "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2":
		return nil, fmt.Errorf("transfer syntax %s: %w", syntaxName(in.syntax), tiff.ErrUnsupported)
	}
	v := &headerVisitor{in: in, short: short}
	if err := s.dataset(-1, nil, v); err != nil {
		return nil, err
	}
	in.pixelAt = s.pos
	if short {
		return in, nil
	}
	if v.pixels == 0 {
		return nil, fmt.Errorf("no pixel data: %w", tiff.ErrCorrupt)
	}
	in.pixelLen = v.length
	return in, nil
}

// readMeta reads the file meta group, which is always in explicit VR.
func (in *instance) readMeta(s *stream) error {
	for s.pos+8 <= s.size {
		if b, err := s.peek(2); err != nil || b[0] != 2 || b[1] != 0 {
			return err
		}
		t, _, n, err := s.header()
		if err != nil {
			return err
		}
		if n > s.size-s.pos {
			return fmt.Errorf("element %08x of %d bytes at %d, %d left: %w", uint32(t), n, s.pos, s.size-s.pos, tiff.ErrCorrupt)
		}
		if t == tTransferSyntax {
			b, err := s.next(int(min(n, 64)))
			if err != nil {
				return err
			}
			in.syntax, n = text(b), n-int64(len(b))
		}
		s.pos += n
	}
	return nil
}

// headerVisitor fills an instance.
type headerVisitor struct {
	in     *instance
	short  bool
	pixels tag
	length int64
}

func (v *headerVisitor) stop(t tag, _ string, n int64) bool {
	if v.short && t > tSeriesUID {
		return true
	}
	if t == tPixelData {
		v.pixels, v.length = t, n
		return true
	}
	return false
}

func (v *headerVisitor) item(path []tag) error {
	in := v.in
	switch path[len(path)-1] {
	case tPerFrameGroups:
		if len(path) == 1 {
			if len(in.place) >= maxFrames {
				return fmt.Errorf("more than %d frames: %w", maxFrames, tiff.ErrUnsupported)
			}
			in.place = append(in.place, place{x: -1, y: -1})
		}
	case tOpticalPaths:
		in.paths++
	}
	return nil
}

func (v *headerVisitor) wants(path []tag, t tag) bool {
	if len(path) == 0 {
		return t == tImageType || t == tSOPClass || t == tSOPInstance || t == tPyramidUID || t == tManufacturer || t == tModelName ||
			t == tSeriesUID || t == tInstanceNumber || t == tConcatenationUID || t == tInConcatenation || t == tInConcatTotal || t == tConcatOffset ||
			t == tOrganization || t>>16 == 0x0028 && t <= tBitsStored || t == tVolumeWidth || t == tVolumeHeight ||
			t == tMatrixColumns || t == tMatrixRows || t == tFocalPlanes
	}
	switch path[len(path)-1] {
	case tPixelMeasures:
		return t == tPixelSpacing
	case tOpticalPaths:
		return t == tLensPower || t == tICCProfile || t == tOpticalPathID
	case tPlanePosition:
		return t == tColumnPosition || t == tRowPosition || t == tZOffset
	case tOpticalPathUse:
		return t == tOpticalPathID
	}
	return false
}

func (v *headerVisitor) skipped(path []tag, t tag, at span) {
	switch {
	case len(path) > 0:
	case t == tExtendedOffsets:
		v.in.extOffsets = at
	case t == tExtendedLengths:
		v.in.extLengths = at
	}
}

func (v *headerVisitor) value(path []tag, t tag, b []byte) error {
	if len(path) > 0 {
		v.nested(path, t, b)
		return nil
	}
	in := v.in
	whole := func() int64 { n, _ := strconv.ParseInt(text(b), 10, 64); return n }
	switch t {
	case tImageType:
		if f := strings.Split(text(b), `\`); len(f) > 2 {
			in.kind = strings.TrimSpace(f[2])
		}
	case tSOPClass:
		in.class = text(b)
	case tSOPInstance:
		in.uid = text(b)
	case tPyramidUID:
		in.pyramid = text(b)
	case tManufacturer:
		in.manufacturer = text(b)
	case tModelName:
		in.model = text(b)
	case tSeriesUID:
		in.series = text(b)
	case tInstanceNumber:
		in.number = whole()
	case tConcatenationUID:
		in.concat = text(b)
	case tInConcatenation:
		in.part = number(b)
	case tInConcatTotal:
		in.parts = number(b)
	case tConcatOffset:
		in.partFrom = number(b)
	case tOrganization:
		in.organization = text(b)
	case tSamples:
		in.samples = number(b)
	case tPhotometric:
		in.photometric = text(b)
	case tPlanar:
		in.planar = number(b)
	case tFrames:
		in.frames = whole()
	case tRows:
		in.rows = number(b)
	case tColumns:
		in.columns = number(b)
	case tPixelSpacing: // outside of the functional groups, for labels
		if in.spacing == nil {
			in.spacing = decimals(b)
		}
	case tBitsAllocated:
		in.bits = number(b)
	case tBitsStored:
		in.stored = number(b)
	case tVolumeWidth, tVolumeHeight:
		if len(b) == 4 {
			x := float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
			if t == tVolumeWidth {
				in.volumeW = x
			} else {
				in.volumeH = x
			}
		}
	case tMatrixColumns:
		in.matrixW = number(b)
	case tMatrixRows:
		in.matrixH = number(b)
	case tFocalPlanes:
		in.planes = number(b)
	}
	return nil
}

// nested takes a value inside sequences.
func (v *headerVisitor) nested(path []tag, t tag, b []byte) {
	in := v.in
	last := path[len(path)-1]
	frame := (*place)(nil)
	if path[0] == tPerFrameGroups && len(in.place) > 0 {
		frame = &in.place[len(in.place)-1]
	}
	switch {
	case t == tPixelSpacing:
		if d := decimals(b); len(d) == 2 && (in.spacing == nil || path[0] == tSharedGroups) {
			in.spacing = d
		}
	case last == tOpticalPaths && len(path) == 1 && in.paths == 1 && t == tLensPower:
		if d := decimals(b); len(d) > 0 {
			in.power = d[0]
		}
	case last == tOpticalPaths && len(path) == 1 && in.paths == 1 && t == tICCProfile:
		in.icc = append([]byte{}, b...)
	case last == tOpticalPaths && len(path) == 1 && t == tOpticalPathID:
		in.pathNumber[text(b)] = int32(in.paths - 1)
	case frame == nil:
	case last == tOpticalPathUse:
		if n, ok := in.pathNumber[text(b)]; ok {
			frame.path = n
		} else {
			frame.path = -1
		}
	case t == tColumnPosition:
		frame.x = int32(max(min(number(b)-1, maxSide), -1))
	case t == tRowPosition:
		frame.y = int32(max(min(number(b)-1, maxSide), -1))
	case t == tZOffset:
		if d := decimals(b); len(d) > 0 {
			frame.z = float32(d[0])
		}
	}
}
