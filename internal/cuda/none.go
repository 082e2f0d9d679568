//go:build !(gpu && cgo && linux)

package cuda

import (
	"fmt"

	"github.com/slidesam/sam/internal/graph"
)

var errBuild = fmt.Errorf("%w: built without the tag gpu", ErrUnavailable)

// Devices returns no device and [ErrUnavailable]: this program was built
// without the tag gpu.
func Devices() ([]Info, error) { return nil, errBuild }

// New returns [ErrUnavailable]: this program was built without the tag gpu.
func New(int, Precision) (graph.Backend, Info, error) { return nil, Info{}, errBuild }
