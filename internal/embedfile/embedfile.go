// Package embedfile stores image embeddings in files.
//
// A file holds one embedding, all numbers little-endian:
//
//	offset  bytes  what
//	0       8      "SAMEMBED"
//	8       2      version, 2
//	10      2      type of the data: 0 float32, 1 float16
//	12      16     fingerprint of the model that made it
//	28      12     shape: channels (of all views of the picture), height, width
//	40      8      the picture's height and width
//	48      8      its height and width after the resize to the model's input
//	56      32     digest of the picture's pixels
//	88      4      CRC-32C of bytes 0 to 87
//	92             data, [C, H, W] row-major
//	end     4      CRC-32C of the data
//
// Reading is strict: a truncated file, a changed bit, a size out of range or
// a value that is not finite is an error, and memory is only taken for data
// that is there.
//
//	_, err := embedfile.Write(w, e, embedfile.Float16)
//	e, err := embedfile.Read(r)
package embedfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/slidesam/sam/internal/half"
)

// Errors that callers may want to tell apart.
var (
	// ErrFormat is wrapped by every error about the content of a file.
	ErrFormat = errors.New("not an embedding file")
	// ErrValue is wrapped if an embedding cannot be written.
	ErrValue = errors.New("not a storable embedding")
)

// Type is how numbers are stored.
type Type uint16

// Types of data. Float16 halves the file; values are rounded to nearest, ties
// to even, which moves them by up to 2^-11 of their magnitude.
const (
	Float32 Type = 0
	Float16 Type = 1
)

// size returns the bytes of one value.
func (t Type) size() int { return 4 - 2*int(t&1) }

// Size is a height and a width in pixels.
type Size struct{ H, W int }

// Embedding is what a file holds.
type Embedding struct {
	Fingerprint [16]byte // of the model
	Shape       [3]int   // channels, height, width
	Picture     Size     // the picture's size
	Input       Size     // after the resize to the model's input
	Digest      [32]byte // of the picture's pixels
	Data        []float32
}

const (
	magic      = "SAMEMBED"
	version    = 2
	headerSize = 92
	sumAt      = headerSize - 4 // of the header's checksum
	// Bounds of what a header may say.
	maxSide   = 1 << 24
	maxValues = 1 << 28
	// chunk is how many bytes are read or written at a time.
	chunk = 1 << 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// check returns what is wrong with the sizes, or "".
func (e *Embedding) check() string {
	n := 1
	for _, s := range e.Shape {
		if s < 1 || s > maxValues/n {
			return fmt.Sprintf("shape %v: want 1 to %d values", e.Shape, maxValues)
		}
		n *= s
	}
	for _, s := range []struct {
		name string
		size Size
	}{{"picture", e.Picture}, {"input", e.Input}} {
		if s.size.H < 1 || s.size.W < 1 || s.size.H > maxSide || s.size.W > maxSide {
			return fmt.Sprintf("%s size %d x %d: want sides of 1 to %d", s.name, s.size.W, s.size.H, maxSide)
		}
	}
	return ""
}

// Write writes e to w and returns the number of bytes written.
//
// It returns an error that wraps [ErrValue], before anything is written, if a
// size is out of range, if Data does not have Shape, if a value is NaN or
// infinite, or, for Float16, if one rounds to more than 65504.
func Write(w io.Writer, e *Embedding, t Type) (int64, error) {
	if t > Float16 {
		return 0, fmt.Errorf("embedfile: write: %w: type %d of data", ErrValue, t)
	}
	if fault := e.check(); fault != "" {
		return 0, fmt.Errorf("embedfile: write: %w: %s", ErrValue, fault)
	}
	if n := e.Shape[0] * e.Shape[1] * e.Shape[2]; n != len(e.Data) {
		return 0, fmt.Errorf("embedfile: write: %w: %d values for shape %v", ErrValue, len(e.Data), e.Shape)
	}
	for i, v := range e.Data {
		if v-v != 0 {
			return 0, fmt.Errorf("embedfile: write: %w: value %d is %v", ErrValue, i, v)
		}
		if t == Float16 && half.Bits(v)&0x7fff == 0x7c00 {
			return 0, fmt.Errorf("embedfile: write: %w: value %d, %v, is too large for float16: write float32", ErrValue, i, v)
		}
	}
	out := &counter{w: w}
	if _, err := out.Write(e.header(t)); err != nil {
		return out.n, fmt.Errorf("embedfile: write: %w", err)
	}
	buf := make([]byte, 0, chunk)
	sum := uint32(0)
	for data := e.Data; len(data) > 0; {
		n := min(len(data), chunk/t.size())
		buf = buf[:0]
		for _, v := range data[:n] {
			if t == Float16 {
				buf = binary.LittleEndian.AppendUint16(buf, half.Bits(v))
			} else {
				buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
			}
		}
		data = data[n:]
		sum = crc32.Update(sum, castagnoli, buf)
		if _, err := out.Write(buf); err != nil {
			return out.n, fmt.Errorf("embedfile: write: %w", err)
		}
	}
	if _, err := out.Write(binary.LittleEndian.AppendUint32(nil, sum)); err != nil {
		return out.n, fmt.Errorf("embedfile: write: %w", err)
	}
	return out.n, nil
}

// counter counts the bytes that w took.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (e *Embedding) header(t Type) []byte {
	b := make([]byte, 0, headerSize)
	b = append(b, magic...)
	b = binary.LittleEndian.AppendUint16(b, version)
	b = binary.LittleEndian.AppendUint16(b, uint16(t))
	b = append(b, e.Fingerprint[:]...)
	for _, v := range []int{
		e.Shape[0], e.Shape[1], e.Shape[2],
		e.Picture.H, e.Picture.W, e.Input.H, e.Input.W,
	} {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	b = append(b, e.Digest[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Read reads one embedding from r and nothing beyond it.
//
// Memory is taken as data arrives. The error wraps [ErrFormat] if the content
// is at fault, and is or wraps r's error if r is; a file that ends too early is
// [io.ErrUnexpectedEOF] as well.
func Read(r io.Reader) (*Embedding, error) {
	e, t, err := readHeader(r)
	if err != nil {
		return nil, fmt.Errorf("embedfile: read header: %w", err)
	}
	if err := e.readData(r, t); err != nil {
		return nil, fmt.Errorf("embedfile: read data: %w", err)
	}
	return e, nil
}

// full reads all of b.
func full(r io.Reader, b []byte) error {
	_, err := io.ReadFull(r, b)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: %w", ErrFormat, io.ErrUnexpectedEOF)
	}
	return err
}

func readHeader(r io.Reader) (*Embedding, Type, error) {
	b := make([]byte, headerSize)
	if err := full(r, b[:len(magic)]); err != nil {
		return nil, 0, err
	}
	if string(b[:len(magic)]) != magic {
		return nil, 0, fmt.Errorf("%w: it begins with %q, want %q", ErrFormat, b[:len(magic)], magic)
	}
	if err := full(r, b[len(magic):10]); err != nil {
		return nil, 0, err
	}
	if v := binary.LittleEndian.Uint16(b[8:]); v != version {
		return nil, 0, fmt.Errorf("%w: version %d, this program reads %d: embed the picture again", ErrFormat, v, version)
	}
	if err := full(r, b[10:]); err != nil {
		return nil, 0, err
	}
	if want, got := binary.LittleEndian.Uint32(b[sumAt:]), crc32.Checksum(b[:sumAt], castagnoli); want != got {
		return nil, 0, fmt.Errorf("%w: checksum of the header is %08x, want %08x: the file is damaged", ErrFormat, got, want)
	}
	t := Type(binary.LittleEndian.Uint16(b[10:]))
	if t > Float16 {
		return nil, 0, fmt.Errorf("%w: type %d of data", ErrFormat, t)
	}
	var n [7]int
	for i := range n {
		v := binary.LittleEndian.Uint32(b[28+4*i:])
		if v > maxValues {
			return nil, 0, fmt.Errorf("%w: size %d at byte %d", ErrFormat, v, 28+4*i)
		}
		n[i] = int(v)
	}
	e := &Embedding{
		Shape: [3]int(n[:3]), Picture: Size{H: n[3], W: n[4]}, Input: Size{H: n[5], W: n[6]},
	}
	copy(e.Fingerprint[:], b[12:28])
	copy(e.Digest[:], b[56:sumAt])
	if fault := e.check(); fault != "" {
		return nil, 0, fmt.Errorf("%w: %s", ErrFormat, fault)
	}
	return e, t, nil
}

func (e *Embedding) readData(r io.Reader, t Type) error {
	n := e.Shape[0] * e.Shape[1] * e.Shape[2]
	buf := make([]byte, max(4, min(chunk, n*t.size())))
	sum := uint32(0)
	for len(e.Data) < n {
		b := buf[:min(chunk, (n-len(e.Data))*t.size())]
		if err := full(r, b); err != nil {
			return err
		}
		sum = crc32.Update(sum, castagnoli, b)
		if len(e.Data) == cap(e.Data) {
			// Twice what has come, so that a short file is not trusted with much.
			grown := make([]float32, len(e.Data), min(n, max(chunk, 2*len(e.Data))))
			copy(grown, e.Data)
			e.Data = grown
		}
		for ; len(b) > 0; b = b[t.size():] {
			var v float32
			if t == Float16 {
				v = half.Value(binary.LittleEndian.Uint16(b))
			} else {
				v = math.Float32frombits(binary.LittleEndian.Uint32(b))
			}
			if v-v != 0 {
				return fmt.Errorf("%w: value %d is %v", ErrFormat, len(e.Data), v)
			}
			e.Data = append(e.Data, v)
		}
	}
	if err := full(r, buf[:4]); err != nil {
		return err
	}
	if want := binary.LittleEndian.Uint32(buf); want != sum {
		return fmt.Errorf("%w: checksum of the data is %08x, want %08x: the file is damaged", ErrFormat, sum, want)
	}
	return nil
}
