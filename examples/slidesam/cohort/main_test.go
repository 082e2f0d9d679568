package cohort

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/cohort"
	"github.com/slidesam/sam/internal/cohort/cohorttest"
	"github.com/slidesam/sam/internal/synth"
)

// fields writes a sheet of two small fields of a synthetic slide and a file
// that is none.
func fields(t *testing.T) string {
	dir := t.TempDir()
	s := synth.New(5, synth.Options{Solid: true})
	for i := range 2 {
		pic, _ := s.Region(9000+400*i, 9000, 70, 60+i, 0.5)
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, pic))
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%d.png", i)), b.Bytes(), 0o600))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.png"), []byte("\x89PNG\r\n\x1a\n"), 0o600))
	p := filepath.Join(dir, "sheet.csv")
	require.NoError(t, os.WriteFile(p, []byte("slide,id,mpp,group\nf0.png,,0.5,a\nbad.png,worse,0.5,b\nf1.png,,0.5,b\n"), 0o600))
	return p
}

// call runs the command and returns its exit code and what it printed.
func call(t *testing.T, env map[string]string, args ...string) (int, string) {
	var out bytes.Buffer
	code := cli.Main(t.Context(), append([]string{"slidesam", "cohort"}, args...), "v1", []cli.Command{Command()},
		cli.IO{Stdout: &out, Stderr: &out, Env: func(k string) string { return env[k] }})
	return code, out.String()
}

// sums are the hashes of a cohort's files but those that tell how it was done.
func sums(t *testing.T, dir string) map[string]string {
	return cohorttest.Sums(t, dir, "tiles", "shards", "times", cohort.TimesFile, cohort.UnitsFile)
}

// TestWays does a cohort in one go, and in parts by an array job of two, one
// task of which runs twice: the same bytes, and exit codes that tell of the slide
// that fails.
func TestWays(t *testing.T) {
	sheet, plain := fields(t), filepath.Join(t.TempDir(), "plain")
	flags := []string{"-model", cohorttest.TinyModel(t), "-iou", "-1", "-stability", "-1", "-tile", "64", "-halo", "8"}
	call := func(t *testing.T, env map[string]string, args ...string) (int, string) {
		return call(t, env, append(args, flags...)...)
	}
	code, text := call(t, nil, "-sheet", sheet, "-out", plain)
	require.Equal(t, cli.ExitPartial, code, text)
	assert.Contains(t, text, "3 slides: 2 done, 1 failed")
	want := sums(t, plain)
	for _, n := range []string{cohort.TableFile, cohort.ParquetFile, cohort.ReportFile, "slides/f0/" + sam.GeoJSONFile, "slides/f1/index.html", "slides/worse/failed.json"} {
		assert.Contains(t, want, n)
	}
	table, err := os.ReadFile(filepath.Join(plain, cohort.TableFile))
	require.NoError(t, err)
	assert.Contains(t, string(table), "worse,bad.png,failed,")
	assert.NotContains(t, string(table), filepath.Dir(sheet), "places of this machine")
	_, text = call(t, nil, "-sheet", sheet, "-out", plain) // again: the failed one alone
	assert.Equal(t, 2, strings.Count(text, "elapsed"))
	assert.NotContains(t, text, "msg=tiles")
	assert.Equal(t, want, sums(t, plain))

	array := filepath.Join(t.TempDir(), "array")
	code, text = call(t, nil, "-sheet", sheet, "-out", array, "-plan", "-part-tiles", "1")
	require.Zero(t, code, text)
	require.Regexp(t, "3 slides in [45] units", text)
	code, text = call(t, nil, "-sheet", sheet, "-out", array, "-merge")
	assert.Equal(t, cli.ExitFailed, code)
	assert.Contains(t, text, "are unfinished: run their shards")
	for _, task := range []string{"7", "5", "7", "6"} {
		code, text = call(t, map[string]string{"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_MIN": "5", "SLURM_ARRAY_TASK_COUNT": "3"},
			"-sheet", sheet, "-out", array, "-shard", "auto")
		require.Contains(t, []int{cli.ExitOK, cli.ExitPartial}, code, text)
	}
	code, text = call(t, nil, "-sheet", sheet, "-out", array, "-merge", "-shard", "1/2")
	require.Zero(t, code, text)
	code, text = call(t, nil, "-sheet", sheet, "-out", array, "-merge")
	require.Equal(t, cli.ExitPartial, code, text)
	assert.Equal(t, want, sums(t, array))

	code, text = call(t, nil, "-sheet", sheet, "-out", array, "-min-area", "9")
	assert.Equal(t, cli.ExitFailed, code)
	assert.Contains(t, text, "folder holds another cohort")
}

func TestFlags(t *testing.T) {
	for args, want := range map[string]string{
		"-plan": "go with -sheet", "-merge": "go with -sheet", "-sheet a -plan -merge": "-plan comes before", "-sheet a -part-tiles 0": "want 1 or more",
		"-sheet a b": "unknown argument", "-sheet a -shard 2/2": "want i/n", "-sheet a -shard auto": "no variable", "-sheet a -prompts x": "want nuclei", "-x": "-x",
	} {
		code, text := call(t, nil, append(strings.Fields(args), "-out", t.TempDir())[:len(strings.Fields(args))]...)
		assert.Equal(t, cli.ExitUsage, code, args)
		assert.Contains(t, text, want)
	}
	code, text := call(t, nil, "-sheet", "nothing.csv", "-out", t.TempDir())
	assert.Equal(t, cli.ExitFailed, code)
	assert.Contains(t, text, "nothing.csv")
}

// TestDemoSlides: twenty files, two of which do not open.
func TestDemoSlides(t *testing.T) {
	sheet, err := Demo(t.Context(), t.TempDir())
	require.NoError(t, err)
	slides, err := cohort.ReadSheet(t.Context(), sheet)
	require.NoError(t, err)
	require.Len(t, slides, demoSlides)
	bad := 0
	for _, s := range slides {
		o, err := sam.OpenSlide(s.Path)
		if err != nil {
			bad++
			continue
		}
		assert.Equal(t, sam.Size{H: demoSide, W: demoSide}, o.Size())
		require.NoError(t, o.Close())
	}
	assert.Equal(t, len(corrupt), bad)
	stopped, stop := context.WithCancel(t.Context())
	stop()
	_, err = Demo(stopped, t.TempDir())
	require.ErrorIs(t, err, context.Canceled)
}
