package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/slidesam/sam/internal/half"
)

// view is a tensor inside a mapped file: elements of one type, at any offset,
// with any strides, in either byte order.
type view struct {
	file    *mapping
	dtype   DType
	big     bool // big-endian
	off     int  // of the tensor's first storage byte in the file
	size    int  // bytes from off that belong to the storage
	shape   []int
	strides []int     // in elements; nil means row-major
	sum     *zipEntry // whose checksum covers the bytes, or nil
}

// newView checks that every element lies inside the storage.
func newView(v view) (*view, error) {
	n, err := numel(v.shape)
	if err != nil {
		return nil, err
	}
	es := v.dtype.Size()
	if es == 0 {
		return nil, fmt.Errorf("unknown type %v", v.dtype)
	}
	if v.strides != nil && len(v.strides) != len(v.shape) {
		return nil, fmt.Errorf("%d strides for shape %v", len(v.strides), v.shape)
	}
	if v.strides != nil {
		want := rowMajor(v.shape)
		v.strides = slices.Clone(v.strides)
		for i, d := range v.shape {
			if d <= 1 { // never stepped over: any stride will do
				v.strides[i] = want[i]
			}
		}
		if n == 0 || slices.Equal(v.strides, want) {
			v.strides = nil
		}
	}
	last := 0 // the largest flat index
	if v.strides == nil {
		last = max(n-1, 0)
	} else {
		for i, d := range v.shape {
			s := v.strides[i]
			if s < 0 {
				return nil, fmt.Errorf("strides %v: negative", v.strides)
			}
			if d > 1 && s > 0 {
				if s > (math.MaxInt/16-last)/(d-1) {
					return nil, fmt.Errorf("strides %v: too large", v.strides)
				}
				last += s * (d - 1)
			}
		}
		// Strides of 0 repeat elements: the copy would be larger than what is
		// stored, without bound. No checkpoint needs that.
		if n > last+1 {
			return nil, fmt.Errorf("shape %v with strides %v repeats elements: save the tensor with .contiguous()", v.shape, v.strides)
		}
	}
	if n > 0 && (last+1) > v.size/es {
		return nil, fmt.Errorf("shape %v of %v needs %d elements, the file holds %d", v.shape, v.dtype, last+1, v.size/es)
	}
	if v.strides == nil {
		v.size = n * es
	} else {
		v.size = (last + 1) * es
	}
	return &v, nil
}

// rowMajor returns the strides of a contiguous tensor.
func rowMajor(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= max(shape[i], 1)
	}
	return s
}

var hostLittleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

func (v *view) float32s() ([]float32, error) {
	if v.sum != nil {
		if err := v.sum.check(); err != nil {
			return nil, err
		}
	}
	b, err := v.file.bytes(v.off, v.size)
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, nil
	}
	if v.strides == nil && v.dtype == Float32 && v.big != hostLittleEndian {
		if p := unsafe.Pointer(&b[0]); uintptr(p)%4 == 0 {
			return unsafe.Slice((*float32)(p), len(b)/4), nil
		}
	}
	n, _ := numel(v.shape)
	dst := make([]float32, n)
	if v.strides == nil {
		return dst, v.decode(dst, b, 1)
	}
	// Copy line by line of the innermost axis. A transposed tensor reads with
	// a long step; weights are read once, so that it costs little.
	inner := v.shape[len(v.shape)-1]
	step := v.strides[len(v.strides)-1]
	es := v.dtype.Size()
	idx := make([]int, len(v.shape))
	for at := 0; at < n; at += inner {
		pos := 0
		for i, k := range idx {
			pos += k * v.strides[i]
		}
		if err := v.decode(dst[at:at+inner], b[pos*es:], step); err != nil {
			return nil, err
		}
		for i := len(idx) - 2; i >= 0; i-- {
			if idx[i]++; idx[i] < v.shape[i] {
				break
			}
			idx[i] = 0
		}
	}
	return dst, nil
}

func (v *view) release() { v.file.release(v.off, v.size) }

// decode fills dst from every step-th element of b.
func (v *view) decode(dst []float32, b []byte, step int) error {
	var order binary.ByteOrder = binary.LittleEndian
	if v.big {
		order = binary.BigEndian
	}
	es := v.dtype.Size()
	inc := step * es
	switch v.dtype {
	case Float32:
		for i := range dst {
			dst[i] = math.Float32frombits(order.Uint32(b[i*inc:]))
		}
	case Float16:
		for i := range dst {
			dst[i] = half.Value(order.Uint16(b[i*inc:]))
		}
	case BFloat16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(order.Uint16(b[i*inc:])) << 16)
		}
	case Float64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(order.Uint64(b[i*inc:])))
		}
	default:
		for i := range dst {
			k := v.integer(b[i*inc:], order)
			dst[i] = float32(k)
			if k > 1<<24 || k < -1<<24 {
				return fmt.Errorf("element %d is %d: not exact in float32", i, k)
			}
		}
	}
	return nil
}

func (v *view) integer(b []byte, order binary.ByteOrder) int64 {
	switch v.dtype {
	case Int64:
		return int64(order.Uint64(b))
	case Int32:
		return int64(int32(order.Uint32(b)))
	case Int16:
		return int64(int16(order.Uint16(b)))
	case Int8:
		return int64(int8(b[0]))
	case Bool:
		if b[0] != 0 {
			return 1
		}
		return 0
	}
	return int64(b[0])
}
