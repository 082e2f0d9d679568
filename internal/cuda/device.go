//go:build gpu && cgo && linux

package cuda

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"gorgonia.org/cu"

	"github.com/slidesam/sam/internal/cuda/driver"
)

// What the committed PTX needs: PTX ISA 8.0 came with CUDA 12.0.
const (
	oldestCapability = 75
	oldestDriver     = 12000
)

// maxSharedOptin is the attribute of the most shared memory that a block can
// have, which gorgonia.org/cu does not name. Source: cuda.h.
const maxSharedOptin cu.DeviceAttribute = 97

// Device is a GPU with the kernels loaded. It is safe for any number of
// goroutines.
type Device struct {
	info   Info
	dev    cu.Device
	ctx    cu.CUContext
	shared int // bytes of shared memory that a block can have
	sms    int // multiprocessors

	modules   []cu.Module
	functions map[string]cu.Function

	using  sync.RWMutex // held by each do, and by Close
	closed bool

	mu     sync.Mutex
	lost   error                 // what the device failed with
	memory map[cu.DevicePtr]bool // what is allocated

	weights  weightCache
	resident residentCache
}

// Devices lists the GPUs of this machine, those that are too old included. It
// returns [ErrUnavailable], with the reason, if there is none.
func Devices() ([]Info, error) {
	n, err := count()
	if err != nil {
		return nil, err
	}
	infos := make([]Info, n)
	for i := range infos {
		if infos[i], _, err = describe(i); err != nil {
			return nil, fmt.Errorf("cuda: device %d: %w", i, err)
		}
	}
	return infos, nil
}

// count is the number of devices; none is an error that says why.
func count() (int, error) {
	if why := driver.Problem(); why != "" {
		return 0, fmt.Errorf("%w: no NVIDIA driver: %s", ErrUnavailable, why)
	}
	if r := driver.InitResult(); r != 0 {
		return 0, fmt.Errorf("%w: the NVIDIA driver does not start: CUDA error %d", ErrUnavailable, r)
	}
	n, err := cu.NumDevices()
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%w: the NVIDIA driver finds no GPU", ErrUnavailable)
	}
	return n, nil
}

func describe(i int) (Info, cu.Device, error) {
	info := Info{Index: i}
	d, err := cu.GetDevice(i)
	if err != nil {
		return info, d, err
	}
	if info.Name, err = d.Name(); err != nil {
		return info, d, err
	}
	if info.Memory, err = d.TotalMem(); err != nil {
		return info, d, err
	}
	major, err := d.Attribute(cu.ComputeCapabilityMajor)
	if err != nil {
		return info, d, err
	}
	minor, err := d.Attribute(cu.ComputeCapabilityMinor)
	info.Capability = 10*major + minor
	return info, d, err
}

// Open makes a device ready: its primary context, which other libraries of
// the process share, and the kernels.
//
// Open returns [ErrUnavailable] if there is no such device, [ErrCard] or
// [ErrDriver] if it or its driver is too old, and [ErrMemory] if it has no
// room for the kernels.
func Open(index int) (*Device, error) {
	n, err := count()
	if err != nil {
		return nil, err
	}
	if index < 0 || index >= n {
		return nil, fmt.Errorf("%w: device %d of %d", ErrUnavailable, index, n)
	}
	d := &Device{functions: map[string]cu.Function{}, memory: map[cu.DevicePtr]bool{}}
	if d.info, d.dev, err = describe(index); err != nil {
		return nil, fmt.Errorf("cuda: open device %d: %w", index, err)
	}
	if d.info.Capability < oldestCapability {
		return nil, fmt.Errorf("%w: %s has compute capability %.1f, want 7.5 (Turing) or later", ErrCard, d.info.Name, float64(d.info.Capability)/10)
	}
	if v := cu.Version(); v < oldestDriver {
		return nil, fmt.Errorf("%w: it supports CUDA %d.%d, want 12.0 (driver 525) or later", ErrDriver, v/1000, v%1000/10)
	}
	if d.shared, err = d.dev.Attribute(maxSharedOptin); err != nil {
		return nil, fmt.Errorf("cuda: open %s: %w", d.info.Name, err)
	}
	if d.sms, err = d.dev.Attribute(cu.MultiprocessorCount); err != nil {
		return nil, fmt.Errorf("cuda: open %s: %w", d.info.Name, err)
	}
	// Waiting goroutines sleep instead of spinning; a context that exists
	// already keeps its own way.
	_ = d.dev.SetPrimaryCtxFlags(cu.SchedBlockingSync)
	if d.ctx, err = d.dev.RetainPrimaryCtx(); err != nil {
		return nil, fmt.Errorf("cuda: open %s: %w", d.info.Name, d.fault(err))
	}
	if err := d.do(d.loadKernels); err != nil {
		_ = d.dev.ReleasePrimaryCtx()
		return nil, fmt.Errorf("cuda: open %s: %w", d.info.Name, err)
	}
	return d, nil
}

// Info describes the device.
func (d *Device) Info() Info { return d.info }

// Close gives the device back, and all memory on it, when the runs in progress
// have ended. Programs of it return an error from then on.
func (d *Device) Close() error {
	d.using.Lock() // no do goes on
	defer d.using.Unlock()
	if d.closed {
		return nil
	}
	d.closed = true
	var err error
	if d.lost == nil { // otherwise there is nothing left to free
		err = d.onThread(func() error {
			var errs []error
			for p := range d.memory {
				errs = append(errs, cu.MemFree(p))
			}
			for _, m := range d.modules {
				errs = append(errs, m.Unload())
			}
			return errors.Join(errs...)
		})
	}
	if err := errors.Join(err, d.dev.ReleasePrimaryCtx()); err != nil {
		return fmt.Errorf("cuda: close %s: %w", d.info.Name, err)
	}
	return nil
}

// errClosed is returned for a device that was given back.
var errClosed = errors.New("cuda: device closed")

// do runs f on an OS thread on which the device's context is current. After
// the device was lost it returns that error at once.
func (d *Device) do(f func() error) error {
	d.using.RLock()
	defer d.using.RUnlock()
	if d.closed {
		return errClosed
	}
	d.mu.Lock()
	lost := d.lost
	d.mu.Unlock()
	if lost != nil {
		return lost
	}
	return d.fault(d.onThread(f))
}

// onThread is do without its checks.
func (d *Device) onThread(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(d.ctx); err != nil {
		return err
	}
	return f()
}
