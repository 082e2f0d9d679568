// Package cohort is the command that does the slides of a sheet, on one machine or
// on many, and makes one table and one report of them.
package cohort

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"github.com/slidesam/sam/examples/slidesam/slide"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/cohort"
)

// job is what the flags ask for.
type job struct {
	Job
	plan, merge, json bool
	textShard         string
	shard, shards     int
	stdio             cli.IO
	dir               string         // of the results on this machine
	mirror            *cohort.Mirror // to a bucket; nil: out is a folder
}

// Command is cohort.
func Command() cli.Command {
	return cli.Command{
		Name: "cohort", Usage: "the slides of a sheet: a folder for each, one table and one report; resumes, retries what failed, shards over machines",
		Flags: func() *flag.FlagSet { return new(job).flags() },
		Run:   run,
	}
}

func (j *job) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("cohort", flag.ContinueOnError)
	fs.BoolVar(&j.plan, "plan", false, "only count tiles, cut large slides into parts and write "+cohort.UnitsFile+", which -shard follows")
	fs.StringVar(&j.textShard, "shard", "", "`i/n`, i from 0: do every n-th unit; auto: from the array job's variables")
	fs.BoolVar(&j.merge, "merge", false, "join the parts of slides, and write the table and the report; with -shard: join every n-th slide, no more")
	fs.BoolVar(&j.json, "json", false, "log as JSON")
	j.Register(fs)
	return fs
}

func (j *job) parse(args []string) error {
	fs := j.flags()
	fs.SetOutput(j.stdio.Stderr)
	if err := cli.Parse(fs, args); err != nil {
		return err
	}
	var err error
	switch j.shard, j.shards, err = slide.ParseShard(j.textShard, j.stdio.Env); {
	case err != nil:
	case fs.NArg() > 0:
		err = fmt.Errorf("unknown argument %q: slides are given with -sheet", fs.Arg(0))
	case j.plan && (j.merge || j.shards > 0):
		err = errors.New("-plan comes before -shard and -merge, as a command of its own")
	case j.Sheet == "" && (j.plan || j.merge || j.shards > 0):
		err = errors.New("-plan, -shard and -merge go with -sheet")
	default:
		err = j.Check()
	}
	if err != nil {
		return &cli.UsageError{Err: err}
	}
	return nil
}

func run(ctx context.Context, args []string, stdio cli.IO) error {
	j := &job{stdio: stdio}
	if err := j.parse(args); err != nil {
		return err
	}
	j.Log = slog.New(slog.NewTextHandler(stdio.Stderr, nil))
	if j.json {
		j.Log = slog.New(slog.NewJSONHandler(stdio.Stderr, nil))
	}
	leave, err := j.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if j.Sheet == "" {
		if j.Sheet, err = Demo(ctx, j.dir); err != nil {
			return err
		}
		fmt.Fprintf(stdio.Stdout, "%s: twenty synthetic slides\n", j.Sheet)
	}
	c, err := j.Open(ctx, j.dir)
	if err != nil {
		return err
	}
	if j.mirror != nil {
		if err := j.mirror.PutPlan(ctx); err != nil {
			return err
		}
	}
	if j.plan {
		return j.doPlan(ctx, c)
	}
	units, err := c.Units()
	if err != nil {
		return err
	}
	var failed []error
	if !j.merge {
		if failed, err = j.search(ctx, c, cohort.Share(units, j.shard, j.shards)); err != nil {
			return err
		}
		if j.shards > 0 {
			if len(failed) > 0 {
				return partialf("%d of this shard's slides failed; the first: %v", len(failed), failed[0])
			}
			return nil
		}
	}
	unfinished, err := j.join(ctx, c, units)
	if err != nil {
		return err
	}
	if j.merge && j.shards > 0 {
		return errors.Join(unfinished...)
	}
	return j.report(ctx, c, unfinished)
}

// doPlan counts tiles and writes the units.
func (j *job) doPlan(ctx context.Context, c *cohort.Cohort) error {
	units, err := c.Plan(ctx, j.PartTiles, func(done int, s cohort.Slide, err error) {
		if err != nil {
			j.Log.Warn("slide cannot be planned, and will be tried again", "slide", s.ID, "error", err.Error())
		} else {
			j.Log.Info("slide planned", "slide", s.ID, "done", done, "total", len(c.Slides))
		}
	})
	if err == nil && j.mirror != nil {
		err = j.mirror.PutPlan(ctx)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(j.stdio.Stdout, "%d slides in %d units: run -shard 0/%d to %d/%d, or fewer shards of several units\n", len(c.Slides), len(units), len(units), len(units)-1, len(units))
	return nil
}

// search does units; it returns the slides that failed.
func (j *job) search(ctx context.Context, c *cohort.Cohort, units []cohort.Unit) (failed []error, err error) {
	begun := time.Now()
	for n, u := range units {
		s := c.Slides[u.Slide]
		var f *cohort.FailedError
		err := j.unit(ctx, c, u)
		switch {
		case errors.As(err, &f):
			j.Log.Error("slide failed", "slide", s.ID, "error", f.Reason.Error())
			failed = append(failed, f)
		case err != nil:
			return failed, err
		default:
			j.Log.Info("unit done", "slide", s.ID, "part", u.Part, "parts", u.Parts, "done", n+1, "total", len(units), "elapsed", time.Since(begun).Round(time.Second).String())
		}
	}
	return failed, nil
}

// join merges the slides that are cut into parts; with -shard its share.
func (j *job) join(ctx context.Context, c *cohort.Cohort, units []cohort.Unit) (unfinished []error, err error) {
	if j.mirror != nil {
		if err := j.mirror.GetRecords(ctx, c); err != nil {
			return nil, err
		}
	}
	var firsts []cohort.Unit
	for _, u := range units {
		if u.Part == 0 {
			firsts = append(firsts, u)
		}
	}
	for _, u := range cohort.Share(firsts, j.shard, j.shards) {
		var f *cohort.FailedError
		switch err := j.mergeSlide(ctx, c, u); {
		case errors.As(err, &f): // the table says it
		case errors.Is(err, cohort.ErrUnfinished):
			unfinished = append(unfinished, err)
		case err != nil:
			return unfinished, err
		}
	}
	return unfinished, nil
}

// report writes the table and the page.
func (j *job) report(ctx context.Context, c *cohort.Cohort, unfinished []error) error {
	sum, err := c.Report()
	if err == nil && j.mirror != nil {
		err = j.mirror.PutReport(ctx)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(j.stdio.Stdout, "%s\n%s: look at it; the table is %s beside it\n", sum, j.place(cohort.ReportFile), cohort.TableFile)
	if len(unfinished) > 0 {
		return fmt.Errorf("%d slides are unfinished: run their shards; the first: %w", len(unfinished), unfinished[0])
	}
	return Outcome(sum, j.place(cohort.TableFile))
}
