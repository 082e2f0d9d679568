package wholeslide_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/wholeslide"
)

// Variables that make TestProcess another process.
const (
	processFolder = "WHOLESLIDE_TEST_FOLDER"
	processWork   = "WHOLESLIDE_TEST_WORK" // run 0, run 1 or merge
)

// TestProcess is the body of the processes of TestProcesses.
func TestProcess(t *testing.T) {
	dir := os.Getenv(processFolder)
	if dir == "" {
		t.Skip("the body of other processes")
	}
	s := squares()
	switch w := os.Getenv(processWork); w {
	case "merge":
		_, err := plan(t, s, 0, 1, "f").Merge(t.Context(), s, dir)
		if errors.Is(err, wholeslide.ErrUnfinished) || errors.Is(err, os.ErrNotExist) {
			return // too early
		}
		require.NoError(t, err)
	default:
		shard := int(w[len(w)-1] - '0')
		_, err := plan(t, s, shard, 2, "f").Run(t.Context(), s, dir, nil)
		require.NoError(t, err)
	}
}

// TestProcesses: shards run twice at once and killed on the way, and merges
// before, while and after they run, all on one folder. Whenever an output is
// there it is whole, and in the end there is nothing else. WHOLESLIDE_TRIES=50
// tries it so often.
func TestProcesses(t *testing.T) {
	tries := 6
	if n, err := strconv.Atoi(os.Getenv("WHOLESLIDE_TRIES")); err == nil {
		tries = n
	}
	want := whole(t, squares())
	rng := rand.New(rand.NewPCG(20, 1))
	for try := range tries {
		dir := t.TempDir()
		begin := func(work string) *exec.Cmd {
			c := exec.Command(os.Args[0], "-test.run=^TestProcess$")
			c.Env = append(os.Environ(), processFolder+"="+dir, processWork+"="+work)
			var out strings.Builder
			c.Stdout, c.Stderr = &out, &out
			t.Cleanup(func() {
				if t.Failed() {
					t.Log(out.String())
				}
			})
			require.NoError(t, c.Start())
			return c
		}
		pause := func() { time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond) }
		var all, killed []*exec.Cmd
		for _, i := range rng.Perm(6) {
			c := begin([]string{"run 0", "run 1", "run 0", "run 1", "merge", "merge"}[i])
			pause()
			if i < 2 { // the first attempt of each shard
				require.NoError(t, c.Process.Kill())
				killed = append(killed, c)
				continue
			}
			all = append(all, c)
		}
		for _, c := range killed {
			_ = c.Wait() // killed
		}
		for _, c := range all {
			require.NoError(t, c.Wait())
		}
		for name, b := range outputs(t, dir) { // of the merges that were not too early
			if !strings.HasSuffix(name, ".tmp") {
				require.Equal(t, want[name], b, "try %d: %s", try, name)
			}
		}
		for _, left := range []string{".labels.tif.0123abcd.tmp", "shards/.00000-of-00002.json.0123abcd.tmp"} { // of processes that no kill above met there
			require.NoError(t, os.WriteFile(filepath.Join(dir, left), nil, 0o600))
		}
		ageLeftOvers(t, dir)
		a := begin("merge")
		pause()
		b := begin("merge")
		require.NoError(t, a.Wait())
		require.NoError(t, b.Wait())
		require.Equal(t, want, outputs(t, dir), "try %d", try)
		for i := range 2 {
			_, err := wholeslide.ReadShard(dir, i, 2)
			require.NoError(t, err)
			_, err = plan(t, squares(), i, 2, "f").Run(t.Context(), squares(), dir, nil) // sweeps the tiles' folders
			require.NoError(t, err)
		}
		assert.Zero(t, ageLeftOvers(t, dir), "temporary files")
	}
}

// ageLeftOvers makes temporary files as old as those of processes killed long
// ago, and returns how many there are.
func ageLeftOvers(t *testing.T, dir string) int {
	n, long := 0, time.Now().Add(-time.Hour)
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(p) == ".tmp" {
			n++
			err = os.Chtimes(p, long, long)
		}
		return err
	}))
	return n
}
