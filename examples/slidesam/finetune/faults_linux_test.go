package finetune

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

// TestFullDisk limits the size of files, so that writing stops half way as it
// does on a full disk: the checkpoint before stays.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	data := pairs(t)
	path := filepath.Join(dir, modelFile)
	require.NoError(t, os.WriteFile(path, []byte("older"), 0o644))
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var old syscall.Rlimit
	require.NoError(t, syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old))
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: old.Max}))
	_, err := finetune(t, short("-data", data, "-out", dir)...)
	require.NoError(t, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old))
	require.ErrorIs(t, err, syscall.EFBIG)
	assert.ErrorContains(t, err, "state")
	assert.ErrorContains(t, err, modelFile)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "older", string(b))
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, files, 1, "nothing half written")
}

// TestDiverged: a rate beyond all measure is an error with a mend, and the best
// weights are kept.
func TestDiverged(t *testing.T) {
	dir := t.TempDir()
	_, err := finetune(t, short("-data", pairs(t), "-out", dir, "-steps", "30", "-every", "1", "-patience", "0", "-rate", "1e30")...)
	require.ErrorIs(t, err, sam.ErrDiverged)
	assert.ErrorContains(t, err, "lower the learning rate (the best weights until then are in ")
	kept, err := sam.Load(filepath.Join(dir, modelFile))
	require.NoError(t, err)
	before, err := sam.Bundled()
	require.NoError(t, err)
	assert.Equal(t, before.Fingerprint(), kept.Fingerprint(), "nothing was better than the beginning")
}

// childArgs is the variable that makes the test binary run the command.
const childArgs = "SLIDESAM_FINETUNE_TEST_ARGS"

// TestChild is the process that TestKilled kills.
func TestChild(t *testing.T) {
	args := os.Getenv(childArgs)
	if args == "" {
		t.Skip("the process that TestKilled starts and kills; it is no test by itself")
	}
	require.NoError(t, run(t.Context(), strings.Split(args, "\n"), io.Discard, os.Stderr))
}

// TestKilled: a run that is killed at a random step and begun again gives the
// same bytes as one that was not.
func TestKilled(t *testing.T) {
	data := pairs(t)
	dirs := []string{t.TempDir(), t.TempDir()}
	args := func(dir string) []string {
		return short("-data", data, "-out", dir, "-steps", "4", "-every", "1", "-known=false", "-quiet=false")
	}
	_, err := finetune(t, args(dirs[0])...)
	require.NoError(t, err)

	step := 1 + rand.IntN(3)
	t.Logf("killed at step %d", step)
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.v")
	c.Env = append(os.Environ(), childArgs+"="+strings.Join(args(dirs[1]), "\n"))
	out, err := c.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, c.Start())
	killed := false
	for s := bufio.NewScanner(out); s.Scan(); {
		if strings.Contains(s.Text(), fmt.Sprintf("step %d of 4", step)) {
			require.NoError(t, c.Process.Kill())
			killed = true
			break
		}
	}
	_ = c.Wait() // it was killed
	require.True(t, killed)
	assert.FileExists(t, filepath.Join(dirs[1], stateFile))
	assert.NoFileExists(t, filepath.Join(dirs[1], modelFile))

	_, err = finetune(t, args(dirs[1])...)
	require.NoError(t, err)
	var want [2][]byte
	for i, dir := range dirs {
		want[i], err = os.ReadFile(filepath.Join(dir, modelFile))
		require.NoError(t, err)
	}
	assert.True(t, string(want[0]) == string(want[1]), "the bytes differ")
}
