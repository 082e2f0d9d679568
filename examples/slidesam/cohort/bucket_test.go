package cohort

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/cohort"
	"github.com/slidesam/sam/internal/cohort/cohorttest"
)

// bucket is a Store in a folder, which fails now and then.
type bucket struct {
	dir string

	mu    sync.Mutex
	fails float64 // share of the requests
	dice  *rand.Rand
	puts  map[string]int
}

var errBucket = errors.New("bucket does not answer")

func (b *bucket) ask() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dice.Float64() < b.fails {
		return errBucket
	}
	return nil
}

func (b *bucket) Get(_ context.Context, name string, w io.Writer) error {
	if err := b.ask(); err != nil {
		return err
	}
	c, err := os.ReadFile(filepath.Join(b.dir, filepath.FromSlash(name)))
	if err == nil {
		_, err = w.Write(c)
	}
	return err
}

func (b *bucket) Put(_ context.Context, name string, r io.Reader) error {
	if err := b.ask(); err != nil {
		return err
	}
	b.mu.Lock()
	b.puts[name]++
	b.mu.Unlock()
	p := filepath.Join(b.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
		return err
	}
	return atomicfile.Write(p, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

func (b *bucket) Delete(_ context.Context, name string) error {
	if err := b.ask(); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(b.dir, filepath.FromSlash(name))); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (b *bucket) List(_ context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := b.ask(); err != nil {
			yield("", err)
			return
		}
		_ = filepath.WalkDir(b.dir, func(p string, d fs.DirEntry, err error) error {
			name, _ := filepath.Rel(b.dir, p)
			if name = filepath.ToSlash(name); err == nil && !d.IsDir() && strings.HasPrefix(name, prefix) && !yield(name, nil) {
				return fs.SkipAll
			}
			return err
		})
	}
}

func (b *bucket) Close() error { return nil }

// TestBucket does a cohort whose results go to a bucket, by tasks that share no
// folder, a fifth of whose requests fail and one of which runs twice: it
// holds what the folder of the plain command has.
func TestBucket(t *testing.T) {
	b := &bucket{dir: t.TempDir(), dice: rand.New(rand.NewPCG(1, 2)), puts: map[string]int{}}
	cohort.RegisterStore("test", func(context.Context, string) (cohort.Store, error) { return b, nil })
	t.Setenv("TMPDIR", t.TempDir())
	sheet, plain := fields(t), filepath.Join(t.TempDir(), "plain")
	flags := []string{"-sheet", sheet, "-model", cohorttest.TinyModel(t), "-iou", "-1", "-stability", "-1", "-tile", "64", "-halo", "8"}
	code, text := call(t, nil, append(flags, "-out", plain)...)
	require.Equal(t, cli.ExitPartial, code, text)
	want := sums(t, plain)

	// try repeats a task until no request fails.
	failures := 0
	try := func(wantCode int, args ...string) {
		t.Helper()
		for range 200 {
			b.fails = 0.05
			code, text = call(t, nil, append(append(flags, "-out", "test://bucket/run"), args...)...)
			if !strings.Contains(text, errBucket.Error()) {
				require.Equal(t, wantCode, code, text)
				return
			}
			require.Equal(t, cli.ExitFailed, code, text)
			failures++
		}
		t.Fatal(text)
	}
	try(cli.ExitOK, "-plan", "-part-tiles", "1")
	assert.FileExists(t, filepath.Join(b.dir, cohort.UnitsFile))
	b.fails = 0
	code, text = call(t, nil, append(flags, "-out", "test://bucket/run", "-merge")...)
	assert.Equal(t, cli.ExitFailed, code)
	assert.Contains(t, text, "are unfinished: run their shards")
	try(cli.ExitPartial, "-shard", "1/2") // has the slide that fails
	try(cli.ExitOK, "-shard", "0/2")
	part := func() (n int) {
		for name, times := range b.puts {
			if strings.HasSuffix(name, ".tar.gz") {
				n += times
			}
		}
		return n
	}
	stored := part()
	assert.Positive(t, stored)
	try(cli.ExitPartial, "-shard", "1/2")
	assert.Equal(t, stored, part(), "a part that is there is not searched again")
	try(cli.ExitPartial, "-merge")
	assert.Contains(t, text, "test://bucket/run/"+cohort.ReportFile)
	assert.Positive(t, failures)
	got := sums(t, b.dir)
	for name := range got {
		if strings.Contains(name, "/parts/") {
			delete(got, name)
		}
	}
	assert.Equal(t, want, got)
	left, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "slidesam-*"))
	require.NoError(t, err)
	assert.Empty(t, left, "on this machine nothing is left")

	b.fails = 0
	code, text = call(t, nil, append(flags, "-out", "test://bucket/run", "-min-area", "9")...)
	assert.Equal(t, cli.ExitFailed, code)
	assert.Contains(t, text, "folder holds another cohort")
	code, text = call(t, nil, append(flags, "-out", "s3://bucket/run")...)
	assert.Equal(t, cli.ExitFailed, code)
	assert.Contains(t, text, "build that of examples/cloud")
}
