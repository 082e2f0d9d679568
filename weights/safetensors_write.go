package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"io"
	"maps"
)

// writeSafetensors writes a .safetensors file. The library's writer would hold
// each tensor's bytes whole and cannot stop half way.
//
// Source: the format's description in huggingface/safetensors, README.md.
func writeSafetensors(w io.Writer, e *encoder) error {
	type info struct {
		DType   string `json:"dtype"`
		Shape   []int  `json:"shape"`
		Offsets [2]int `json:"data_offsets"`
	}
	dtype := "F32"
	if e.dtype == Float16 {
		dtype = "F16"
	}
	notes := map[string]string{"format": "pt"}
	maps.Copy(notes, e.c.notes)
	header := map[string]any{"__metadata__": notes}
	at := 0
	for _, name := range e.c.names {
		t := e.c.tensors[name]
		n := e.size(t)
		header[name] = info{dtype, append([]int{}, t.Shape...), [2]int{at, at + n}}
		at += n
	}
	b, err := json.Marshal(header)
	if err != nil {
		return err
	}
	const align = 64 // of the values, so that they can be used where they are
	b = append(b, bytes.Repeat([]byte{' '}, (align-(8+len(b))%align)%align)...)
	if err := binary.Write(w, binary.LittleEndian, uint64(len(b))); err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	for _, name := range e.c.names {
		if err := e.write(w, e.c.tensors[name]); err != nil {
			return err
		}
	}
	return nil
}
