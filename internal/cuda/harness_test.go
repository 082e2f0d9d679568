//go:build gpu && cgo && linux

package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/cu"
)

// openOrSkip opens the first device; where there is none it skips the test,
// and fails it with SAM_CUDA set, as the gate does.
func openOrSkip(t *testing.T) *Device {
	t.Helper()
	d, err := Open(0)
	if err != nil && !mustHaveDevice() {
		t.Skip(err)
	}
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, d.Close()) })
	return d
}

// runKernel starts one launch, whose first argument is the result: n values,
// or, for []float32, those values, which are overwritten. Slices among the
// other arguments are copied to the device.
func runKernel(t *testing.T, d *Device, l launch, out []float32) []float32 {
	t.Helper()
	got := make([]float32, len(out))
	require.NoError(t, d.do(func() error {
		s, err := cu.MakeStream(cu.NonBlocking)
		if err != nil {
			return err
		}
		defer func() { _ = s.Destroy() }()
		var buffers []cu.DevicePtr
		defer func() {
			for _, p := range buffers {
				require.NoError(t, d.free(p))
			}
		}()
		put := func(p cu.DevicePtr, err error) cu.DevicePtr {
			require.NoError(t, err)
			buffers = append(buffers, p)
			return p
		}
		result := put(upload(d, out))
		args := []any{result}
		for _, a := range l.args {
			switch a := a.(type) {
			case []float32:
				args = append(args, put(upload(d, a)))
			case []int32:
				args = append(args, put(upload(d, a)))
			case inPlace:
				args = append(args, result)
			default:
				args = append(args, a)
			}
		}
		l.args = args
		if err := d.start(l, s); err != nil {
			return err
		}
		host, err := pinned(len(out))
		if err != nil {
			return err
		}
		defer unpin(host)
		if err := toHost(host, result, s); err != nil {
			return err
		}
		if err := s.Synchronize(); err != nil {
			return err
		}
		copy(got, host)
		return nil
	}))
	return got
}

// inPlace stands for the result among a launch's arguments.
type inPlace struct{}
