//go:build unix

package sam_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

// TestLoadBesideWriterChild is the process that loads in a loop.
func TestLoadBesideWriterChild(t *testing.T) {
	path := os.Getenv("SAM_LOAD_BESIDE_WRITER")
	if path == "" {
		t.Skip("runs as a child of TestLoadBesideWriter")
	}
	loaded, refused := 0, 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		if _, err := sam.Load(path); err != nil {
			refused++
		} else {
			loaded++
		}
	}
	fmt.Println("loaded", loaded, "refused", refused)
}

// A file that another program cuts short and writes anew while it is read is
// an error, issue 24: it ended the program by a bus error.
func TestLoadBesideWriter(t *testing.T) {
	if testing.Short() {
		t.Skip("takes three seconds")
	}
	whole, err := os.ReadFile(bundledFile(t))
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, os.WriteFile(path, whole, 0o600))
	c := exec.Command(os.Args[0], "-test.run=^TestLoadBesideWriterChild$", "-test.v")
	c.Env = append(os.Environ(), "SAM_LOAD_BESIDE_WRITER="+path)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(15*(i%12)) * time.Millisecond):
			}
			_ = os.Truncate(path, int64(len(whole)/(2+i%7)))
			time.Sleep(time.Duration(i%5) * time.Millisecond)
			_ = os.WriteFile(path, whole, 0o600)
		}
	}()
	out, err := c.CombinedOutput()
	close(stop)
	<-stopped
	require.NoError(t, err, "%s", out)
	assert.NotContains(t, string(out), "refused 0\n")
	t.Logf("%s", out)
}

// bundledFile is a file of the bundled model's values.
func bundledFile(t *testing.T) string {
	t.Helper()
	ck, err := bundled.Checkpoint()
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "bundled.safetensors")
	require.NoError(t, ck.Save(t.Context(), path, weights.ConvertOptions{}))
	return path
}
