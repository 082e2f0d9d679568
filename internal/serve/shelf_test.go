package serve

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShelfIsBoundedByBytes(t *testing.T) {
	s := newShelf(10, func(v int) int64 { return int64(v) })
	get := func(v int) {
		got, err := s.get(t.Context(), fmt.Sprint(v), func(context.Context) (int, error) { return v, nil })
		require.NoError(t, err)
		assert.Equal(t, v, got)
	}
	get(4)
	get(5)
	get(4) // now 5 is the oldest
	get(3)
	_, five := s.peek("5")
	_, four := s.peek("4")
	assert.True(t, four && !five)
	get(11) // too large: handed out, not kept
	_, eleven := s.peek("11")
	assert.False(t, eleven)
	assert.Equal(t, int64(7), s.used)
}

func TestShelfMakesOnceForMany(t *testing.T) {
	s := newShelf(10, func(int) int64 { return 1 })
	var made atomic.Int64
	gate := make(chan struct{})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			v, err := s.get(t.Context(), "k", func(context.Context) (int, error) { made.Add(1); <-gate; return 7, nil })
			assert.NoError(t, err)
			assert.Equal(t, 7, v)
		})
	}
	close(gate)
	all.Wait()
	assert.Equal(t, int64(1), made.Load())
}

// TestShelfStopsWithItsLastCaller has two callers; the first to leave changes
// nothing for the second.
func TestShelfStopsWithItsLastCaller(t *testing.T) {
	s := newShelf(10, func(int) int64 { return 1 })
	begun, ended := make(chan struct{}), make(chan struct{})
	build := func(ctx context.Context) (int, error) {
		close(begun)
		<-ctx.Done()
		close(ended)
		return 0, ctx.Err()
	}
	one, stopOne := context.WithCancel(t.Context())
	two, stopTwo := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, ctx := range []context.Context{one, two} {
		all.Go(func() {
			_, err := s.get(ctx, "k", build)
			assert.True(t, errors.Is(err, context.Canceled))
		})
	}
	<-begun
	for { // until both wait
		s.mu.Lock()
		n := s.flights["k"].waiting
		s.mu.Unlock()
		if n == 2 {
			break
		}
	}
	stopOne()
	select {
	case <-ended:
		t.Fatal("stopped although one waits")
	default:
	}
	stopTwo()
	<-ended
	all.Wait()
	v, err := s.get(t.Context(), "k", func(context.Context) (int, error) { return 3, nil })
	require.NoError(t, err)
	assert.Equal(t, 3, v, "the next caller begins anew")
}

func TestGateBoundsWhoWaits(t *testing.T) {
	g := newGate("it", 1, 1)
	leave, err := g.enter(t.Context(), 1)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	waits := make(chan error, 1)
	go func() { _, err := g.enter(ctx, 1); waits <- err }()
	for g.waiting.Load() == 0 {
	}
	_, err = g.enter(t.Context(), 1)
	var r *refusal
	require.ErrorAs(t, err, &r)
	assert.Equal(t, 503, r.status)
	stop()
	assert.ErrorIs(t, <-waits, context.Canceled)
	leave()
	_, ok := g.tryEnter(1)
	assert.True(t, ok)
}
