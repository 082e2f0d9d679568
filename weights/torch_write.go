package weights

import (
	"encoding/binary"
	"io"
	"strconv"
)

// writeTorch writes a state dict as torch.save does: a pickle that names the
// tensors and an entry for the values of each.
func writeTorch(w io.Writer, e *encoder) error {
	const root = "archive/"
	a := newArchive(w)
	if err := a.bytes(root+"data.pkl", stateDict(e)); err != nil {
		return err
	}
	if err := a.bytes(root+"byteorder", []byte("little")); err != nil {
		return err
	}
	for i, name := range e.c.names {
		if err := a.tensor(root+"data/"+strconv.Itoa(i), nil, e, e.c.tensors[name]); err != nil {
			return err
		}
	}
	if err := a.bytes(root+"version", []byte("3\n")); err != nil {
		return err
	}
	return a.close(e.c.notes)
}

// stateDict returns the pickle of {name: tensor}, protocol 2. Tensor i has
// storage i to itself.
func stateDict(e *encoder) []byte {
	class := "FloatStorage"
	if e.dtype == Float16 {
		class = "HalfStorage"
	}
	p := pickler{0x80, 2, '}', '('}
	for i, name := range e.c.names {
		t := e.c.tensors[name]
		p.text(name)
		p.global("torch._utils", "_rebuild_tensor_v2")
		p = append(p, '(')
		{ // the persistent id of the storage
			p = append(p, '(')
			p.text("storage")
			p.global("torch", class)
			p.text(strconv.Itoa(i))
			p.text("cpu")
			p.int(t.Len())
			p = append(p, 't', 'Q')
		}
		p.int(0) // offset
		p.ints(t.Shape)
		p.ints(rowMajor(t.Shape))
		p = append(p, 0x89) // requires_grad: False
		p.global("collections", "OrderedDict")
		p = append(p, ')', 'R') // backward hooks: none
		p = append(p, 't', 'R') // call
	}
	return append(p, 'u', '.')
}

// pickler appends the few opcodes that a state dict needs.
type pickler []byte

func (p *pickler) global(module, name string) {
	*p = append(*p, "c"+module+"\n"+name+"\n"...)
}

func (p *pickler) text(s string) {
	*p = append(*p, 'X')
	*p = binary.LittleEndian.AppendUint32(*p, uint32(len(s)))
	*p = append(*p, s...)
}

func (p *pickler) int(n int) {
	if n <= 0x7fffffff {
		*p = append(*p, 'J')
		*p = binary.LittleEndian.AppendUint32(*p, uint32(n))
		return
	}
	*p = append(*p, 0x8a, 8)
	*p = binary.LittleEndian.AppendUint64(*p, uint64(n))
}

func (p *pickler) ints(list []int) {
	*p = append(*p, '(')
	for _, n := range list {
		p.int(n)
	}
	*p = append(*p, 't')
}
