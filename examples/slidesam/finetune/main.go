// Package finetune is the command that teaches a model the objects of a few
// annotated fields and writes a checkpoint and a report of what that changed.
//
//	go run ./examples/slidesam finetune
//	go run ./examples/slidesam finetune -train instances
//	go run ./examples/slidesam finetune -annotations fields.geojson -slide s.svs -model sam_vit_b_01ec64.pth
package finetune

import (
	"context"
	"flag"
	"fmt"
	"io"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval/fewshot"
	"github.com/slidesam/sam/internal/cli"
	_ "github.com/slidesam/sam/remote" // slides of web servers and buckets
)

// Command is finetune.
func Command() cli.Command {
	return cli.Command{
		Name: "finetune", Usage: "teaches a model the objects of a few annotated fields: checkpoint or adapter, and a report of before and after",
		Flags: func() *flag.FlagSet { return new(config).flags() },
		Run: func(ctx context.Context, args []string, stdio cli.IO) error {
			return run(ctx, args, stdio.Stdout, stdio.Stderr)
		},
	}
}

func run(ctx context.Context, args []string, out, stderr io.Writer) error {
	begin := time.Now()
	c, err := parse(args, stderr)
	if err != nil {
		return err
	}
	took := func() time.Duration { return time.Since(begin) }
	if c.train == trainInstances {
		return runInstances(ctx, c, out, stderr, took)
	}
	j := job{config: c}
	if err := j.open(); err != nil {
		return err
	}
	defer j.from.Close()
	if err := j.read(ctx); err != nil {
		return err
	}
	if err := j.tune(ctx, progress(stderr, c.quiet)); err != nil {
		if ctx.Err() != nil && j.tuned != nil {
			fmt.Fprintf(stderr, "finetune: the best weights so far are in %s; the same command goes on\n", j.file(modelFile))
		}
		return err
	}
	if err := j.measure(ctx); err != nil {
		return err
	}
	if err := j.report(ctx, took()); err != nil {
		return err
	}
	return j.print(out, modelFile)
}

// progress draws a bar for the embeddings and one for the steps, and prints a
// line for every measurement.
func progress(w io.Writer, quiet bool) func(sam.FineTuneProgress) {
	if quiet {
		return nil
	}
	bar := func(what string, n int) *progressbar.ProgressBar {
		return progressbar.NewOptions(n, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
			progressbar.OptionShowCount(), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	}
	var pictures, steps *progressbar.ProgressBar
	measured := -1
	return func(p sam.FineTuneProgress) {
		if p.Step == 0 {
			if pictures == nil {
				pictures = bar("embedding", p.Embeddings)
			}
			_ = pictures.Set(p.Embedded) // a terminal that is gone is no reason to stop
			return
		}
		if steps == nil {
			steps = bar("steps", p.Steps)
		}
		if s := p.Score; s.Step > measured && (s.Point > 0 || s.Box > 0) {
			measured = s.Step
			_ = steps.Clear()
			fmt.Fprintf(w, "step %d of %d: loss %.3f; IoU of the objects held back after %d: a point %.3f, a box %.3f\n", p.Step, p.Steps, p.Last.Loss, s.Step, s.Point, s.Box)
		}
		if s := p.Instances; s.Step > measured && (s.Step > 0 || s.F1 > 0) {
			measured = s.Step
			_ = steps.Clear()
			fmt.Fprintf(w, "step %d of %d: loss %.3f; fields held back after %d: F1 %.3f, PQ %.3f\n", p.Step, p.Steps, p.Last.Loss, s.Step, s.F1, s.PQ)
		}
		_ = steps.Set(p.Step)
	}
}

func (j *job) print(out io.Writer, weights string) error {
	fmt.Fprintf(out, "%s\n", j.page.Counts())
	for _, n := range j.page.Notes {
		fmt.Fprintln(out, n)
	}
	if len(j.page.Changes) > 0 {
		fmt.Fprintln(out)
		if err := fewshot.WriteTable(out, j.page.Changes); err != nil {
			return err
		}
	}
	if len(j.page.Found) > 0 {
		fmt.Fprintln(out)
		if err := fewshot.WriteFound(out, j.page.Found); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "\n%s\n%s\n", j.file(weights), j.file(reportFile))
	return err
}
