//go:build gpu && cgo && linux

package cuda

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gorgonia.org/cu"
)

// standIn skips the test on a real device: those below set the machine that
// the stand-in plays.
func standIn(t *testing.T) {
	t.Helper()
	infos, err := Devices()
	if err != nil || !strings.HasPrefix(infos[0].Name, "stand-in") {
		t.Skip("not on the stand-in for libcuda.so.1")
	}
}

func TestOpenFaults(t *testing.T) {
	standIn(t)
	for _, tt := range []struct {
		name, variable, value string
		index                 int
		want                  error
		says                  string
	}{
		{"no GPU", "STANDIN_DEVICES", "0", 0, ErrUnavailable, "finds no GPU"},
		{"no such GPU", "STANDIN_DEVICES", "2", 2, ErrUnavailable, "device 2 of 2"},
		{"negative index", "STANDIN_DEVICES", "2", -1, ErrUnavailable, "device -1 of 2"},
		{"Volta", "STANDIN_CC", "70", 0, ErrCard, "compute capability 7.0, want 7.5"},
		{"driver 520", "STANDIN_DRIVER", "11080", 0, ErrDriver, "CUDA 11.8, want 12.0 (driver 525)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv(tt.variable, tt.value)
			d, err := Open(tt.index)
			require.ErrorIs(t, err, tt.want)
			require.ErrorIs(t, err, ErrUnavailable)
			assert.ErrorContains(t, err, tt.says)
			assert.Nil(t, d)
		})
	}
}

func TestDevices(t *testing.T) {
	standIn(t)
	t.Setenv("STANDIN_DEVICES", "2")
	t.Setenv("STANDIN_CC", "75")
	infos, err := Devices()
	require.NoError(t, err)
	require.Len(t, infos, 2)
	assert.Equal(t, Info{Index: 1, Name: "stand-in on the CPU", Memory: 8 << 30, Capability: 75}, infos[1])
}

func TestTuringHasNoTensorKernels(t *testing.T) {
	standIn(t)
	t.Setenv("STANDIN_CC", "75")
	d, err := Open(0)
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	for name := range d.functions {
		assert.False(t, strings.HasPrefix(name, "tensor"), name)
	}
}

func TestLaunchFaults(t *testing.T) {
	d := openOrSkip(t)
	for _, tt := range []struct {
		name string
		l    launch
		says string
	}{
		{"no such kernel", launch{kernel: "nothing"}, "nothing: no such kernel"},
		{"a string", elementLaunch("activation", 1, "x"), "argument 0 is a string"},
		{"too much shared memory", launch{kernel: "activation", shared: 1 << 20}, "1048576 bytes of shared memory"},
		{"too many threads", launch{kernel: "activation", grid: [3]int{1, 1, 1}, block: [3]int{1024, 1, 1}, args: []any{nil, nil, 0, 0}}, "launch activation"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := d.do(func() error { return d.start(tt.l, cu.NoStream) })
			assert.ErrorContains(t, err, tt.says)
			assert.NotErrorIs(t, err, ErrLost)
		})
	}
}

// Out of memory is an error after which the device goes on.
func TestOutOfMemory(t *testing.T) {
	standIn(t)
	t.Setenv("STANDIN_MEMORY", "1000")
	d, err := Open(0)
	require.NoError(t, err)
	defer func() { require.NoError(t, d.Close()) }()
	err = d.do(func() error { _, err := d.alloc(1000); return err })
	require.ErrorIs(t, err, ErrMemory)
	assert.EqualError(t, err, "cuda: out of device memory of stand-in on the CPU")
	require.NoError(t, d.do(func() error {
		p, err := d.alloc(100)
		if err != nil {
			return err
		}
		return d.free(p)
	}))
}

// A device that falls off is lost for good; another Open begins anew.
func TestLostDevice(t *testing.T) {
	standIn(t)
	run := func(d *Device) error {
		return d.do(func() error {
			x, err := upload(d, []float32{1, 2, 3})
			if err != nil {
				return err
			}
			if err := d.start(elementLaunch("activation", 3, x, x, actReLU), cu.NoStream); err != nil {
				return err
			}
			var got [3]float32
			return cu.MemcpyDtoH(unsafe.Pointer(&got[0]), x, 12)
		})
	}
	d, err := Open(0)
	require.NoError(t, err)
	t.Setenv("STANDIN_LOSE", "1")
	require.NoError(t, run(d))
	err = run(d)
	require.ErrorIs(t, err, ErrLost)
	t.Setenv("STANDIN_LOSE", "-1")
	assert.Equal(t, err, run(d), "lost for good")
	require.NoError(t, d.Close())
	d, err = Open(0)
	require.NoError(t, err)
	assert.NoError(t, run(d))
	require.NoError(t, d.Close())
}
