//go:build gpu && cgo && linux

package cuda

// #include <cuda.h>
// static CUresult allow_shared(void* f, int bytes) {
//   return cuFuncSetAttribute((CUfunction)f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes);
// }
import "C"

import (
	"embed"
	"fmt"
	"math"
	"path"
	"regexp"
	"strings"
	"unsafe"

	"gorgonia.org/cu"
)

// The kernels, compiled by kern/compile.py.
//
//go:embed kern/ptx/*.ptx
var ptx embed.FS

const ptxDir = "kern/ptx"

// tensorCapability is the least compute capability for kernels on tensor
// cores, which files named tensor hold.
const tensorCapability = 80

var entry = regexp.MustCompile(`\.entry (\w+)\(`)

// defaultShared is the dynamic shared memory that a kernel may have without
// being asked.
const defaultShared = 48 << 10

// loadKernels compiles the PTX for the device and finds its functions.
func (d *Device) loadKernels() error {
	files, err := ptx.ReadDir(ptxDir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasPrefix(f.Name(), "tensor") && d.info.Capability < tensorCapability {
			continue
		}
		text, err := ptx.ReadFile(path.Join(ptxDir, f.Name()))
		if err != nil {
			return err
		}
		m, err := cu.LoadData(string(text))
		if err != nil {
			return fmt.Errorf("load %s: %w", f.Name(), err)
		}
		d.modules = append(d.modules, m)
		for _, e := range entry.FindAllSubmatch(text, -1) {
			name := string(e[1])
			fn, err := m.Function(name)
			if err != nil {
				return fmt.Errorf("load %s: %s: %w", f.Name(), name, err)
			}
			d.functions[name] = fn
		}
	}
	return nil
}

// launch is a kernel with all that a start of it needs.
type launch struct {
	kernel      string
	grid, block [3]int
	shared      int   // bytes of dynamic shared memory
	args        []any // cu.DevicePtr, int, float64; nil is a null pointer
}

// start enqueues the launch. It runs within do.
func (d *Device) start(l launch, s cu.Stream) error {
	f, ok := d.functions[l.kernel]
	if !ok {
		return fmt.Errorf("launch %s: no such kernel", l.kernel)
	}
	if l.shared > d.shared {
		return fmt.Errorf("launch %s: %d bytes of shared memory, %s has %d", l.kernel, l.shared, d.info.Name, d.shared)
	}
	if l.shared > defaultShared {
		if err := check(int(C.allow_shared(*(*unsafe.Pointer)(unsafe.Pointer(&f)), C.int(l.shared)))); err != nil {
			return fmt.Errorf("launch %s: shared memory: %w", l.kernel, err)
		}
	}
	slots := make([]uint64, len(l.args))
	ptrs := make([]unsafe.Pointer, len(l.args))
	for i, a := range l.args {
		switch a := a.(type) {
		case cu.DevicePtr:
			slots[i] = uint64(a)
		case int:
			slots[i] = uint64(a)
		case float64:
			slots[i] = math.Float64bits(a)
		case nil:
		default:
			return fmt.Errorf("launch %s: argument %d is a %T", l.kernel, i, a)
		}
		ptrs[i] = unsafe.Pointer(&slots[i])
	}
	g, b := l.grid, l.block
	if err := f.Launch(g[0], g[1], g[2], b[0], b[1], b[2], l.shared, s, ptrs); err != nil {
		return fmt.Errorf("launch %s: %w", l.kernel, err)
	}
	return nil
}
