package wsi_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/wsi"
)

// apart opens a slide and makes its thumbnail in a process of its own, and
// returns what that said and the most memory that it held, in MiB.
func apart(t *testing.T, path string) (said string, mib int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestHostileProcess$", "-test.timeout=60s")
	cmd.Env = append(os.Environ(), "SAM_HOSTILE="+path)
	out, err := cmd.Output()
	require.NoError(t, err, string(out))
	said, _, _ = strings.Cut(string(out), "\n")
	_, after, _ := strings.Cut(string(out), "VmHWM:")
	_, err = fmt.Sscan(after, &mib)
	require.NoError(t, err)
	return said, mib / 1024
}

// TestHostileProcess is the process of its own.
func TestHostileProcess(t *testing.T) {
	path := os.Getenv("SAM_HOSTILE")
	if path == "" {
		t.Skip("part of TestHostile")
	}
	s, err := wsi.Open(path, wsi.Options{})
	if err == nil {
		_, err = s.Thumbnail(ctx, 1536)
	}
	if err == nil {
		fmt.Println("thumbnail made")
	} else {
		fmt.Println(err)
	}
	f, err := os.Open("/proc/self/status")
	require.NoError(t, err)
	defer f.Close()
	for in := bufio.NewScanner(f); in.Scan(); {
		if strings.HasPrefix(in.Text(), "VmHWM:") {
			fmt.Println(in.Text())
		}
	}
}

// TestPipe: a pipe is refused at once rather than waited for.
func TestPipe(t *testing.T) {
	p := filepath.Join(t.TempDir(), "a.svs")
	require.NoError(t, syscall.Mkfifo(p, 0o600))
	_, err := wsi.Open(p, wsi.Options{})
	assert.ErrorContains(t, err, "regular file")
	_, err = wsi.Open("/dev/zero", wsi.Options{})
	assert.ErrorContains(t, err, "regular file")
}
