// Package cuda runs the networks' graphs on NVIDIA GPUs, through
// gorgonia.org/cu and kernels of the project's own.
//
// It does so in programs built with cgo and the tag gpu, on Linux; other
// builds have no devices and import no cu. The driver is loaded at run time:
// a program with the tag starts where there is none.
//
// Activations are fp32, row-major and channels-last, as on the CPU.
//
//	backend, _, err := cuda.New(0, cuda.FP32)
//	if errors.Is(err, cuda.ErrUnavailable) {
//		// run on the CPU
//	}
//	p, err := backend.Compile(b, graph.CompileOptions{}, outputs...)
package cuda

import (
	"errors"
	"fmt"
)

var (
	// ErrUnavailable is returned where no GPU can be used: the program was
	// built without the tag gpu, there is no driver, or no such device. The
	// next two are of this kind.
	ErrUnavailable = errors.New("cuda: not available")
	// ErrCard is returned for a GPU older than Turing, compute capability 7.5.
	ErrCard = fmt.Errorf("%w: the GPU is too old", ErrUnavailable)
	// ErrDriver is returned for a driver older than 525, which CUDA 12.0 needs.
	ErrDriver = fmt.Errorf("%w: the driver is too old", ErrUnavailable)
	// ErrMemory is returned when the GPU's memory does not suffice. What runs
	// already goes on.
	ErrMemory = errors.New("cuda: out of device memory")
	// ErrLost is returned once the device has failed in mid-run. Results of
	// that run do not exist, and the device is of no use to this process any
	// more.
	ErrLost = errors.New("cuda: device lost")
)

// Info describes a device.
type Info struct {
	Index  int
	Name   string
	Memory int64 // bytes
	// Capability is the compute capability: 75 is 7.5.
	Capability int
}

// Precision is the number format in which a device multiplies matrices. All
// else is fp32.
type Precision uint8

// The precisions. Sums are fp32 in all of them.
const (
	FP32 Precision = iota // as on the CPU, up to the order of sums
	TF32                  // inputs rounded to 11 significant bits
	FP16                  // inputs rounded to 11 significant bits, at most 65504
	BF16                  // inputs rounded to 8 significant bits
)

// String returns the precision's name in lower case.
func (p Precision) String() string {
	switch p {
	case FP32:
		return "fp32"
	case TF32:
		return "tf32"
	case FP16:
		return "fp16"
	case BF16:
		return "bf16"
	}
	return fmt.Sprintf("precision %d", uint8(p))
}
