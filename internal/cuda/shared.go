//go:build gpu && cgo && linux

package cuda

import (
	"errors"
	"fmt"
	"sync"

	"github.com/slidesam/sam/internal/graph"
)

// opened are the devices of New: a process has one context and one copy of
// the kernels on each, as it has one driver.
var opened struct {
	mu sync.Mutex
	at map[int]*Device
}

// New returns a backend for a device, which all backends of the process share
// and which stays open. Backends of one device and precision are equal.
//
// New returns the errors of [Open], and [ErrCard] if the precision needs
// tensor cores that the device has not.
func New(index int, p Precision) (graph.Backend, Info, error) {
	opened.mu.Lock()
	defer opened.mu.Unlock()
	d := opened.at[index]
	if d != nil && errors.Is(d.do(func() error { return nil }), ErrLost) {
		_ = d.Close() // perhaps it is back
		d = nil
	}
	if d == nil {
		var err error
		if d, err = Open(index); err != nil {
			return nil, Info{}, err
		}
		if opened.at == nil {
			opened.at = map[int]*Device{}
		}
		opened.at[index] = d
	}
	if p != FP32 && d.info.Capability < tensorCapability {
		return nil, d.info, fmt.Errorf("%w for %v: %s has compute capability %.1f, want 8.0 (Ampere) or later", ErrCard, p, d.info.Name,
			float64(d.info.Capability)/10)
	}
	return Backend{Device: d, Precision: p}, d.info, nil
}
