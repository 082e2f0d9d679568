package wsi

import (
	"container/list"
	"errors"
	"sync"

	"github.com/slidesam/sam/internal/tiff"
)

const defaultCache = 64 << 20

type tileKey struct{ level, col, row int }

// tileCache keeps the tiles used last, up to a number of bytes. A tile that
// several goroutines ask for at once is decoded by one of them.
type tileCache struct {
	mu    sync.Mutex
	limit int64
	used  int64
	order *list.List // of *cached, most recent first
	byKey map[tileKey]*list.Element
	busy  map[tileKey]*pending
}

type cached struct {
	key tileKey
	seg *tiff.Segment
}

type pending struct {
	done chan struct{}
	seg  *tiff.Segment
	err  error
}

func newTileCache(limit int64) *tileCache {
	if limit <= 0 {
		limit = defaultCache
	}
	return &tileCache{limit: limit, order: list.New(), byKey: map[tileKey]*list.Element{}, busy: map[tileKey]*pending{}}
}

var errDecoderDied = errors.New("the decoder did not return")

// get returns the tile from the cache or through load. Errors are not kept.
// The tile is shared: callers must not write to it.
func (c *tileCache) get(k tileKey, load func() (*tiff.Segment, error)) (*tiff.Segment, error) {
	c.mu.Lock()
	if e, ok := c.byKey[k]; ok {
		c.order.MoveToFront(e)
		seg := e.Value.(*cached).seg
		c.mu.Unlock()
		return seg, nil
	}
	if p, ok := c.busy[k]; ok {
		c.mu.Unlock()
		<-p.done
		return p.seg, p.err
	}
	p := &pending{done: make(chan struct{}), err: errDecoderDied}
	c.busy[k] = p
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.busy, k)
		if p.err == nil {
			c.put(k, p.seg)
		}
		c.mu.Unlock()
		close(p.done)
	}()
	p.seg, p.err = load()
	return p.seg, p.err
}

// put adds a tile and drops the oldest ones over the limit. A tile larger than
// the whole cache is kept alone until the next one comes: a file of one large
// tile is decoded once and not for each region.
func (c *tileCache) put(k tileKey, seg *tiff.Segment) {
	n := int64(len(seg.Pix))
	c.byKey[k] = c.order.PushFront(&cached{k, seg})
	for c.used += n; c.used > c.limit && c.order.Len() > 1; {
		e := c.order.Back()
		old := e.Value.(*cached)
		c.order.Remove(e)
		delete(c.byKey, old.key)
		c.used -= int64(len(old.seg.Pix))
	}
}
