package weights

import (
	"encoding/binary"
	"fmt"

	"github.com/nlpodyssey/safetensors"
)

// maxSafetensorsHeader bounds the JSON header, whose decoded form takes several
// times its size. The header of ViT-H, the largest model, is under 100 kB.
const maxSafetensorsHeader = 4 << 20

var safetensorsTypes = map[safetensors.DType]DType{
	safetensors.F32: Float32, safetensors.F64: Float64,
	safetensors.F16: Float16, safetensors.BF16: BFloat16,
	safetensors.I64: Int64, safetensors.I32: Int32, safetensors.I16: Int16,
	safetensors.I8: Int8, safetensors.U8: Uint8, safetensors.BOOL: Bool,
}

// readSafetensors returns the tensors of a .safetensors file by their names in
// the file, and the file's metadata. No values are read.
func readSafetensors(file *mapping) (map[string]*Tensor, map[string]string, error) {
	b := file.data
	if err := checkSafetensorsHeader(b); err != nil {
		return nil, nil, err
	}
	n, meta, err := safetensors.ReadMetadata(b)
	if err != nil {
		return nil, nil, fmt.Errorf("safetensors header: %w", err)
	}
	base := 8 + int(n)
	tensors := map[string]*Tensor{}
	for name, info := range meta.Tensors() {
		dt, ok := safetensorsTypes[info.DType]
		if !ok {
			return nil, nil, fmt.Errorf("tensor %s: type %v is not one that weights have", name, info.DType)
		}
		shape := make([]int, len(info.Shape))
		for i, d := range info.Shape {
			if d > 1<<40 {
				return nil, nil, fmt.Errorf("tensor %s: shape %v: too large", name, info.Shape)
			}
			shape[i] = int(d)
		}
		// ReadMetadata made sure that the ranges lie in the file.
		begin, end := int(info.DataOffsets[0]), int(info.DataOffsets[1])
		v, err := newView(view{file: file, dtype: dt, off: base + begin, size: end - begin, shape: shape})
		if err != nil {
			return nil, nil, fmt.Errorf("tensor %s: %w", name, err)
		}
		tensors[name] = &Tensor{Name: name, Shape: shape, DType: dt, src: v}
	}
	return tensors, meta.Metadata(), nil
}

// checkSafetensorsHeader bounds what decoding the header can cost: its length,
// its nesting (file, tensor, list) and the length of its lists.
func checkSafetensorsHeader(b []byte) error {
	const maxDepth, maxList = 3, 16
	n := binary.LittleEndian.Uint64(b)
	switch {
	case n > uint64(len(b)-8):
		return fmt.Errorf("safetensors header: %d bytes in a file of %d: the file is cut short", n, len(b))
	case n > maxSafetensorsHeader:
		return fmt.Errorf("safetensors header: %d bytes, at most %d are read", n, maxSafetensorsHeader)
	}
	depth, commas, quoted, escaped := 0, 0, false, false
	for _, c := range b[8 : 8+n] {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = c == '\\', c != '"'
		case c == '"':
			quoted = true
		case c == '{' || c == '[':
			commas = 0
			if depth++; depth > maxDepth {
				return fmt.Errorf("safetensors header: nested more than %d deep", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		case c == ',' && depth == maxDepth:
			if commas++; commas >= maxList {
				return fmt.Errorf("safetensors header: a list of more than %d values", maxList)
			}
		}
	}
	return nil
}
