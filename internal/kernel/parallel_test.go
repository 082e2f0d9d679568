package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

func TestParallel(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 8} {
		runtime.GOMAXPROCS(procs)
		for n := range 70 {
			calls := make([]atomic.Int32, n)
			Parallel(n, func(i int) { calls[i].Add(1) })
			for i := range calls {
				if c := calls[i].Load(); c != 1 {
					t.Fatalf("GOMAXPROCS %d: f(%d) of %d called %d times", procs, i, n, c)
				}
			}
		}
	}
}

// TestParallelNested runs calls within calls from many goroutines at once.
func TestParallelNested(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var sum atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 20 {
				Parallel(7, func(i int) {
					Parallel(5, func(j int) {
						Parallel(3, func(k int) { sum.Add(int64(i*15 + j*3 + k + 1)) })
					})
				})
			}
		})
	}
	wg.Wait()
	if want := int64(16 * 20 * 105 * 106 / 2); sum.Load() != want {
		t.Fatalf("sum %d, want %d", sum.Load(), want)
	}
}

// TestParallelLimit checks that no more than GOMAXPROCS calls run at once,
// also after GOMAXPROCS has been lowered.
func TestParallelLimit(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{8, 3, 2, 1} {
		runtime.GOMAXPROCS(procs)
		var now, most atomic.Int64
		Parallel(200, func(int) {
			n := now.Add(1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			runtime.Gosched()
			now.Add(-1)
		})
		if m := most.Load(); m > int64(procs) {
			t.Fatalf("%d calls at once with GOMAXPROCS %d", m, procs)
		}
	}
}

func TestParallelPanic(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for range 50 {
		func() {
			defer func() {
				if v := recover(); v != "stop" {
					t.Fatalf("recovered %v", v)
				}
			}()
			Parallel(100, func(i int) {
				if i >= 10 {
					panic("stop")
				}
			})
		}()
	}
	var n atomic.Int64
	Parallel(100, func(int) { n.Add(1) })
	if n.Load() != 100 {
		t.Fatal("the pool does not work after a panic")
	}
}
