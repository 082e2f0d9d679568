package graph

import (
	"context"
	"sync"
)

// Pool lends programs by key, at most a fixed number at a time, and keeps
// those that come back. The key is the shape a program was built for; the
// programs of the keys used longest ago are dropped when too many lie idle.
type Pool[K comparable] struct {
	build func(K) (Program, error)
	slots chan struct{} // one token for each program lent
	idle  int           // how many idle programs are kept

	mu   sync.Mutex
	free []entry[K] // least recently used first
}

type entry[K comparable] struct {
	key  K
	prog Program
}

// NewPool returns a pool that lends at most lent programs at once, keeps at
// most idle unused ones and makes new ones with build.
func NewPool[K comparable](lent, idle int, build func(K) (Program, error)) *Pool[K] {
	return &Pool[K]{build: build, slots: make(chan struct{}, lent), idle: idle}
}

// With lends a program for key to f. It waits while too many are lent, and
// returns ctx's error if ctx ends first. What f reads from the program must
// be copied before it returns.
func (p *Pool[K]) With(ctx context.Context, key K, f func(Program) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.slots }()
	prog := p.take(key)
	if prog == nil {
		var err error
		if prog, err = p.build(key); err != nil {
			return err
		}
	}
	defer p.put(key, prog)
	return f(prog)
}

func (p *Pool[K]) take(key K) Program {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := len(p.free) - 1; i >= 0; i-- {
		if p.free[i].key == key {
			prog := p.free[i].prog
			p.free = append(p.free[:i], p.free[i+1:]...)
			return prog
		}
	}
	return nil
}

func (p *Pool[K]) put(key K, prog Program) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, entry[K]{key, prog})
	if len(p.free) > p.idle {
		copy(p.free, p.free[1:])
		p.free[len(p.free)-1] = entry[K]{}
		p.free = p.free[:len(p.free)-1]
	}
}
