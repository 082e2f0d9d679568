package weights

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"sync"

	"github.com/edsrzf/mmap-go"

	"github.com/slidesam/sam/internal/regular"
)

// mapping is a file mapped into memory, read only.
type mapping struct {
	mu     sync.Mutex
	data   []byte
	mapped mmap.MMap // nil when data is ordinary memory
	file   *os.File  // nil when it is not mapped, and once it is read
	closed bool

	path string // empty when data is ordinary memory
	info os.FileInfo

	parts []*mapping        // the files of an index, closed with it
	notes map[string]string // what the file says beside its weights, once it is parsed
}

// mapFile maps a whole file. An empty file has empty data. The file stays open
// until doneOpening.
func mapFile(path string) (*mapping, error) {
	f, err := regular.Open(path)
	if err != nil {
		if errors.Is(err, regular.ErrNotRegular) {
			err = formatError{err}
		}
		return nil, err
	}
	m, err := mapOpen(f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	m.path = path
	return m, nil
}

func mapOpen(f *os.File) (*mapping, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() == 0 {
		return &mapping{file: f, info: st}, nil
	}
	if st.Size() > math.MaxInt {
		return nil, fmt.Errorf("%d bytes do not fit the address space", st.Size())
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("map into memory: %w", err)
	}
	return &mapping{data: m, mapped: m, file: f, info: st}, nil
}

// ReadAt reads headers while the file is being opened: from the file, since
// each access to the mapping brings in the pages around it.
func (m *mapping) ReadAt(b []byte, off int64) (int, error) {
	if m.file != nil {
		return m.file.ReadAt(b, off)
	}
	return bytes.NewReader(m.data).ReadAt(b, off)
}

// doneOpening closes the file, of which the mapping remains, and gives back the
// pages that were looked at.
func (m *mapping) doneOpening() {
	if m.file != nil {
		_ = m.file.Close() // opened for reading: nothing can be lost
		m.file = nil
		m.release(0, len(m.data))
	}
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

// around is how far beyond an access the system brings in pages that lie in
// its file cache: 2 MiB where the cache holds large ones.
const around = 2 << 20

// release gives the pages of n bytes at off back, and those around them that
// came along. Others that still read there bring them in again.
func (m *mapping) release(off, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.mapped == nil || n <= 0 || off < 0 || off > len(m.data)-n {
		return
	}
	page := os.Getpagesize()
	start := max(0, off-around)
	start -= start % page // the mapping starts on a page
	dropPages(m.data[start:min(len(m.data), off+n+around)])
}

func (m *mapping) close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed, m.data = true, nil
	var errs []error
	for _, p := range m.parts {
		errs = append(errs, p.close())
	}
	if m.mapped != nil {
		errs = append(errs, m.mapped.Unmap())
	}
	return errors.Join(errs...)
}
