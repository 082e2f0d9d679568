// Command beam does a cohort of slides on Apache Beam: on the prism runner within
// this process unless told otherwise, on Flink or on Dataflow by Beam's flags.
//
//	go run .
//	go run . -sheet cohort.csv -out results -mpp 0.5
//	go run . -sheet cohort.csv -out results --runner=flink --endpoint=jobs:8099
//
// It is a module of its own, so that slidesam does not depend on Beam.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/x/beamx"

	"github.com/slidesam/sam/examples/slidesam/cohort"
	"github.com/slidesam/sam/internal/cli"
	sheets "github.com/slidesam/sam/internal/cohort"
)

func main() {
	job := &cohort.Job{}
	own := addFlags(job, flag.CommandLine)
	flag.Usage = func() { usage(own, flag.CommandLine) }
	flag.Parse()
	beam.Init() // in a worker of an engine it does the engine's work, and never returns
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	err := run(ctx, job, own, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "beam:", err)
	}
	code := exitCode(ctx, err)
	stop()
	os.Exit(code)
}

// exitCode is that of slidesam.
func exitCode(ctx context.Context, err error) int {
	var usage *cli.UsageError
	switch {
	case err == nil:
		return cli.ExitOK
	case errors.As(err, &usage):
		return cli.ExitUsage
	case errors.Is(err, cli.ErrPartial):
		return cli.ExitPartial
	case ctx.Err() != nil:
		return cli.ExitStopped
	}
	return cli.ExitFailed
}

// addFlags adds the flags of a cohort to those of Beam, with slide- in front of
// a name that Beam has too. It returns them under their own names.
func addFlags(job *cohort.Job, all *flag.FlagSet) *flag.FlagSet {
	own := flag.NewFlagSet("cohort", flag.ContinueOnError)
	job.Register(own)
	var names []*flag.Flag
	own.VisitAll(func(f *flag.Flag) { names = append(names, f) })
	for _, f := range names {
		all.Var(f.Value, nameIn(all, f), f.Usage)
	}
	return own
}

// nameIn is what a flag of the cohort is called beside Beam's.
func nameIn(all *flag.FlagSet, f *flag.Flag) string {
	if of := all.Lookup(f.Name); of != nil && of.Value != f.Value {
		return "slide-" + f.Name
	}
	return f.Name
}

func usage(own, all *flag.FlagSet) {
	shown := flag.NewFlagSet("", flag.ContinueOnError)
	shown.SetOutput(all.Output())
	ours := map[flag.Value]bool{}
	own.VisitAll(func(f *flag.Flag) {
		ours[f.Value] = true
		shown.Var(f.Value, nameIn(all, f), f.Usage)
	})
	fmt.Fprintln(all.Output(), "A cohort of slides on Apache Beam. Flags of the cohort:")
	shown.PrintDefaults()
	var others []string
	all.VisitAll(func(f *flag.Flag) {
		if !ours[f.Value] {
			others = append(others, "--"+f.Name)
		}
	})
	fmt.Fprintln(all.Output(), "Flags of Beam and its runners:", strings.Join(others, " "))
}

// given returns the flags of the cohort that workers are to have, which may have
// another current folder.
func given(own, all *flag.FlagSet) ([]string, error) {
	set := map[flag.Value]bool{}
	all.Visit(func(f *flag.Flag) { set[f.Value] = true })
	var out []string
	var err error
	own.VisitAll(func(f *flag.Flag) {
		path := f.Name == "sheet" || f.Name == "out" || f.Name == "model" || f.Name == "decoder"
		v := f.Value.String()
		if path && v != "" && !strings.Contains(v, "://") {
			var e error
			v, e = filepath.Abs(v)
			err = errors.Join(err, e)
		} else if !set[f.Value] {
			return
		}
		out = append(out, "-"+f.Name+"="+v)
	})
	return out, err
}

// run does the cohort that the flags ask for.
func run(ctx context.Context, job *cohort.Job, own *flag.FlagSet, stdout io.Writer) error {
	err := job.Check()
	if flag.NArg() > 0 {
		err = fmt.Errorf("unknown argument %q: slides are given with -sheet", flag.Arg(0))
	}
	if strings.Contains(job.Out, "://") {
		err = fmt.Errorf("-out %s: Beam's workers share a folder; for a bucket see examples/cloud", job.Out)
	}
	if err != nil {
		return &cli.UsageError{Err: err}
	}
	if job.Sheet == "" {
		if job.Sheet, err = cohort.Demo(ctx, job.Out); err != nil {
			return err
		}
		fmt.Fprintf(stdout, "%s: twenty synthetic slides\n", job.Sheet)
	}
	if _, err := sheets.ReadSheet(ctx, job.Sheet); err != nil {
		return err
	}
	flags, err := given(own, flag.CommandLine)
	if err != nil {
		return err
	}
	p, s := beam.NewPipelineWithRoot()
	build(s, flags)
	res, err := beamx.RunWithMetrics(ctx, p)
	if err != nil {
		return err
	}
	if *jobopts.Async {
		return nil
	}
	return tell(res, job.Out, stdout)
}

// tell says how the slides fared, which the pipeline counted.
func tell(res beam.PipelineResult, out string, stdout io.Writer) error {
	n := map[string]int{}
	if res != nil {
		mine := res.Metrics().Query(func(r metrics.SingleResult) bool { return r.Namespace() == counters })
		for _, c := range mine.Counters() {
			n[c.Name()] += int(c.Result())
		}
	}
	sum := sheets.Summary{
		Slides: n[countSlides], Done: n[countDone], Partial: n[countPartial], Failed: n[countFailed],
		Unfinished: n[countUnfinished], Objects: n[countObjects],
	}
	report := filepath.Join(out, sheets.ReportFile)
	if sum.Slides == 0 {
		return fmt.Errorf("the engine ended without word of the slides: was the job cancelled? If not, %s says how they are", report)
	}
	fmt.Fprintf(stdout, "%s\n%s: look at it; the table is %s beside it\n", sum, report, sheets.TableFile)
	return cohort.Outcome(sum, filepath.Join(out, sheets.TableFile))
}
