package main

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/examples/slidesam/cohort"
	"github.com/slidesam/sam/internal/cli"
	sheets "github.com/slidesam/sam/internal/cohort"
	"github.com/slidesam/sam/internal/cohort/cohorttest"
	"github.com/slidesam/sam/internal/wholeslide"
)

// With faultsVar set, to the folder that counts attempts, the test's binary is
// this program with a search that fails as machines do.
const faultsVar = "BEAM_TEST_FAULTS"

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(faultsVar); ok {
		if dir != "" {
			search = faulty{dir}.search
		}
		main()
	}
	os.Exit(m.Run())
}

// faulty is a search of which about one attempt in ten kills its process, and
// another one is two at the same time.
type faulty struct{ dir string }

func (f faulty) search(ctx context.Context, c *sheets.Cohort, u sheets.Unit) error {
	shard := wholeslide.ShardFile(u.Part, u.Parts)
	if _, err := os.Stat(filepath.Join(c.Dir, "slides", c.Slides[u.Slide].ID, shard)); err == nil {
		return c.Search(ctx, u) // of a run before this one
	}
	name := fmt.Sprintf("%02d-%d", u.Slide, u.Part)
	before, err := filepath.Glob(filepath.Join(f.dir, name+"-*"))
	if err != nil {
		return err
	}
	h := fnv.New32a()
	fmt.Fprint(h, name, len(before))
	fate := []string{"killed", "twice", "well", "well", "well", "well", "well", "well", "well", "well"}[h.Sum32()%10]
	if err := os.WriteFile(filepath.Join(f.dir, fmt.Sprintf("%s-%d-%s", name, len(before), fate)), nil, 0o600); err != nil {
		return err
	}
	switch fate {
	case "killed":
		time.AfterFunc(time.Duration(h.Sum32()/10%200)*time.Millisecond, func() {
			p, _ := os.FindProcess(os.Getpid())
			_ = p.Kill()
		})
		_ = c.Search(ctx, u)
		select {} // it was faster
	case "twice":
		var other error
		var both sync.WaitGroup
		both.Go(func() { other = c.Search(ctx, u) })
		err := c.Search(ctx, u)
		both.Wait()
		if fmt.Sprint(err) != fmt.Sprint(other) {
			return fmt.Errorf("two attempts: %w, and %w", err, other)
		}
		return err
	}
	return c.Search(ctx, u)
}

// program runs this program in a process of its own and returns its exit code,
// -1 if it was killed, and what it printed.
func program(t *testing.T, faults string, args ...string) (int, string) {
	ctx, stop := context.WithTimeout(t.Context(), 2*time.Minute)
	defer stop()
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = append(os.Environ(), faultsVar+"="+faults)
	text, _ := c.CombinedOutput()
	require.NoError(t, ctx.Err(), "%s", text)
	return c.ProcessState.ExitCode(), string(text)
}

// sums are the hashes of a cohort's files but those that hold times.
func sums(t *testing.T, dir string) map[string]string {
	return cohorttest.Sums(t, dir, "times", sheets.TimesFile)
}

// TestFaults does the demonstration's cohort by the plain command and by Beam on
// prism, a fifth of whose attempts are killed or are two at the same time: all
// files are the same but those with times. Then two pipelines do it at once.
func TestFaults(t *testing.T) {
	sheet, err := cohort.Demo(t.Context(), t.TempDir())
	require.NoError(t, err)
	flags := []string{"-sheet", sheet, "-model", cohorttest.TinyModel(t), "-iou", "-1", "-stability", "-1", "-device", "cpu", "-mpp", "1", "-part-tiles", "2"}
	plain := t.TempDir()
	for _, step := range []string{"-plan", "-merge=false"} {
		var text bytes.Buffer
		code := cli.Main(t.Context(), append([]string{"slidesam", "cohort", "-out", plain, step}, flags...), "v1", []cli.Command{cohort.Command()},
			cli.IO{Stdout: &text, Stderr: &text, Env: func(string) string { return "" }})
		require.Equal(t, map[string]int{"-plan": cli.ExitOK, "-merge=false": cli.ExitPartial}[step], code, text.String())
	}
	want := sums(t, plain)
	require.Contains(t, want, "slides/S01/shards/00001-of-00002.json", "slides are to have parts")

	out, faults := t.TempDir(), t.TempDir()
	code, text, killed := -1, "", 0
	begun := time.Now()
	for code == -1 && killed < 20 {
		if code, text = program(t, faults, append(flags, "-out", out)...); code == -1 {
			killed++
		}
	}
	require.Equal(t, cli.ExitPartial, code, text)
	assert.Contains(t, text, "20 slides: 18 done, 2 failed")
	assert.Equal(t, want, sums(t, out))
	count := func(fate string) int {
		of, err := filepath.Glob(filepath.Join(faults, "*-"+fate))
		require.NoError(t, err)
		return len(of)
	}
	all, twice := count("*"), count("twice")
	t.Logf("%d attempts: %d killed, %d twice, in %v", all, killed, twice, time.Since(begun))
	assert.Equal(t, count("killed"), killed)
	assert.Greater(t, killed, 2)
	assert.Greater(t, twice, 2)
	assert.GreaterOrEqual(t, 6*(killed+twice), all)

	out = t.TempDir()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			code, text := program(t, "", append(flags, "-out", out)...)
			assert.Equal(t, cli.ExitPartial, code, text)
		})
	}
	both.Wait()
	assert.Equal(t, want, sums(t, out))
}

// TestUsage has flags that mean nothing, and those that two have a claim on.
func TestUsage(t *testing.T) {
	dir := t.TempDir()
	sheet := filepath.Join(dir, "s.csv")
	require.NoError(t, os.WriteFile(sheet, []byte("slide\na.png\n"), 0o600))
	for _, tt := range []struct {
		args string
		code int
		says string
	}{
		{"-sheet nowhere.csv", cli.ExitFailed, "nowhere.csv"},
		{"-part-tiles 0", cli.ExitUsage, "-part-tiles 0, want 1 or more"},
		{"-slide-region 1,2", cli.ExitUsage, `-region "1,2", want x,y,w,h`},
		{"-out s3://lab/results", cli.ExitUsage, "Beam's workers share a folder"},
		{"slide.svs", cli.ExitUsage, "slides are given with -sheet"},
		{"-no-such-flag", cli.ExitUsage, "Flags of Beam and its runners: "},
		{"-sheet " + sheet + " -out " + dir + " -slide-region 0,0,9,9", cli.ExitFailed, "all 1 slides failed"},
		{"-sheet " + sheet + " -out " + dir + " -slide-region 0,0,8,8", cli.ExitFailed, "folder holds another cohort"},
		{"-sheet " + sheet + " -runner=flink", cli.ExitFailed, "--endpoint"},
	} {
		code, text := program(t, "", strings.Fields(tt.args)...)
		assert.Equal(t, tt.code, code, "%s: %s", tt.args, text)
		assert.Contains(t, text, tt.says, tt.args)
	}
}

// TestOtherSheet has a unit whose slide is not where it was in the sheet.
func TestOtherSheet(t *testing.T) {
	dir := t.TempDir()
	sheet := filepath.Join(dir, "s.csv")
	require.NoError(t, os.WriteFile(sheet, []byte("slide\na.png\nb.png\n"), 0o600))
	flags := []string{"-sheet=" + sheet, "-out=" + dir, "-model=" + cohorttest.TinyModel(t)}
	w, err := openFor(t.Context(), flags, Unit{Slide: 1, ID: "b", Parts: 1})
	require.NoError(t, err)
	again, err := openFor(t.Context(), flags, Unit{Slide: 0, ID: "a", Parts: 1})
	require.NoError(t, err)
	assert.Same(t, w, again, "one model for a process")
	for _, u := range []Unit{{Slide: 0, ID: "b"}, {Slide: 2, ID: "c"}} {
		_, err = openFor(t.Context(), flags, u)
		assert.ErrorContains(t, err, "run the pipeline again")
	}
	_, err = open(t.Context(), []string{"-sheet=" + filepath.Join(dir, "none.csv")})
	assert.ErrorIs(t, err, fs.ErrNotExist)
}
