package weights_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights"
)

// benchFile returns a full-size checkpoint to measure with, named by
// SAM_WEIGHTS, or a tiny one.
func benchFile(b *testing.B) string {
	if path := os.Getenv("SAM_WEIGHTS"); path != "" {
		return path
	}
	b.Log("SAM_WEIGHTS is not set: measuring a tiny file")
	return "testdata/original.pth"
}

func BenchmarkOpen(b *testing.B) {
	path := benchFile(b)
	b.ReportAllocs()
	for b.Loop() {
		c, err := weights.Open(path)
		require.NoError(b, err)
		require.NoError(b, c.Close())
	}
}

// BenchmarkRead reads every value of a newly opened file, with its checks.
func BenchmarkRead(b *testing.B) {
	path := benchFile(b)
	st, err := os.Stat(path)
	require.NoError(b, err)
	b.SetBytes(st.Size())
	b.ReportAllocs()
	for b.Loop() {
		c, err := weights.Open(path)
		require.NoError(b, err)
		for _, name := range c.Names() {
			t, err := c.Tensor(name)
			require.NoError(b, err)
			_, err = t.Float32s()
			require.NoError(b, err)
			t.Release()
		}
		require.NoError(b, c.Close())
	}
}

func BenchmarkFingerprint(b *testing.B) {
	path := benchFile(b)
	st, err := os.Stat(path)
	require.NoError(b, err)
	b.SetBytes(st.Size())
	c, err := weights.Open(path)
	require.NoError(b, err)
	defer c.Close()
	for b.Loop() {
		_, err := c.Fingerprint()
		require.NoError(b, err)
	}
}
