package serve

import (
	"container/list"
	"context"
	"sync"
)

// shelf keeps values that are costly to make: the last used ones, within a
// number of bytes. Equal requests at once share one making, which is stopped
// when the last of them has gone.
type shelf[V any] struct {
	limit int64
	size  func(V) int64

	mu      sync.Mutex
	used    int64
	order   *list.List // of *shelved[V], last used first
	have    map[string]*list.Element
	flights map[string]*flight[V]
}

type shelved[V any] struct {
	key   string
	value V
	bytes int64
}

// flight is a value in the making.
type flight[V any] struct {
	done    chan struct{}
	value   V
	err     error
	waiting int
	stop    context.CancelFunc
}

func newShelf[V any](limit int64, size func(V) int64) *shelf[V] {
	return &shelf[V]{limit: limit, size: size, order: list.New(), have: map[string]*list.Element{}, flights: map[string]*flight[V]{}}
}

// get returns the value of a key, from the shelf or from build. The context
// that build gets ends when no caller waits any more.
func (s *shelf[V]) get(ctx context.Context, key string, build func(context.Context) (V, error)) (V, error) {
	s.mu.Lock()
	if e, ok := s.have[key]; ok {
		s.order.MoveToFront(e)
		v := e.Value.(*shelved[V]).value
		s.mu.Unlock()
		return v, nil
	}
	f, ok := s.flights[key]
	if !ok {
		making, stop := context.WithCancel(context.WithoutCancel(ctx))
		f = &flight[V]{done: make(chan struct{}), stop: stop}
		s.flights[key] = f
		go s.fly(making, key, f, build)
	}
	f.waiting++
	s.mu.Unlock()
	select {
	case <-f.done:
		s.leave(key, f)
		return f.value, f.err
	case <-ctx.Done():
		s.leave(key, f)
		var none V
		return none, ctx.Err()
	}
}

// leave takes a caller off a flight; the last one ends it.
func (s *shelf[V]) leave(key string, f *flight[V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.waiting--; f.waiting == 0 {
		f.stop()
		if s.flights[key] == f { // the next caller begins anew
			delete(s.flights, key)
		}
	}
}

func (s *shelf[V]) fly(ctx context.Context, key string, f *flight[V], build func(context.Context) (V, error)) {
	f.value, f.err = build(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flights[key] == f {
		delete(s.flights, key)
	}
	if f.err == nil {
		s.put(key, f.value)
	}
	close(f.done)
}

// add puts a value on the shelf.
func (s *shelf[V]) add(key string, v V) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.put(key, v)
}

// peek returns a value that is on the shelf.
func (s *shelf[V]) peek(key string) (v V, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.have[key]
	if !ok {
		return v, false
	}
	s.order.MoveToFront(e)
	return e.Value.(*shelved[V]).value, true
}

// put keeps v unless it alone is over the limit.
func (s *shelf[V]) put(key string, v V) {
	if e, ok := s.have[key]; ok {
		s.drop(e)
	}
	n := s.size(v)
	if n > s.limit {
		return
	}
	s.have[key] = s.order.PushFront(&shelved[V]{key, v, n})
	for s.used += n; s.used > s.limit; {
		s.drop(s.order.Back())
	}
}

func (s *shelf[V]) drop(e *list.Element) {
	it := s.order.Remove(e).(*shelved[V])
	delete(s.have, it.key)
	s.used -= it.bytes
}
