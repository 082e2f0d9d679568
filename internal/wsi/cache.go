package wsi

import (
	"container/list"
	"context"
	"errors"
	"sync"

	"github.com/slidesam/sam/internal/tiff"
)

const defaultCache = 64 << 20

// tileKey names a tile; halved is how often it was halved while it was decoded.
type tileKey struct{ level, col, row, halved int }

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

// get is getWithin for a tile that is not slow.
func (c *tileCache) get(k tileKey, load func() (*tiff.Segment, error)) (*tiff.Segment, error) {
	return c.getWithin(context.Background(), k, 0, load)
}

// getWithin returns the tile from the cache or through load. Errors are not
// kept. The tile is shared: callers must not write to it. If ctx ends, it
// returns at once; a load that is slow, of size bytes, goes on by itself and is
// kept.
func (c *tileCache) getWithin(ctx context.Context, k tileKey, size int64, load func() (*tiff.Segment, error)) (*tiff.Segment, error) {
	c.mu.Lock()
	if e, ok := c.byKey[k]; ok {
		c.order.MoveToFront(e)
		seg := e.Value.(*cached).seg
		c.mu.Unlock()
		return seg, nil
	}
	if p, ok := c.busy[k]; ok {
		c.mu.Unlock()
		return p.wait(ctx)
	}
	p := &pending{done: make(chan struct{}), err: errDecoderDied}
	c.busy[k] = p
	slow := size > slowTile
	if slow {
		c.room(size + tileWeight)
	}
	c.mu.Unlock()
	if slow {
		go c.load(k, p, load)
		return p.wait(ctx)
	}
	c.load(k, p, load)
	return p.seg, p.err
}

// wait returns the tile when it is there, or the end of ctx.
func (p *pending) wait(ctx context.Context) (*tiff.Segment, error) {
	select {
	case <-p.done:
		return p.seg, p.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// load fills p and the cache.
func (c *tileCache) load(k tileKey, p *pending, load func() (*tiff.Segment, error)) {
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
}

// slowTile is the length of a tile that may take so long that nobody who gives
// up waits for it.
const slowTile = 4 << 20

// largeTiles is the most bytes of tiles that are kept for their size.
const largeTiles = 256<<20 + 4*tileWeight

// put adds a tile and drops the oldest ones over the limit. Of tiles that are
// large for the cache up to four stay, of up to 256 MiB in all, and the last one
// in any case: regions touch four at most, and none is decoded for each anew.
func (c *tileCache) put(k tileKey, seg *tiff.Segment) {
	n := weight(seg)
	c.room(n)
	c.byKey[k] = c.order.PushFront(&cached{k, seg})
	c.used += n
}

// tileWeight is what a tile takes besides its pixels: its places in the list and the
// table, and what the allocator rounds up. A file may be cut into tiles of one
// pixel.
const tileWeight = 512

func weight(seg *tiff.Segment) int64 { return int64(len(seg.Pix)) + tileWeight }

// room drops the oldest tiles until one of n bytes may come. It is called
// before a large tile is decoded too, which takes twice its bytes.
func (c *tileCache) room(n int64) {
	for limit := max(c.limit, min(4*n, largeTiles)); c.used+n > limit && c.order.Len() > 0; {
		e := c.order.Back()
		old := e.Value.(*cached)
		c.order.Remove(e)
		delete(c.byKey, old.key)
		c.used -= weight(old.seg)
	}
}
