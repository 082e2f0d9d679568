package serve

import (
	"context"
	"net/http"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// gate lets a few through at once and a bounded number wait.
type gate struct {
	sem     *semaphore.Weighted
	waiting atomic.Int64
	most    int64 // that may wait
	what    string
}

func newGate(what string, width int64, most int) *gate {
	return &gate{sem: semaphore.NewWeighted(width), most: int64(most), what: what}
}

// enter waits for n of the gate's width. The caller calls leave once.
func (g *gate) enter(ctx context.Context, n int64) (leave func(), err error) {
	if !g.sem.TryAcquire(n) {
		if g.waiting.Add(1) > g.most {
			g.waiting.Add(-1)
			return nil, busy(http.StatusServiceUnavailable, "too many requests wait for %s; try again soon", g.what)
		}
		err := g.sem.Acquire(ctx, n)
		g.waiting.Add(-1)
		if err != nil {
			return nil, err
		}
	}
	return func() { g.sem.Release(n) }, nil
}

// tryEnter enters if nobody else is there.
func (g *gate) tryEnter(n int64) (leave func(), ok bool) {
	if !g.sem.TryAcquire(n) {
		return nil, false
	}
	return func() { g.sem.Release(n) }, true
}
