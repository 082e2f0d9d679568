//go:build gpu && cgo && linux

package cuda

// Allocations is the number of arrays on a device.
func Allocations(d *Device) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.memory)
}
