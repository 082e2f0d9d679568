package jpeg2000

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestParallel: several goroutines give the same pixels and the same error as one.
func TestParallel(t *testing.T) {
	procs, least := runtime.GOMAXPROCS(4), parallelSamples
	t.Cleanup(func() { runtime.GOMAXPROCS(procs); parallelSamples = least })
	names, err := filepath.Glob(filepath.Join("testdata", "small", "*.j2k"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	failed := 0
	for _, name := range names {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		bad := bytes.Clone(b)
		qcd := bytes.Index(b, []byte{0xff, 0x5c})
		bad[qcd+4] &= 0x1f // no guard bits: the blocks have more bit planes than they may
		for _, in := range [][]byte{b, bad} {
			parallelSamples = least
			want, wantErr := Decode(in, Options{})
			parallelSamples = 1
			got, err := Decode(in, Options{})
			assert.True(t, assert.ObjectsAreEqual(want, got), name)
			if wantErr == nil {
				assert.NoError(t, err, name)
				continue
			}
			failed++
			assert.EqualError(t, err, wantErr.Error(), name)
		}
	}
	assert.Greater(t, failed, 5)
}
