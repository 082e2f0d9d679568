package kernel

import (
	"slices"
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

var arenas arenaList

// An arenaList is a freeList of arenas that shares the buffers by size: a large
// one is there once for each goroutine that needs it at the same time, and not
// in every arena that ever served such a need.
type arenaList struct {
	list freeList[arena]
	mu   sync.Mutex
	bufs [][]float32 // that no arena has, used last at the end
}

func (l *arenaList) get() *arena { return l.list.get() }

func (l *arenaList) put(a *arena) {
	l.release(a)
	l.list.put(a)
}

func (l *arenaList) release(a *arena) {
	if a.buf == nil {
		return
	}
	l.mu.Lock()
	l.bufs = append(l.bufs, a.buf)
	l.mu.Unlock()
	a.buf = nil
}

// buffer returns the smallest buffer of n floats or more, of several the one
// used last. If there is none it makes one, in the place of the largest.
func (l *arenaList) buffer(n int) []float32 {
	l.mu.Lock()
	best := -1
	for i, b := range l.bufs {
		if best < 0 {
			best = i
			continue
		}
		switch have := len(l.bufs[best]); {
		case len(b) >= n && (have < n || len(b) <= have), len(b) < n && have < n && len(b) >= have:
			best = i
		}
	}
	var buf []float32
	if best >= 0 {
		buf = l.bufs[best]
		l.bufs = slices.Delete(l.bufs, best, best+1)
	}
	l.mu.Unlock()
	if len(buf) < n {
		buf = Alloc(n)
	}
	return buf
}

const cacheLine = 16 // float32s in a cache line

// reset frees all pieces and makes sure that n floats can be handed out, in
// up to 16 pieces.
func (a *arena) reset(n int) { a.resetFrom(&arenas, n) }

// resetFrom is reset with a buffer from l, to which a belongs.
func (a *arena) resetFrom(l *arenaList, n int) {
	n += 16 * cacheLine
	if len(a.buf) < n {
		l.release(a)
		a.buf = l.buffer(n)
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
