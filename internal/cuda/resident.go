//go:build gpu && cgo && linux

package cuda

import (
	"runtime"
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
	first := unsafe.SliceData(data)
	key := weak.Make(first)
	c := &d.resident
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.at[key]; ok {
		return p, nil
	}
	p, err := upload(d, data)
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

func (d *Device) dropResident(key weak.Pointer[float32]) {
	c := &d.resident
	c.mu.Lock()
	p := c.at[key]
	delete(c.at, key)
	c.mu.Unlock()
	_ = d.do(func() error { return d.free(p) }) // a device that was closed or lost has no memory
}
