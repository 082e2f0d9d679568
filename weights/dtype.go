package weights

import (
	"fmt"
)

// DType is the type of a tensor's elements in the file.
type DType uint8

// The element types that are read. Float32s turns each into float32.
const (
	Float32 DType = iota
	Float64
	Float16
	BFloat16
	Int64
	Int32
	Int16
	Int8
	Uint8
	Bool
)

var dtypes = [...]struct {
	name string
	size int
}{
	Float32:  {"float32", 4},
	Float64:  {"float64", 8},
	Float16:  {"float16", 2},
	BFloat16: {"bfloat16", 2},
	Int64:    {"int64", 8},
	Int32:    {"int32", 4},
	Int16:    {"int16", 2},
	Int8:     {"int8", 1},
	Uint8:    {"uint8", 1},
	Bool:     {"bool", 1},
}

// String returns the type's name as PyTorch writes it, without "torch.".
func (d DType) String() string {
	if int(d) >= len(dtypes) {
		return fmt.Sprintf("DType(%d)", uint8(d))
	}
	return dtypes[d].name
}

// Size returns the bytes of one element, 0 for a value that is not a DType.
func (d DType) Size() int {
	if int(d) >= len(dtypes) {
		return 0
	}
	return dtypes[d].size
}
