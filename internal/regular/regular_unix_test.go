//go:build unix

package regular_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/slidesam/sam/internal/regular"
)

func TestOpenRefusesPipesAndDevices(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, unix.Mkfifo(pipe, 0o600))
	for path, want := range map[string]string{pipe: "a pipe", "/dev/zero": "a device"} {
		_, err := regular.Open(path) // would block for ever, or never end
		assert.ErrorIs(t, err, regular.ErrNotRegular)
		assert.ErrorContains(t, err, want)
	}
}
