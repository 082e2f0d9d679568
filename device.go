package sam

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slidesam/sam/internal/cpu"
	"github.com/slidesam/sam/internal/cuda"
	"github.com/slidesam/sam/internal/graph"
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

// Precision is the number format in which matrices are multiplied. All else is
// in float32.
type Precision cuda.Precision

// The precisions. The CPU has FP32, INT8 and FP16Weights; GPUs have the first
// four, before Ampere FP32 only.
const (
	FP32 = Precision(cuda.FP32) // the CPU's result, up to the order of sums
	TF32 = Precision(cuda.TF32) // factors rounded to 11 significant bits
	FP16 = Precision(cuda.FP16) // the same, at most 65504, and attention too
	BF16 = Precision(cuda.BF16) // factors rounded to 8 significant bits, and attention too
	// INT8 rounds the factors of the linear layers of a ViT's blocks, but for
	// the first and the last block: activations to integers up to 127, with a
	// scale for each token, weights to integers up to 64, with one for each
	// output channel. Sums are exact. All else is in float32.
	INT8 = Precision(0x80)
	// FP16Weights rounds the weights of those layers, in all blocks, to 11
	// significant bits, in half the memory. Factors and sums are in float32.
	FP16Weights = Precision(0x81)
)

// rounded are the names of the CPU's own precisions.
var rounded = map[Precision]string{INT8: "int8", FP16Weights: "fp16weights"}

// String returns the precision's name: "fp32", "tf32", "fp16", "bf16", "int8" or
// "fp16weights".
func (p Precision) String() string {
	if name, ok := rounded[p]; ok {
		return name
	}
	return cuda.Precision(p).String()
}

// MarshalText implements [encoding.TextMarshaler]: the name.
func (p Precision) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (p *Precision) UnmarshalText(name []byte) error {
	for _, q := range []Precision{FP32, TF32, FP16, BF16, INT8, FP16Weights} {
		if q.String() == string(name) {
			*p = q
			return nil
		}
	}
	return fmt.Errorf("sam: precision %q: want fp32, int8 or fp16weights, or on a GPU tf32, fp16 or bf16", name)
}

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
// It does not with another precision than FP32; for the CPU's own it is the CPU.
// Otherwise On returns [ErrNoDevice] if the device cannot be used or has no
// such precision, and [ErrDeviceMemory] if the weights have no room on it.
//
// A model of [LoadIn] has the rounded weights only, and stays what it is.
func (m *Model) On(device string, p Precision) (*Model, error) {
	c := *m
	if rounded[p] != "" && device == Auto {
		device = CPU
	}
	if m.rounded && p != m.precision {
		return nil, fmt.Errorf("sam: on %s in %v: the weights were loaded in %v: load the file anew", device, p, m.precision)
	}
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
		if err := m.checkPrecision(); err != nil {
			return err
		}
		m.device, m.backend = Device{Name: CPU}, cpu.Backend{}
		if m.precision == FP32 {
			return nil
		}
		return m.prepare()
	}
	if rounded[m.precision] != "" {
		return fmt.Errorf("%w: only the CPU computes in %v", ErrNoDevice, m.precision)
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

// checkPrecision returns an error if the CPU cannot run the model in its
// precision.
func (m *Model) checkPrecision() error {
	switch _, ok := m.encoder.(blockwise); {
	case m.precision == FP32:
	case rounded[m.precision] == "":
		return fmt.Errorf("%w: the CPU computes in fp32, int8 and fp16weights", ErrNoDevice)
	case !ok:
		return fmt.Errorf("%w: an encoder of the kind %s has no %v form", ErrNoDevice, m.encoder.Name(), m.precision)
	}
	return nil
}

// blockwise is an encoder of blocks whose products can be rounded.
type blockwise interface{ Products() [][]*graph.Weight }

// formats are those of the encoder's weights in the model's precision.
func (m *Model) formats() map[*graph.Weight]graph.Format {
	if rounded[m.precision] == "" {
		return nil
	}
	blocks, as := m.encoder.(blockwise).Products(), graph.Half
	if m.precision == INT8 {
		blocks, as = blocks[1:max(1, len(blocks)-1)], graph.Int8
	}
	f := map[*graph.Weight]graph.Format{}
	for _, ws := range blocks {
		for _, w := range ws {
			f[w] = as
		}
	}
	return f
}
