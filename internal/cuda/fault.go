//go:build gpu && cgo && linux

package cuda

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// Results of the driver that this package treats in their own way. Numbers,
// because gorgonia.org/cu does not name all of them. Source: cuda.h.
const (
	resultOutOfMemory        = 2
	resultNoBinaryForGPU     = 209
	resultUnsupportedPTX     = 222
	resultNotFound           = 500
	resultDeviceUnavailable  = 46
	resultUnknown            = 999
	resultEccUncorrectable   = 214
	resultHardwareStackError = 714
)

// stickyResults are those after which a context is of no use.
var stickyResults = []int{
	resultDeviceUnavailable, resultEccUncorrectable,
	700, // illegal address
	702, // launch timeout
	resultHardwareStackError,
	715, // illegal instruction
	716, // misaligned address
	717, // invalid address space
	718, // invalid program counter
	719, // launch failed
	720, // cooperative launch too large
	resultUnknown,
}

// result is an error of the driver from this package's own calls.
type result int

// Error implements error.
func (r result) Error() string { return fmt.Sprintf("CUDA error %d", int(r)) }

// check makes an error of what a driver's function returned.
func check(r int) error {
	if r == 0 {
		return nil
	}
	return result(r)
}

// resultOf is the driver's number of an error, 0 if it is none of the
// driver's. Those of gorgonia.org/cu have a type that it does not export.
func resultOf(err error) int {
	for ; err != nil; err = errors.Unwrap(err) {
		if v := reflect.ValueOf(err); v.Kind() == reflect.Int {
			return int(v.Int())
		}
	}
	return 0
}

// fault wraps the driver's errors that callers tell apart, and remembers that
// the device is lost.
func (d *Device) fault(err error) error {
	switch r := resultOf(err); {
	case r == 0:
		return err
	case r == resultOutOfMemory:
		return fmt.Errorf("%w of %s", ErrMemory, d.info.Name)
	case r == resultNoBinaryForGPU:
		return fmt.Errorf("%w: %s: %w", ErrCard, d.info.Name, err)
	case r == resultUnsupportedPTX:
		return fmt.Errorf("%w: %w", ErrDriver, err)
	case slices.Contains(stickyResults, r):
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.lost == nil {
			d.lost = fmt.Errorf("%w: %s: %w", ErrLost, d.info.Name, err)
		}
		return d.lost
	}
	return err
}
