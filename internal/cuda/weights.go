//go:build gpu && cgo && linux

package cuda

import (
	"fmt"
	"runtime"
	"sync"

	"gorgonia.org/cu"

	"github.com/slidesam/sam/internal/graph"
)

// form is how a weight lies on the device.
type form struct {
	layout    layout
	precision Precision
}

// layout is the order of a weight's values.
type layout uint8

const (
	asIs         layout = iota
	channelsLast        // [Out, In, size, size] as [Out, size, size, In]
	upscaled            // [In, Out, 2, 2] as [2, 2, Out, In]
	fourTimes           // [Out] as [4, Out]
	tapsFirst           // [C, 1, size, size] as [size, size, C]
)

// weightCache holds the weights that are on a device, for all programs. They
// stay there for as long as the [graph.Weight] lives.
type weightCache struct {
	mu sync.Mutex
	at map[uint64]map[form]cu.DevicePtr // by the weight's ID
}

// weight returns a weight's place on the device, where it is copied at its
// first use. It runs within do.
func (d *Device) weight(w *graph.Weight, f form) (cu.DevicePtr, error) {
	c := &d.weights
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.at[w.ID()][f]; ok {
		return p, nil
	}
	v, err := w.Values()
	if err != nil {
		return 0, err
	}
	p, err := d.uploadWeight(v, w.Shape(), f)
	if err != nil {
		return 0, fmt.Errorf("weight %s: %w", w.Name(), err)
	}
	if c.at == nil {
		c.at = map[uint64]map[form]cu.DevicePtr{}
	}
	if c.at[w.ID()] == nil {
		c.at[w.ID()] = map[form]cu.DevicePtr{}
		runtime.AddCleanup(w, d.dropWeight, w.ID())
	}
	c.at[w.ID()][f] = p
	return p, nil
}

func (d *Device) uploadWeight(v []float32, shape []int, f form) (cu.DevicePtr, error) {
	v = arrange(v, shape, f.layout)
	switch f.precision {
	case FP16:
		return upload(d, halves(v, f16))
	case BF16:
		return upload(d, halves(v, bf16))
	}
	return upload(d, v)
}

// arrange returns the values in a layout.
func arrange(v []float32, shape []int, l layout) []float32 {
	switch l {
	case channelsLast:
		out, in, cells := shape[0], shape[1], shape[2]*shape[3]
		d := make([]float32, len(v))
		for o := range out {
			for i := range in {
				for k := range cells {
					d[(o*cells+k)*in+i] = v[(o*in+i)*cells+k]
				}
			}
		}
		return d
	case upscaled:
		in, out := shape[0], shape[1]
		d := make([]float32, len(v))
		for i := range in {
			for o := range out {
				for k := range 4 {
					d[(k*out+o)*in+i] = v[(i*out+o)*4+k]
				}
			}
		}
		return d
	case tapsFirst:
		return arrange(v, []int{1, shape[0], shape[2], shape[3]}, channelsLast)
	case fourTimes:
		d := make([]float32, 0, 4*len(v))
		for range 4 {
			d = append(d, v...)
		}
		return d
	}
	return v
}

// dropWeight frees what a weight that nobody has any more takes.
func (d *Device) dropWeight(id uint64) {
	c := &d.weights
	c.mu.Lock()
	forms := c.at[id]
	delete(c.at, id)
	c.mu.Unlock()
	_ = d.do(func() error { // a device that was closed or lost has no memory
		for _, p := range forms {
			_ = d.free(p)
		}
		return nil
	})
}
