package weights

import (
	"fmt"
	"math"
	"os"
	"sync"

	"github.com/edsrzf/mmap-go"
)

// mapping is a file mapped into memory, read only.
type mapping struct {
	mu     sync.Mutex
	data   []byte
	mapped mmap.MMap // nil when data is ordinary memory
	closed bool
}

// mapFile maps a whole file. An empty file has empty data.
func mapFile(path string) (*mapping, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, formatError{fmt.Errorf("a %s, want a file", kindOf(st.Mode()))}
	}
	if st.Size() == 0 {
		return &mapping{}, nil
	}
	if st.Size() > math.MaxInt {
		return nil, fmt.Errorf("%d bytes do not fit the address space", st.Size())
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("map into memory: %w", err)
	}
	return &mapping{data: m, mapped: m}, nil
}

func kindOf(m os.FileMode) string {
	if m.IsDir() {
		return "folder"
	}
	return "device or pipe"
}

// bytes returns n bytes at off. The range was checked when the file was read.
func (m *mapping) bytes(off, n int) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	if off < 0 || n < 0 || off > len(m.data)-n {
		return nil, fmt.Errorf("bytes %d to %d of %d: out of range", off, off+n, len(m.data))
	}
	return m.data[off : off+n : off+n], nil
}

// release gives the pages of n bytes at off back.
func (m *mapping) release(off, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.mapped == nil || n <= 0 || off < 0 || off > len(m.data)-n {
		return
	}
	page := os.Getpagesize()
	start := off - off%page // the mapping starts on a page
	dropPages(m.data[start : off+n])
}

func (m *mapping) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed, m.data = true, nil
	if m.mapped == nil {
		return nil
	}
	return m.mapped.Unmap()
}
