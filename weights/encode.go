package weights

import (
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"math"

	"github.com/slidesam/sam/internal/half"
)

// chunk is how many bytes are written between looks at the context.
const chunk = 1 << 20

// encoder turns the values of a checkpoint into the bytes of a file.
type encoder struct {
	ctx      context.Context
	c        *Checkpoint
	dtype    DType
	progress func(done, total int64)

	done, total int64
	buf         []byte
}

func newEncoder(ctx context.Context, c *Checkpoint, o ConvertOptions) (*encoder, error) {
	if o.DType != Float32 && o.DType != Float16 {
		return nil, fmt.Errorf("type %v: want %v or %v", o.DType, Float32, Float16)
	}
	e := &encoder{ctx: ctx, c: c, dtype: o.DType, progress: o.Progress, buf: make([]byte, 0, chunk)}
	for _, t := range c.tensors {
		n, err := numel(t.Shape)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", t.Name, err)
		}
		e.total += int64(n) * int64(e.dtype.Size())
	}
	return e, nil
}

// size returns the bytes that a tensor's values take.
func (e *encoder) size(t *Tensor) int { return t.Len() * e.dtype.Size() }

// write writes a tensor's values, little-endian, and reports progress.
func (e *encoder) write(w io.Writer, t *Tensor) error {
	err := e.each(t, func(b []byte) error {
		if _, err := w.Write(b); err != nil {
			return err
		}
		e.done += int64(len(b))
		if e.progress != nil {
			e.progress(e.done, e.total)
		}
		return nil
	})
	t.Release()
	return err
}

// checksum returns the CRC-32 of head and what write writes.
func (e *encoder) checksum(head []byte, t *Tensor) (uint32, error) {
	sum := crc32.ChecksumIEEE(head)
	err := e.each(t, func(b []byte) error {
		sum = crc32.Update(sum, crc32.IEEETable, b)
		return nil
	})
	return sum, err
}

// each calls f with the tensor's values in chunks, which are valid until f
// returns.
func (e *encoder) each(t *Tensor, f func([]byte) error) error {
	x, err := t.values()
	if err != nil {
		return err
	}
	return guarded(func() error { return e.chunks(t, x, f) })
}

func (e *encoder) chunks(t *Tensor, x []float32, f func([]byte) error) error {
	step := chunk / e.dtype.Size()
	for at := 0; at < len(x); at += step {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		part := x[at:min(at+step, len(x))]
		b := e.buf[:0]
		if e.dtype == Float16 {
			for i, v := range part {
				h := half.Bits(v)
				if h&0x7c00 == 0x7c00 {
					return fmt.Errorf("%s: element %d is %v: too large for float16", t.Name, at+i, v)
				}
				b = binary.LittleEndian.AppendUint16(b, h)
			}
		} else {
			for _, v := range part {
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
		}
		if err := f(b); err != nil {
			return err
		}
	}
	return nil
}
