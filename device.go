package sam

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/cuda"
)

// Names of devices for [Model.On]. GPUs are "cuda:0", "cuda:1" and so on.
const (
	CPU  = "cpu"
	Auto = "auto" // the first GPU that can be used, or else the CPU
)

var (
	// ErrNoDevice is returned for a device that cannot be used: the program
	// was built without the tag gpu, there is no driver or no such GPU, or one
	// of them is too old. The message says which.
	ErrNoDevice = cuda.ErrUnavailable
	// ErrDeviceMemory is returned when a GPU's memory does not suffice. What
	// it computes for others is not affected.
	ErrDeviceMemory = cuda.ErrMemory
	// ErrDeviceLost is returned once a GPU has failed in mid-run. There is no
	// result; the model on the CPU works as before.
	ErrDeviceLost = cuda.ErrLost
)

// Precision is the number format in which a GPU multiplies matrices. Sums,
// and all else, are in float32.
type Precision cuda.Precision

// The precisions. Only FP32 is had on the CPU, and on GPUs before Ampere.
const (
	FP32 = Precision(cuda.FP32) // the CPU's result, up to the order of sums
	TF32 = Precision(cuda.TF32) // factors rounded to 11 significant bits
	FP16 = Precision(cuda.FP16) // the same, at most 65504, and attention too
	BF16 = Precision(cuda.BF16) // factors rounded to 8 significant bits, and attention too
)

// String returns the precision's name: "fp32", "tf32", "fp16" or "bf16".
func (p Precision) String() string { return cuda.Precision(p).String() }

// Device is what a model computes on.
type Device struct {
	Name   string // for [Model.On]: "cpu", "cuda:0", ...
	Model  string // what its maker calls a GPU
	Memory int64  // a GPU's, in bytes
	// Why says, of the CPU that [Auto] chose, why it is no GPU.
	Why string
}

// String returns the device's name, and in brackets its model, or why it is
// no GPU.
func (d Device) String() string {
	switch {
	case d.Model != "":
		return d.Name + " (" + d.Model + ")"
	case d.Why != "":
		return d.Name + " (" + d.Why + ")"
	}
	return d.Name
}

// Devices lists the CPU and the GPUs of this machine. Without GPUs the error
// says why there are none and wraps [ErrNoDevice]; the CPU is listed all the
// same.
func Devices() ([]Device, error) {
	ds := []Device{{Name: CPU}}
	gpus, err := cuda.Devices()
	for _, g := range gpus {
		ds = append(ds, gpu(g))
	}
	return ds, err
}

func gpu(g cuda.Info) Device {
	return Device{Name: "cuda:" + strconv.Itoa(g.Index), Model: g.Name, Memory: g.Memory}
}

// Device is what the model computes on: the CPU, unless [Model.On] has chosen
// another one.
func (m *Model) Device() Device { return m.device }

// On returns the model on another device, "cpu", "cuda:0" or another GPU of
// [Devices], or [Auto]; the weights are copied to a GPU. Embeddings and masks
// of precision [FP32] are the CPU's up to rounding, and embeddings can be used
// on either. A model of another precision has a fingerprint of its own.
//
// [Auto] falls back to the CPU; [Model.Device] of the result then says why.
// It does not with another precision than FP32. Otherwise On returns
// [ErrNoDevice] if the device cannot be used, and [ErrDeviceMemory] if the
// weights have no room on it.
func (m *Model) On(device string, p Precision) (*Model, error) {
	c := *m
	c.precision = p
	switch err := c.move(device); {
	case err == nil:
	case device == Auto && p == FP32:
		return m.onCPU(err), nil
	default:
		return nil, fmt.Errorf("sam: on %s in %v: %w", device, p, err)
	}
	c.fingerprint = c.derivedFingerprint()
	c.makePools()
	return &c, nil
}

// onCPU returns the model on the CPU, where it is because of why.
func (m *Model) onCPU(why error) *Model {
	c := *m
	c.precision = FP32
	c.device, c.backend = Device{Name: CPU, Why: why.Error()}, cpu.Backend{}
	c.fingerprint = c.derivedFingerprint()
	c.makePools()
	return &c
}

// move makes a device the model's, with the weights on it.
func (m *Model) move(device string) error {
	if device == CPU {
		if m.precision != FP32 {
			return fmt.Errorf("%w: the CPU computes in fp32", ErrNoDevice)
		}
		m.device, m.backend = Device{Name: CPU}, cpu.Backend{}
		return nil
	}
	index := 0
	if device != Auto {
		n, ok := strings.CutPrefix(device, "cuda:")
		i, err := strconv.Atoi(n)
		if !ok || err != nil || i < 0 {
			return fmt.Errorf("%w: no such name, want %s, %s or cuda:0", ErrNoDevice, CPU, Auto)
		}
		index = i
	}
	backend, info, err := cuda.New(index, cuda.Precision(m.precision))
	if err != nil {
		return err
	}
	m.device, m.backend = gpu(info), backend
	return m.prepare()
}
