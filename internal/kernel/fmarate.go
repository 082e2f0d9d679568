package kernel

import (
	"runtime"
	"sync/atomic"
	"time"
)

// fmaSink keeps the compiler from dropping the portable loop.
var fmaSink atomic.Uint32

// FMARate measures the floating-point operations per second that n goroutines
// reach together in a loop of independent fused multiply-adds on registers:
// the ceiling of every kernel of this package. It runs for about d.
func FMARate(n int, d time.Duration) float64 {
	return fmaRate(active, n, d)
}

func fmaRate(im *impl, n int, d time.Duration) float64 {
	const rounds = 1 << 16
	var ops atomic.Int64
	done := make(chan struct{})
	begin := time.Now()
	for range n {
		go func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			for time.Since(begin) < d {
				ops.Add(int64(im.fma(rounds)))
			}
			done <- struct{}{}
		}()
	}
	for range n {
		<-done
	}
	return float64(ops.Load()) / time.Since(begin).Seconds()
}
