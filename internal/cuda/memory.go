//go:build gpu && cgo && linux

package cuda

// #include <cuda.h>
import "C"

import (
	"fmt"
	"unsafe"

	"gorgonia.org/cu"
)

// alloc returns device memory for n values of 4 bytes. It runs within do.
func (d *Device) alloc(n int) (cu.DevicePtr, error) {
	p, err := cu.MemAlloc(int64(4 * max(n, 1)))
	if err != nil {
		return 0, fmt.Errorf("allocate %d bytes: %w", 4*n, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.memory[p] = true
	return p, nil
}

// free gives memory of alloc back, which may be 0. It runs within do.
func (d *Device) free(p cu.DevicePtr) error {
	d.mu.Lock()
	ours := d.memory[p]
	delete(d.memory, p)
	d.mu.Unlock()
	if !ours {
		return nil
	}
	return cu.MemFree(p)
}

// upload returns device memory with a copy of data, whose elements take 4
// bytes. It runs within do.
func upload[T float32 | int32](d *Device, data []T) (cu.DevicePtr, error) {
	p, err := d.alloc(len(data))
	if err != nil || len(data) == 0 {
		return p, err
	}
	err = cu.MemcpyHtoD(p, unsafe.Pointer(&data[0]), int64(4*len(data)))
	if err == nil {
		// The copy may return while the last part is still on its way, and our
		// streams do not wait for the default one.
		err = cu.NoStream.Synchronize()
	}
	if err != nil {
		_ = d.free(p)
		return 0, fmt.Errorf("copy %d bytes to the device: %w", 4*len(data), err)
	}
	return p, nil
}

// pinned returns host memory that the device copies from and to by itself. It
// is no memory of Go's. It runs within do.
func pinned(n int) ([]float32, error) {
	var p unsafe.Pointer
	if err := check(int(C.cuMemHostAlloc(&p, C.size_t(4*max(n, 1)), 0))); err != nil {
		return nil, fmt.Errorf("allocate %d bytes of pinned host memory: %w", 4*n, err)
	}
	x := unsafe.Slice((*float32)(p), n)
	clear(x)
	return x, nil
}

// unpin frees what pinned returned. It runs within do.
func unpin(x []float32) {
	if p := unsafe.SliceData(x); p != nil {
		C.cuMemFreeHost(unsafe.Pointer(p))
	}
}

// toDevice enqueues a copy of pinned memory to the device, within do.
func toDevice(p cu.DevicePtr, x []float32, s cu.Stream) error {
	return cu.MemcpyHtoDAsync(p, unsafe.Pointer(unsafe.SliceData(x)), int64(4*len(x)), s)
}

// toHost enqueues a copy from the device to pinned memory, within do.
func toHost(x []float32, p cu.DevicePtr, s cu.Stream) error {
	return cu.MemcpyDtoHAsync(unsafe.Pointer(unsafe.SliceData(x)), p, int64(4*len(x)), s)
}
