package kernel

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// TestLanes: every index once, at most so many at a time, also when calls are
// parallel in themselves.
func TestLanes(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(procs)
		for _, lanes := range []int{0, 1, 2, 3, 20} {
			for _, n := range []int{0, 1, 2, 7, 50} {
				var mu sync.Mutex
				seen := map[int]int{}
				now, most := 0, 0
				err := Lanes(n, lanes, func(i int) error {
					mu.Lock()
					seen[i]++
					now++
					most = max(most, now)
					mu.Unlock()
					var sum atomic.Int64
					Parallel(10, func(j int) { sum.Add(int64(j)); runtime.Gosched() })
					mu.Lock()
					now--
					mu.Unlock()
					if sum.Load() != 45 {
						return fmt.Errorf("sum %d", sum.Load())
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				if len(seen) != n || most > max(1, min(lanes, procs)) {
					t.Errorf("procs %d, lanes %d, n %d: %d indices, %d at a time", procs, lanes, n, len(seen), most)
				}
				for i, k := range seen {
					if i < 0 || i >= n || k != 1 {
						t.Errorf("index %d: %d times", i, k)
					}
				}
			}
		}
	}
}

// TestLanesError: no call begins after an error, and of several the lowest
// index's is returned.
func TestLanesError(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var both sync.WaitGroup
	both.Add(2)
	third, fourth := errors.New("third"), errors.New("fourth")
	var calls atomic.Int64
	err := Lanes(1000, 2, func(i int) error {
		calls.Add(1)
		switch i {
		case 3:
			both.Done()
			both.Wait()
			return third
		case 4:
			both.Done()
			both.Wait()
			return fourth
		}
		return nil
	})
	if !errors.Is(err, third) {
		t.Errorf("%v, want the third call's error", err)
	}
	if calls.Load() != 5 {
		t.Errorf("%d calls, want 5", calls.Load())
	}
}
