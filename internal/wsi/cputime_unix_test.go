//go:build unix

package wsi_test

import (
	"syscall"
	"time"
)

// processTime is the time that the processor has spent on this process.
func processTime() time.Duration {
	var r syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
