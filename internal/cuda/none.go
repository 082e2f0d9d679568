//go:build !(gpu && cgo && linux)

package cuda

import "fmt"

// Devices returns no device and [ErrUnavailable]: this program was built
// without the tag gpu.
func Devices() ([]Info, error) {
	return nil, fmt.Errorf("%w: built without the tag gpu", ErrUnavailable)
}
