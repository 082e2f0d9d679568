//go:build gpu && cgo && linux

package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"unsafe"
	"weak"

	"gorgonia.org/cu"
)

// residentCache holds copies on a device of arrays that are bound to inputs
// and do not change, such as a picture's embedding. A copy lives for as long
// as its array.
type residentCache struct {
	mu sync.Mutex
	at map[weak.Pointer[float32]]cu.DevicePtr
}

// residentCopy returns the place of data on the device, where it is copied at
// its first use. It runs within do.
func (d *Device) residentCopy(data []float32) (cu.DevicePtr, error) {
	return d.residentFrom(data, func() (cu.DevicePtr, error) { return upload(d, data) })
}

// residentFrom is residentCopy where a copy that is missing is made by put.
func (d *Device) residentFrom(data []float32, put func() (cu.DevicePtr, error)) (cu.DevicePtr, error) {
	first := unsafe.SliceData(data)
	key := weak.Make(first)
	c := &d.resident
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.at[key]; ok {
		return p, nil
	}
	p, err := put()
	if err != nil {
		return 0, err
	}
	if c.at == nil {
		c.at = map[weak.Pointer[float32]]cu.DevicePtr{}
	}
	c.at[key] = p
	runtime.AddCleanup(first, d.dropResident, key)
	return p, nil
}

// Kept implements [graph.Keeper]: the copy that stays is made on the device.
func (p *Program) Kept(i int) ([]float32, error) {
	o := p.outputs[i]
	data := slices.Clone(o.host)
	err := p.d.do(func() error {
		_, err := p.d.residentFrom(data, func() (at cu.DevicePtr, err error) {
			n := int64(4 * len(data))
			if at, err = p.d.alloc(len(data)); err != nil {
				return 0, err
			}
			if err = cu.MemcpyDtoDAsync(at, o.at, n, p.stream); err == nil {
				err = p.stream.Synchronize()
			}
			if err != nil {
				_ = p.d.free(at)
			}
			return at, err
		})
		return err
	})
	runtime.KeepAlive(p)
	if errors.Is(err, ErrMemory) {
		err = nil // it is copied from data when there is room again
	}
	if err != nil {
		return nil, fmt.Errorf("cuda: keep output %d: %w", i, err)
	}
	return data, nil
}

func (d *Device) dropResident(key weak.Pointer[float32]) {
	c := &d.resident
	c.mu.Lock()
	p := c.at[key]
	delete(c.at, key)
	c.mu.Unlock()
	_ = d.do(func() error { return d.free(p) }) // a device that was closed or lost has no memory
}
