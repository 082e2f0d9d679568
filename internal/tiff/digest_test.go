package tiff_test

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/tiff"
	"github.com/slidesam/sam/internal/tiff/tifftest"
)

// TestDigest changes bytes of a short file and of one too long to be
// digested whole.
func TestDigest(t *testing.T) {
	for name, size := range map[string]int64{"short": 0, "long": 80 << 20} {
		t.Run(name, func(t *testing.T) {
			b := tifftest.Builder{Order: binary.LittleEndian}.File(tifftest.Tiled(tifftest.Gradient(64, 64, 3), 64, 64, 3, 16, 16))
			digest := func() string {
				p := filepath.Join(t.TempDir(), "a.tif")
				require.NoError(t, os.WriteFile(p, b, 0o600))
				if size > 0 {
					require.NoError(t, os.Truncate(p, size))
				}
				f, err := tiff.Open(p)
				require.NoError(t, err)
				defer f.Close()
				d, err := f.Digest()
				require.NoError(t, err)
				return d
			}
			first := digest()
			assert.Equal(t, first, digest())
			b[len(b)/2] ^= 1 // a pixel of some tile
			pixel := digest()
			assert.NotEqual(t, first, pixel)
			size += size / 2
			if size > 0 {
				assert.NotEqual(t, pixel, digest(), "length")
			}
		})
	}
}
