package weights

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// archive writes a zip archive whose entries are stored, not compressed, and
// begin at multiples of 64 bytes, as torch.save's do, so that their values can
// be used where they are.
type archive struct {
	zip   *zip.Writer
	under *counter
}

// counter counts the bytes written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func newArchive(w io.Writer) *archive {
	c := &counter{w: w}
	return &archive{zip.NewWriter(c), c}
}

// create begins an entry of a known size and checksum.
func (a *archive) create(name string, size int, sum uint32) (io.Writer, error) {
	if err := a.zip.Flush(); err != nil {
		return nil, err
	}
	const localHeader, fieldHeader, align = 30, 4, 64
	at := a.under.n + localHeader + int64(len(name)) + fieldHeader
	pad := int((align - at%align) % align)
	// Extra field 0x4246, "FB", is the one that torch.save pads with.
	extra := append([]byte{'F', 'B', byte(pad), 0}, bytes.Repeat([]byte{'Z'}, pad)...)
	return a.zip.CreateRaw(&zip.FileHeader{
		Name: name, Method: zip.Store, CRC32: sum, Extra: extra,
		CompressedSize64: uint64(size), UncompressedSize64: uint64(size),
	})
}

// bytes writes an entry.
func (a *archive) bytes(name string, b []byte) error {
	w, err := a.create(name, len(b), crc32.ChecksumIEEE(b))
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// tensor writes an entry that holds head and a tensor's values.
func (a *archive) tensor(name string, head []byte, e *encoder, t *Tensor) error {
	sum, err := e.checksum(head, t)
	if err != nil {
		return err
	}
	w, err := a.create(name, len(head)+e.size(t), sum)
	if err != nil {
		return err
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	return e.write(w, t)
}

// close ends the archive, with the metadata as its comment.
func (a *archive) close(notes map[string]string) error {
	text, err := comment(notes)
	if err != nil {
		return err
	}
	if err := a.zip.SetComment(text); err != nil {
		return err
	}
	return a.zip.Close()
}

// writeNPZ writes a .npz file. npyio's writer, which knows neither float16 nor
// arrays of more than two axes, is not used.
func writeNPZ(w io.Writer, e *encoder) error {
	a := newArchive(w)
	for _, name := range e.c.names {
		t := e.c.tensors[name]
		if err := a.tensor(name+".npy", npyHead(t.Shape, e.dtype), e, t); err != nil {
			return err
		}
	}
	return a.close(e.c.notes)
}

// npyHead returns the header of an array, version 1.0, padded to 64 bytes.
//
// Source: numpy.lib.format.
func npyHead(shape []int, dtype DType) []byte {
	descr := "<f4"
	if dtype == Float16 {
		descr = "<f2"
	}
	var axes strings.Builder
	for i, d := range shape {
		if i > 0 {
			axes.WriteByte(' ')
		}
		fmt.Fprintf(&axes, "%d,", d)
	}
	list := axes.String()
	if len(shape) > 1 {
		list = strings.TrimSuffix(list, ",")
	}
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, list)
	const preamble, align = 10, 64
	n := preamble + len(dict) + 1
	dict += strings.Repeat(" ", (align-n%align)%align) + "\n"
	return append([]byte{0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, byte(len(dict)), byte(len(dict) >> 8)}, dict...)
}
