package sam_test

import (
	"context"
	"fmt"
	"image"
	"image/color"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

// runFolder is the variable that makes TestRunFolder another process's run.
const runFolder = "SAM_TEST_RUN_FOLDER"

// squares is a slide of coloured squares that is made in no time, and segments
// it.
func squares(t *testing.T, dir string) {
	pic := image.NewRGBA(image.Rect(0, 0, 400, 400))
	for i := range 400 * 400 {
		x, y := i%400, i/400
		if x%20 < 15 && y%20 < 15 {
			pic.SetRGBA(x, y, color.RGBA{byte(1 + x/20), byte(1 + y/20), 0, 255})
		}
	}
	s := sam.SlideFromImage(pic, 0.5)
	_, err := segmentWith(context.Background(), s, dir, sam.SegmentOptions{AllTiles: true, Tile: 128, Halo: 16}, findColours)
	require.NoError(t, err)
}

// TestRunFolder is the body of another process.
func TestRunFolder(t *testing.T) {
	dir := os.Getenv(runFolder)
	if dir == "" {
		t.Skip("the body of TestTwoProcesses' processes")
	}
	squares(t, dir)
}

// TestTwoProcesses runs two processes on one folder at once, kills a third on
// the way now and then, and finds the same whole files each time and nothing
// else.
func TestTwoProcesses(t *testing.T) {
	tries := 50
	if testing.Short() {
		tries = 4
	}
	plain := t.TempDir()
	squares(t, plain)
	want := sums(t, plain)
	rng := rand.New(rand.NewPCG(8, 9))
	for try := range tries {
		dir := t.TempDir()
		begin := func() *exec.Cmd {
			c := exec.Command(os.Args[0], "-test.run=^TestRunFolder$")
			c.Env = append(os.Environ(), runFolder+"="+dir)
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
		pause := func() { time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond) }
		if try%3 == 0 {
			k := begin()
			pause()
			require.NoError(t, k.Process.Kill())
			_ = k.Wait() // killed
		}
		a := begin()
		pause()
		b := begin()
		require.NoError(t, a.Wait())
		require.NoError(t, b.Wait())
		require.Equal(t, want, sums(t, dir), fmt.Sprint("try ", try))
	}
}

// TestLeftOver: the next run removes what a killed one left.
func TestLeftOver(t *testing.T) {
	dir := t.TempDir()
	squares(t, dir)
	long := time.Now().Add(-time.Hour)
	var left []string
	for _, at := range []string{"", "tiles/0/0000"} {
		p := filepath.Join(dir, at, ".00000000.json.0a1b2c3d.tmp")
		require.NoError(t, os.WriteFile(p, nil, 0o600))
		require.NoError(t, os.Chtimes(p, long, long))
		left = append(left, p)
	}
	squares(t, dir)
	for _, p := range left {
		assert.NoFileExists(t, p)
	}
}
