package httpfs

import (
	"container/list"
	"errors"
	"sync"
)

// key is a block of one version of a file.
type key struct {
	url, version string
	block        int64
}

// cache keeps the blocks used last, up to a number of bytes. A block that
// several goroutines ask for at once is fetched by one of them.
type cache struct {
	mu    sync.Mutex
	limit int64
	used  int64
	order *list.List // of *entry, most recent first
	byKey map[key]*list.Element
	busy  map[key]*pending
}

type entry struct {
	k key
	b []byte
}

type pending struct {
	done chan struct{}
	b    []byte
	err  error
}

func newCache(limit int64) *cache {
	return &cache{limit: limit, order: list.New(), byKey: map[key]*list.Element{}, busy: map[key]*pending{}}
}

func (c *cache) has(k key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, there := c.byKey[k]
	_, coming := c.busy[k]
	return there || coming
}

// get returns a block from the cache or through load. It is shared: callers
// must not write to it.
func (c *cache) get(k key, load func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	if e, ok := c.byKey[k]; ok {
		c.order.MoveToFront(e)
		b := e.Value.(*entry).b
		c.mu.Unlock()
		return b, nil
	}
	if p, ok := c.busy[k]; ok {
		c.mu.Unlock()
		<-p.done
		return p.b, p.err
	}
	p := &pending{done: make(chan struct{}), err: errors.New("the request did not end")}
	c.busy[k] = p
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.busy, k)
		c.mu.Unlock()
		close(p.done)
	}()
	if p.b, p.err = load(); p.err == nil {
		c.put(k, p.b)
	}
	return p.b, p.err
}

// put adds a block and drops the oldest ones over the limit.
func (c *cache) put(k key, b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[k]; ok || int64(len(b)) > c.limit {
		return
	}
	c.byKey[k] = c.order.PushFront(&entry{k, b})
	for c.used += int64(len(b)); c.used > c.limit; {
		e := c.order.Back()
		old := e.Value.(*entry)
		c.order.Remove(e)
		delete(c.byKey, old.k)
		c.used -= int64(len(old.b))
	}
}
