package train

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"

	"github.com/slidesam/sam/internal/atomicfile"
)

// ErrState is wrapped by every error about a file that is no saved state, or
// a damaged one.
var ErrState = errors.New("not a training state")

const (
	stateMagic   = "slidesam-train-1"
	maxStateHead = 1 << 24 // bytes of the description
	maxArrays    = 1 << 16
)

// SaveState writes the state from which a run goes on: a description, as JSON,
// and arrays. The file is whole or is the one before.
func SaveState(path string, head any, arrays [][]float32) error {
	j, err := json.Marshal(head)
	if err != nil {
		return fmt.Errorf("train: save state %s: %w", path, err)
	}
	err = atomicfile.Write(path, func(w io.Writer) error {
		sum := crc32.NewIEEE()
		b := bufio.NewWriterSize(io.MultiWriter(w, sum), 1<<16)
		buf := []byte(stateMagic)
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(j)))
		buf = append(buf, j...)
		buf = binary.LittleEndian.AppendUint32(buf, uint32(len(arrays)))
		for _, a := range arrays {
			buf = binary.LittleEndian.AppendUint64(buf, uint64(len(a)))
		}
		if _, err := b.Write(buf); err != nil {
			return err
		}
		for _, a := range arrays {
			for len(a) > 0 {
				n := min(len(a), 1<<12)
				buf = buf[:0]
				for _, v := range a[:n] {
					buf = binary.LittleEndian.AppendUint32(buf, math.Float32bits(v))
				}
				if _, err := b.Write(buf); err != nil {
					return err
				}
				a = a[n:]
			}
		}
		if err := b.Flush(); err != nil {
			return err
		}
		return binary.Write(w, binary.LittleEndian, sum.Sum32())
	})
	if err != nil {
		return fmt.Errorf("train: save state %s: %w", path, err)
	}
	return nil
}

// LoadState reads what [SaveState] wrote: the description into head, a pointer,
// and the arrays into arrays, whose number and lengths must be the file's. On
// an error neither is to be used.
func LoadState(path string, head any, arrays [][]float32) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("train: load state: %w", err)
	}
	defer f.Close()
	if err := readState(bufio.NewReaderSize(f, 1<<16), head, arrays); err != nil {
		return fmt.Errorf("train: load state %s: %w", path, err)
	}
	return nil
}

func readState(in io.Reader, head any, arrays [][]float32) error {
	sum := crc32.NewIEEE()
	r := io.TeeReader(in, sum)
	magic := make([]byte, len(stateMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != stateMagic {
		return ErrState
	}
	cut := func(err error) error {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return fmt.Errorf("%w: the file is cut short", ErrState)
		}
		return err
	}
	var n uint32
	if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
		return cut(err)
	}
	if n > maxStateHead {
		return fmt.Errorf("%w: a description of %d bytes", ErrState, n)
	}
	j, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return err
	}
	if len(j) < int(n) {
		return cut(io.EOF)
	}
	if err := json.Unmarshal(j, head); err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
		return cut(err)
	}
	if n > maxArrays || int(n) != len(arrays) {
		return fmt.Errorf("%w: %d arrays, want %d", ErrState, n, len(arrays))
	}
	for i, a := range arrays {
		var size uint64
		if err := binary.Read(r, binary.LittleEndian, &size); err != nil {
			return cut(err)
		}
		if size != uint64(len(a)) {
			return fmt.Errorf("%w: array %d has %d values, want %d", ErrState, i, size, len(a))
		}
	}
	buf := make([]byte, 4<<12)
	for _, a := range arrays {
		for len(a) > 0 {
			n := min(len(a), 1<<12)
			if _, err := io.ReadFull(r, buf[:4*n]); err != nil {
				return cut(err)
			}
			for i := range a[:n] {
				a[i] = math.Float32frombits(binary.LittleEndian.Uint32(buf[4*i:]))
			}
			a = a[n:]
		}
	}
	want := sum.Sum32()
	var got uint32
	if err := binary.Read(in, binary.LittleEndian, &got); err != nil {
		return cut(err)
	}
	if got != want {
		return fmt.Errorf("%w: the checksum is wrong", ErrState)
	}
	return nil
}
