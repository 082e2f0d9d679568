package kernel

import (
	"sync"
	"unsafe"
)

// A freeList keeps values for reuse. Unlike sync.Pool it never drops one, so
// that the steady state allocates nothing; it holds as many values as were
// ever in use at once.
type freeList[T any] struct {
	mu    sync.Mutex
	items []*T
}

func (l *freeList[T]) get() *T {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.items)
	if n == 0 {
		return new(T)
	}
	x := l.items[n-1]
	l.items = l.items[:n-1]
	return x
}

func (l *freeList[T]) put(x *T) {
	l.mu.Lock()
	l.items = append(l.items, x)
	l.mu.Unlock()
}

// arena hands out pieces of one scratch buffer. Reset makes all of it free
// again. A piece's contents are whatever was left there.
type arena struct {
	buf  []float32
	used int
}

var arenas freeList[arena]

const cacheLine = 16 // float32s in a cache line

// reset frees all pieces and makes sure that n floats can be handed out, in
// up to 16 pieces.
func (a *arena) reset(n int) {
	n += 16 * cacheLine
	if len(a.buf) < n {
		a.buf = Alloc(n)
	}
	a.used = 0
}

// take returns n floats that start on a cache line.
func (a *arena) take(n int) []float32 {
	s := a.buf[a.used : a.used+n : a.used+n]
	a.used += (n + cacheLine - 1) / cacheLine * cacheLine
	return s
}

// Alloc returns n zeros that start on a cache line, in large pages where the
// system has them: for weights and for the buffers between the networks'
// layers, which the kernels then read with fewer misses of the address cache.
// The garbage collector owns them as usual.
func Alloc(n int) []float32 {
	s := make([]float32, n+cacheLine-1)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(s)))/4) & (cacheLine - 1)
	s = s[off : off+n : off+n]
	huge(s)
	return s
}
