// Package cohort is the command that does the slides of a sheet, on one machine or
// on many, and makes one table and one report of them.
package cohort

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/examples/slidesam/slide"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/cohort"
)

// job is what the flags ask for.
type job struct {
	slide.Runner
	sheet, out, group string
	plan, merge, json bool
	partTiles         int
	textShard         string
	shard, shards     int
	log               *slog.Logger
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
	fs.StringVar(&j.sheet, "sheet", "", "CSV `file` of slides: columns slide and, if wanted, id, mpp, group and any others;\ndefault: twenty synthetic slides, two of them corrupt")
	fs.StringVar(&j.out, "out", filepath.Join("out", "cohort"), "`folder` for the results, or a bucket's with the program of examples/cloud: s3://BUCKET/FOLDER, gs://, azblob://")
	fs.StringVar(&j.group, "group", "group", "`column` of the sheet that says which slides are compared")
	fs.BoolVar(&j.plan, "plan", false, "only count tiles, cut large slides into parts and write "+cohort.UnitsFile+", which -shard follows")
	fs.IntVar(&j.partTiles, "part-tiles", 500, "with -plan: most `tiles` of a part")
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
	case j.partTiles < 1:
		err = fmt.Errorf("-part-tiles %d, want 1 or more", j.partTiles)
	case j.sheet == "" && (j.plan || j.merge || j.shards > 0):
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
	j.log = slog.New(slog.NewTextHandler(stdio.Stderr, nil))
	if j.json {
		j.log = slog.New(slog.NewJSONHandler(stdio.Stderr, nil))
	}
	j.Log = j.log
	leave, err := j.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if j.sheet == "" {
		if j.sheet, err = writeDemo(ctx, j.dir); err != nil {
			return err
		}
		fmt.Fprintf(stdio.Stdout, "%s: twenty synthetic slides\n", j.sheet)
	}
	slides, err := cohort.ReadSheet(ctx, j.sheet)
	if err != nil {
		return err
	}
	if err := j.Load(); err != nil {
		return err
	}
	settings, err := j.Settings()
	if err != nil {
		return err
	}
	c, err := cohort.Open(j.dir, slides, settings, searcher{&j.Runner})
	if err != nil {
		return err
	}
	c.Group = j.group
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
	units, err := c.Plan(ctx, j.partTiles, func(done int, s cohort.Slide, err error) {
		if err != nil {
			j.log.Warn("slide cannot be planned, and will be tried again", "slide", s.ID, "error", err.Error())
		} else {
			j.log.Info("slide planned", "slide", s.ID, "done", done, "total", len(c.Slides))
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
			j.log.Error("slide failed", "slide", s.ID, "error", f.Reason.Error())
			failed = append(failed, f)
		case err != nil:
			return failed, err
		default:
			j.log.Info("unit done", "slide", s.ID, "part", u.Part, "parts", u.Parts, "done", n+1, "total", len(units), "elapsed", time.Since(begun).Round(time.Second).String())
		}
	}
	return failed, nil
}

// join merges the slides that are cut into parts; with -shard its share.
func (j *job) join(ctx context.Context, c *cohort.Cohort, units []cohort.Unit) (unfinished []error, err error) {
	if j.mirror != nil {
		if err := j.mirror.Records(ctx, c); err != nil {
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
	switch {
	case len(unfinished) > 0:
		return fmt.Errorf("%d slides are unfinished: run their shards; the first: %w", len(unfinished), unfinished[0])
	case sum.Failed == sum.Slides:
		return fmt.Errorf("all %d slides failed: %s has the reasons", sum.Slides, j.place(cohort.TableFile))
	case sum.Failed > 0:
		return partialf("%d of %d slides failed, and will be tried again by the same command: %s has the reasons", sum.Failed, sum.Slides, cohort.TableFile)
	case sum.Partial > 0:
		return partialf("parts of %d slides could not be read and were left out", sum.Partial)
	}
	return nil
}

// partialError is an error of a cohort that is done but for some slides.
type partialError struct{ text string }

func partialf(format string, args ...any) error { return &partialError{fmt.Sprintf(format, args...)} }

// Error says what was not done.
func (p *partialError) Error() string { return p.text }

// Unwrap tells the exit code.
func (p *partialError) Unwrap() error { return cli.ErrPartial }

// searcher does slides as the command slide does.
type searcher struct{ r *slide.Runner }

func (s searcher) Plan(ctx context.Context, p cohort.Part) (*cohort.Found, error) {
	return found(s.r.Plan(ctx, part(p)))
}

func (s searcher) Search(ctx context.Context, p cohort.Part) (*cohort.Found, error) {
	return found(s.r.Run(ctx, part(p)))
}

func (s searcher) Merge(ctx context.Context, p cohort.Part) (*cohort.Found, error) {
	f, err := found(s.r.Merge(ctx, part(p)))
	if errors.Is(err, sam.ErrUnfinished) {
		err = fmt.Errorf("%w: %w", cohort.ErrUnfinished, err)
	}
	return f, err
}

func part(p cohort.Part) slide.Part {
	return slide.Part{Slide: p.Path, MPP: p.MPP, Dir: p.Dir, Part: p.Part, Parts: p.Parts, Title: p.ID}
}

func found(i *slide.Info, err error) (*cohort.Found, error) {
	if err != nil {
		return nil, err
	}
	f := &cohort.Found{
		W: i.Size.W, H: i.Size.H, MPP: i.MPP, Format: i.Format, Tissue: i.Tissue,
		Tiles: i.Done.Total, Searched: i.Done.Done - i.Done.Resumed, Seconds: i.Done.Elapsed.Seconds(),
	}
	if r := i.Result; r != nil {
		f.Tiles, f.Objects, f.Missing = r.Tiles, r.Objects, len(r.Missing)
	}
	return f, nil
}
