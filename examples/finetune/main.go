// Command finetune teaches a model the objects of a few annotated fields and
// writes a checkpoint and a report of what that changed.
//
//	go run ./examples/finetune
//	go run ./examples/finetune -model sam_vit_b_01ec64.pth -slide s.svs -annotations fields.geojson
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "finetune:", err)
		os.Exit(1)
	}
}

// config is what the flags say.
type config struct {
	model, out         string
	slide, annotations string
	mpp                float64
	data, test         []string
	resume, quiet      bool
	known              bool
	loss               string
	o                  sam.FineTuneOptions
	command            string
}

const dataHelp = `annotated pictures, KIND=FOLDERS, may be given several times:
pairs=IMAGES,MASKS[,MPP]  labels=IMAGES,MASKS[,MPP]  (masks that are binary, or hold instance numbers)
qupath=IMAGES,ANNOTATIONS[,MPP]  coco=JSON,IMAGES[,MPP]`

func parse(args []string, help io.Writer) (config, error) {
	c := config{command: strings.Join(append([]string{"finetune"}, args...), " ")}
	f := flag.NewFlagSet("finetune", flag.ContinueOnError)
	f.SetOutput(help)
	f.StringVar(&c.model, "model", "", "checkpoint `file` to begin with; default: the bundled model")
	f.StringVar(&c.slide, "slide", "", "slide `file` that -annotations belong to")
	f.StringVar(&c.annotations, "annotations", "", "QuPath's GeoJSON `file` of the slide")
	f.Float64Var(&c.mpp, "mpp", 0, "micrometres per pixel at which fields of the slide are read; 0: the slide's own")
	f.Func("data", dataHelp, func(s string) error { c.data = append(c.data, s); return nil })
	f.Func("test", "pictures that only measure, as -data; default: the objects held back", func(s string) error { c.test = append(c.test, s); return nil })
	f.StringVar(&c.out, "out", "finetuned", "`folder` for the checkpoint, the report and the state")
	f.BoolVar(&c.resume, "resume", false, "go on from the state in the folder")
	f.BoolVar(&c.known, "known", true, "measure on synthetic H&E as well, to see what is forgotten")
	f.BoolVar(&c.quiet, "quiet", false, "print no progress")
	f.IntVar(&c.o.Steps, "steps", 40, "steps at most")
	f.IntVar(&c.o.Objects, "objects", 6, "objects of a step")
	f.IntVar(&c.o.Corrections, "corrections", 2, "corrections after the first prompt; -1: none")
	f.IntVar(&c.o.Turns, "turns", 4, "ways in which each picture is turned and mirrored, 1 to 8")
	f.IntVar(&c.o.Patience, "patience", 5, "measurements without a gain after which to stop; -1: never")
	f.IntVar(&c.o.LoRA, "lora", 0, "rank of low-rank matrices in the image encoder's last blocks; 0: the encoder stays as it is")
	f.IntVar(&c.o.LoRABlocks, "lora-blocks", 3, "blocks that have them")
	f.Float64Var(&c.o.Rate, "rate", 2e-4, "learning rate")
	f.Float64Var(&c.o.HeldBack, "held-back", 0.2, "share of the objects that only measure; -1: none")
	f.StringVar(&c.loss, "loss", "sam", "sam (focal 20, dice 1, IoU 1), micro-sam (squared dice, IoU) or bce")
	f.Uint64Var(&c.o.Seed, "seed", 1, "seed of the prompts, of what is held back and of the intervals")
	if err := f.Parse(args); err != nil {
		return c, flag.ErrHelp
	}
	losses := map[string]sam.FineTuneLoss{"sam": sam.LossSAM, "micro-sam": sam.LossMicroSAM, "bce": sam.LossBCE}
	var ok bool
	switch c.o.Loss, ok = losses[c.loss]; {
	case f.NArg() > 0:
		return c, fmt.Errorf("%q is not a flag", f.Arg(0))
	case !ok:
		return c, fmt.Errorf("-loss %q: want sam, micro-sam or bce", c.loss)
	case (c.slide == "") != (c.annotations == ""):
		return c, errors.New("-slide and -annotations go together")
	}
	return c, nil
}

// open opens the checkpoint to begin with.
func (c config) open() (*weights.Checkpoint, error) {
	if c.model == "" {
		return bundled.Checkpoint()
	}
	return weights.Open(c.model)
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	begin := time.Now()
	c, err := parse(args, progress)
	if err != nil {
		return err
	}
	j := job{config: c}
	if err := j.read(ctx); err != nil {
		return err
	}
	ck, err := c.open()
	if err != nil {
		return err
	}
	defer ck.Close()
	if err := os.MkdirAll(c.out, 0o777); err != nil {
		return err
	}
	o := c.o
	o.State = filepath.Join(c.out, "state")
	if !c.resume {
		if err := os.Remove(o.State); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if !c.quiet {
		o.Progress = j.progress(progress)
	}
	tuned, failed := sam.FineTune(ctx, ck, j.fields, o)
	if tuned == nil {
		return failed
	}
	saved, err := tuned.Checkpoint()
	if err != nil {
		return errors.Join(failed, err)
	}
	path := filepath.Join(c.out, "model.safetensors")
	// Also after an error: the best weights until then are worth keeping.
	if err := saved.Save(context.WithoutCancel(ctx), path, weights.ConvertOptions{}); err != nil {
		return errors.Join(failed, err)
	}
	if failed != nil {
		return fmt.Errorf("%w (the best weights until then are in %s)", failed, path)
	}
	j.tuned = tuned
	if err := j.measure(ctx); err != nil {
		return err
	}
	j.took = time.Since(begin)
	if err := j.report(ctx, filepath.Join(c.out, "report.html")); err != nil {
		return err
	}
	return j.print(out, path)
}

// progress prints a line for every tenth step.
func (j *job) progress(w io.Writer) func(sam.FineTuneProgress) {
	return func(p sam.FineTuneProgress) {
		switch {
		case p.Step == 0 && p.Embedded > 0:
			fmt.Fprintf(w, "\rembedding %d of %d", p.Embedded, p.Embeddings)
			if p.Embedded == p.Embeddings {
				fmt.Fprintln(w)
			}
		case p.Step%10 == 0 || p.Step == p.Steps:
			fmt.Fprintf(w, "step %d of %d: loss %.3f, IoU %.3f; held back: point %.3f, box %.3f\n",
				p.Step, p.Steps, p.Last.Loss, p.Last.IoU, p.Score.Point, p.Score.Box)
		}
	}
}

func (j *job) print(out io.Writer, path string) error {
	fmt.Fprintf(out, "%d fields, %d objects; %d steps in %v\n\n", len(j.fields), j.objects, len(j.tuned.Steps), j.took.Round(time.Second))
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "\t\tobjects\tunion Dice\t\tIoU of an object\t\tgain, 95 %\t")
	fmt.Fprintln(tw, "data\tprompt\t\tbefore\tafter\tbefore\tafter\t\t")
	for _, r := range j.rows {
		fmt.Fprintf(tw, "%s\t%s\t%d\t%.3f\t%.3f\t%.3f\t%.3f\t%s\t\n", r.Data, r.Prompt, r.Before.N, r.DiceBefore, r.DiceAfter, r.Before.Mean, r.After.Mean, interval(r.Gain))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "\n%s\n%s\n", path, filepath.Join(j.out, "report.html"))
	return err
}

func interval(s eval.Summary) string {
	switch {
	case s.N == 0:
		return ""
	case math.IsNaN(s.Low): // one object
		return fmt.Sprintf("%+.3f", s.Mean)
	}
	return fmt.Sprintf("%+.3f (%+.3f to %+.3f)", s.Mean, s.Low, s.High)
}
