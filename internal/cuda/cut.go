//go:build gpu && cgo && linux

package cuda

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/resample"
)

// tallest is the most rows that a grid of blocks can have.
const tallest = 65535

// cutting is what a program needs to cut masks. It grows with the masks.
type cutting struct {
	of            *resample.Upscaler // whose axes are on the device
	index, weight cu.DevicePtr

	bits, planes         cu.DevicePtr // planes' numbers, and then their counts
	hostBits, hostPlanes []float32    // the same on the host, as the device writes it
}

var _ mask.Cutter = (*Program)(nil)

// Cut implements [mask.Cutter] for the planes of output 0 of the last run. It
// leaves masks to the CPU that the device has no room for, and pictures of
// more rows than a grid can have.
func (p *Program) Cut(ctx context.Context, planes []int, u *resample.Upscaler, limits [3]float32) (*mask.Cuts, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	low, size := u.Low(), u.Picture()
	values := len(p.outputs[0].host)
	if values%(low.H*low.W) != 0 || slices.Max(planes) >= values/(low.H*low.W) || slices.Min(planes) < 0 {
		return nil, fmt.Errorf("cuda: cut: planes %v of %v in %d values", planes, low, values)
	}
	if size.H > tallest {
		return nil, nil
	}
	var cuts *mask.Cuts
	err := p.d.do(func() (err error) {
		cuts, err = p.cut(planes, u, limits)
		return err
	})
	runtime.KeepAlive(p)
	if errors.Is(err, ErrMemory) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cuda: cut: %w", err)
	}
	return cuts, ctx.Err()
}

// cut runs within do.
func (p *Program) cut(planes []int, u *resample.Upscaler, limits [3]float32) (*mask.Cuts, error) {
	c, size, low, input := &p.cutting, u.Picture(), u.Low(), u.Input()
	words := (size.W + 63) / 64 * 2 // of 32 bits
	n := len(planes) * size.H * words
	if err := p.makeRoom(n, len(planes)); err != nil {
		return nil, err
	}
	if c.of != u {
		if err := p.bringAxes(u); err != nil {
			return nil, err
		}
	}
	numbers := unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(c.hostPlanes))), 3*len(planes))
	clear(numbers)
	for i, k := range planes {
		numbers[i] = int32(k)
	}
	above := c.planes + cu.DevicePtr(4*len(planes))
	if err := toDevice(c.planes, c.hostPlanes[:3*len(planes)], p.stream); err != nil {
		return nil, err
	}
	l := launch{kernel: "cut_masks", grid: [3]int{ceil(32*words, 256), size.H, len(planes)}, block: [3]int{256, 1, 1},
		args: []any{c.bits, above, p.outputs[0].at, c.planes, c.index, c.weight, low.H, low.W, input.H, input.W, size.H, size.W, words,
			float64(limits[0]), float64(limits[1]), float64(limits[2])}}
	if err := p.d.start(l, p.stream); err != nil {
		return nil, err
	}
	if err := toHost(c.hostBits[:n], c.bits, p.stream); err != nil {
		return nil, err
	}
	if err := toHost(c.hostPlanes[len(planes):3*len(planes)], above, p.stream); err != nil {
		return nil, err
	}
	if err := p.stream.Synchronize(); err != nil {
		return nil, err
	}
	cuts := &mask.Cuts{Size: mask.Size(size), Bits: unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(c.hostBits))), n/2)}
	for i := range planes {
		at := len(planes) + 2*i
		cuts.Above = append(cuts.Above, [2]int{int(numbers[at]), int(numbers[at+1])})
	}
	return cuts, nil
}

// makeRoom sees to it that n words of bits and count planes have room.
func (p *Program) makeRoom(n, count int) error {
	c := &p.cutting
	if err := p.grow(&c.bits, &c.hostBits, n); err != nil {
		return err
	}
	return p.grow(&c.planes, &c.hostPlanes, 3*count)
}

// grow replaces memory on both sides by some for n values, unless it has as
// many. Nothing changes if there is no room.
func (p *Program) grow(at *cu.DevicePtr, host *[]float32, n int) error {
	if n <= len(*host) {
		return nil
	}
	m, err := p.alloc(n)
	if err != nil {
		return err
	}
	h, err := p.pinned(n)
	if err != nil {
		p.give(m)
		return err
	}
	p.give(*at)
	p.unpin(*host)
	*at, *host = m, h
	return nil
}

// bringAxes puts an upscaler's axes on the device.
func (p *Program) bringAxes(u *resample.Upscaler) error {
	c := &p.cutting
	p.give(c.index)
	p.give(c.weight)
	c.of, c.index, c.weight = nil, 0, 0
	index, weight := u.Axes()
	i, err := upload(p.d, index)
	if err != nil {
		return err
	}
	p.memory = append(p.memory, i)
	w, err := upload(p.d, weight)
	if err != nil {
		return err
	}
	p.memory = append(p.memory, w)
	c.of, c.index, c.weight = u, i, w
	return nil
}
