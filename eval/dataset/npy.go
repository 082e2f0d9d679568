package dataset

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/sbinet/npyio/npy"

	"github.com/slidesam/sam/internal/regular"
)

// array is an .npy file that is read slice by slice along its first axis, since
// whole folds do not fit in memory.
type array struct {
	path  string
	shape []int
	kind  string // without byte order: u1, i4, f8 ...
	order binary.ByteOrder
	at    int64 // where the numbers begin
}

// maxHeader bounds the header of an .npy file; real ones have about 100 bytes.
const maxHeader = 1 << 16

// openArray reads the header and checks that the file holds what it claims.
func openArray(path string) (*array, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrLayout, err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	a, err := readArrayHeader(bufio.NewReader(f), st.Size())
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, path, err)
	}
	a.path = path
	return a, nil
}

// readArrayHeader parses a header through npyio, which takes the length for
// granted and may panic on a malformed one.
func readArrayHeader(r io.Reader, size int64) (a *array, err error) {
	var head [12]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, fmt.Errorf("no .npy header: %w", err)
	}
	n, used := int64(binary.LittleEndian.Uint16(head[8:])), 10
	if head[6] >= 2 {
		n, used = int64(binary.LittleEndian.Uint32(head[8:])), 12
	}
	if n > maxHeader || int64(used)+n > size {
		return nil, fmt.Errorf("header of %d bytes in a file of %d", n, size)
	}
	header := append([]byte(nil), head[:]...)
	rest := make([]byte, max(0, int64(used)+n-12))
	if _, err := io.ReadFull(r, rest); err != nil {
		return nil, err
	}
	header = append(header, rest...)
	defer func() {
		if p := recover(); p != nil {
			a, err = nil, fmt.Errorf("malformed header: %v", p)
		}
	}()
	nr, err := npy.NewReader(strings.NewReader(string(header)))
	if err != nil {
		return nil, err
	}
	h := nr.Header
	if h.Descr.Fortran {
		return nil, fmt.Errorf("column-major, want row-major")
	}
	a = &array{shape: h.Descr.Shape, at: int64(used) + n, order: binary.LittleEndian}
	a.kind = strings.TrimLeft(h.Descr.Type, "<>|=")
	if strings.HasPrefix(h.Descr.Type, ">") {
		a.order = binary.BigEndian
	}
	width, err := a.width()
	if err != nil {
		return nil, err
	}
	total := int64(width)
	if len(a.shape) == 0 {
		return nil, fmt.Errorf("a single number, want an array")
	}
	for _, d := range a.shape {
		if d < 0 || d > 0 && total > (size-a.at)/int64(d) {
			return nil, fmt.Errorf("shape %v of %s does not fit in a file of %d bytes", a.shape, a.kind, size)
		}
		total *= int64(d)
	}
	return a, nil
}

func (a *array) width() (int, error) {
	switch a.kind {
	case "b1", "u1", "i1":
		return 1, nil
	case "u2", "i2":
		return 2, nil
	case "u4", "i4", "f4":
		return 4, nil
	case "u8", "i8", "f8":
		return 8, nil
	}
	return 0, fmt.Errorf("numbers of type %q, want integers or floats", a.kind)
}

// want checks the shape; -1 stands for any length.
func (a *array) want(shape ...int) error {
	ok := len(shape) == len(a.shape)
	for i := 0; ok && i < len(shape); i++ {
		ok = shape[i] < 0 || shape[i] == a.shape[i]
	}
	if !ok {
		return fmt.Errorf("%w: %s: shape %v, want %v (-1: any)", ErrLayout, a.path, a.shape, shape)
	}
	return nil
}

// slice reads the numbers of index i along the first axis.
func (a *array) slice(i int) ([]float64, error) {
	width, err := a.width()
	if err != nil {
		return nil, err
	}
	n := 1
	for _, d := range a.shape[1:] {
		n *= d
	}
	if n*width > 1<<30 {
		return nil, fmt.Errorf("%w: %s: slices of %d numbers", ErrFormat, a.path, n)
	}
	f, err := regular.Open(a.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, n*width)
	if _, err := f.ReadAt(buf, a.at+int64(i)*int64(len(buf))); err != nil {
		return nil, fmt.Errorf("%w: %s: slice %d: %w", ErrFormat, a.path, i, err)
	}
	out := make([]float64, n)
	for j := range out {
		out[j] = number(buf[j*width:], a.kind, a.order)
	}
	return out, nil
}

func number(b []byte, kind string, o binary.ByteOrder) float64 {
	switch kind {
	case "b1", "u1":
		return float64(b[0])
	case "i1":
		return float64(int8(b[0]))
	case "u2":
		return float64(o.Uint16(b))
	case "i2":
		return float64(int16(o.Uint16(b)))
	case "u4":
		return float64(o.Uint32(b))
	case "i4":
		return float64(int32(o.Uint32(b)))
	case "f4":
		return float64(math.Float32frombits(o.Uint32(b)))
	case "u8":
		return float64(o.Uint64(b))
	case "i8":
		return float64(int64(o.Uint64(b)))
	}
	return math.Float64frombits(o.Uint64(b))
}
