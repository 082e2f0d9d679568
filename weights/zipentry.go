package weights

import (
	"fmt"
	"hash/crc32"
	"sync"

	"github.com/slidesam/sam/weights/internal/zipfile"
)

// zipEntry is a file in a mapped archive. Its checksum is compared once, when
// its bytes are first asked for.
type zipEntry struct {
	zipfile.Entry
	file *mapping
	once sync.Once
	err  error
}

// check compares the checksum of a stored entry.
func (e *zipEntry) check() error {
	e.once.Do(func() {
		b, err := e.file.bytes(e.Off, e.Stored)
		if err != nil {
			e.err = err
			return
		}
		e.err = checksum(e.Entry, crc32.ChecksumIEEE(b))
	})
	return e.err
}

// bytes returns the contents of a stored entry.
func (e *zipEntry) bytes() ([]byte, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	return e.file.bytes(e.Off, e.Stored)
}

// checksum compares what was computed with what the archive says. PyTorch
// writes 0 if it was told not to compute any.
func checksum(e zipfile.Entry, got uint32) error {
	if e.CRC32 != 0 && got != e.CRC32 {
		return formatError{fmt.Errorf("%q: checksum %08x, want %08x: the file is damaged: copy it again", e.Name, got, e.CRC32)}
	}
	return nil
}
