package kernel

import (
	"runtime"
	"sync/atomic"
)

// Lanes calls f(0), ..., f(n-1) for work that is parallel in itself, but not
// throughout: up to lanes calls run at a time, so that one has work for the
// cores while another has none. Indices are handed out in ascending order.
//
// Once a call has returned an error none begins; Lanes returns the one of the
// lowest index.
func Lanes(n, lanes int, f func(i int) error) error {
	lanes = max(1, min(n, lanes, runtime.GOMAXPROCS(0)))
	var next atomic.Int64
	var failed atomic.Bool
	errs, at := make([]error, lanes), make([]int, lanes)
	Parallel(lanes, func(lane int) {
		for !failed.Load() {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			if err := f(i); err != nil {
				errs[lane], at[lane] = err, i
				failed.Store(true)
			}
		}
	})
	var first error
	lowest := n
	for lane, err := range errs {
		if err != nil && at[lane] < lowest {
			first, lowest = err, at[lane]
		}
	}
	return first
}
