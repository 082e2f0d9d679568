package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/slidesam/sam/examples/slidesam/cohort"
	"github.com/slidesam/sam/internal/cli"
	sheets "github.com/slidesam/sam/internal/cohort"
)

// worker is a cohort with its model, of which a process has one.
type worker struct {
	*sheets.Cohort
	partTiles int
	busy      chan struct{} // holds one while a unit is searched
}

var workers = struct {
	sync.Mutex
	by map[string]*worker // flags
}{by: map[string]*worker{}}

// open returns the process's worker for a cohort's flags. What goes wrong is
// tried again at the next call.
func open(ctx context.Context, flags []string) (*worker, error) {
	key := strings.Join(flags, "\x00")
	workers.Lock()
	defer workers.Unlock()
	if w := workers.by[key]; w != nil {
		return w, nil
	}
	fs := flag.NewFlagSet("cohort", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // the error says it
	job := &cohort.Job{}
	job.Register(fs)
	job.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	if err := cli.Parse(fs, flags); err != nil {
		return nil, err
	}
	c, err := job.Open(ctx, job.Out)
	if err != nil {
		return nil, err
	}
	w := &worker{Cohort: c, partTiles: job.PartTiles, busy: make(chan struct{}, 1)}
	workers.by[key] = w
	return w, nil
}

// openFor is open, and checks that the worker has the slide of a unit: the
// sheet may be another one by now.
func openFor(ctx context.Context, flags []string, u Unit) (*worker, error) {
	w, err := open(ctx, flags)
	if err == nil && (u.Slide >= len(w.Slides) || w.Slides[u.Slide].ID != u.ID) {
		err = fmt.Errorf("slide %s is not in line %d of the sheet any more: run the pipeline again", u.ID, u.Slide+2)
	}
	return w, err
}

// turn waits until no other unit is searched in this process: a search uses
// all its processors, and memory for one. After it comes done.
func (w *worker) turn(ctx context.Context) error {
	select {
	case w.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *worker) done() { <-w.busy }
