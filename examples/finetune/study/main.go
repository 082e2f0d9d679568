// Command study asks whether fine-tuning on a few pictures makes a model better
// on others: each picture of a folder is left out in turn, models learn from
// one or three of the rest, and are measured on it and, so that forgetting is
// seen, on synthetic slides.
//
//	go run ./examples/finetune/study -data pairs=images,masks,0.25
//
// What is done is kept in a file, from which the same command goes on.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/fewshot"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var usage *cli.UsageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "study:", err)
		os.Exit(cli.ExitUsage)
	default:
		fmt.Fprintln(os.Stderr, "study:", err)
		os.Exit(cli.ExitFailed)
	}
}

// config is what the flags say. All but the number of seeds and the file
// decides the figures.
type config struct {
	data      []string
	model     string
	train     []int
	seeds     int
	file      string
	loss      string
	measure   int // objects of the picture left out; 0: all
	synthetic int // slides
	o         sam.FineTuneOptions
	m         fewshot.Options
}

func parse(args []string, help io.Writer) (*config, error) {
	c := &config{}
	f := flag.NewFlagSet("study", flag.ContinueOnError)
	f.SetOutput(help)
	f.Func("data", "annotated pictures, "+cli.DataHelp, func(s string) error { c.data = append(c.data, s); return nil })
	f.StringVar(&c.model, "model", "", "checkpoint `file` to begin with; default: the bundled model")
	train := f.String("train", "1,3", "`numbers` of pictures to learn from, with commas")
	f.IntVar(&c.seeds, "seeds", 5, "seeds of each: what is learned from, in which order, by which prompts")
	f.StringVar(&c.file, "out", "study.json", "`file` that keeps what is done")
	f.IntVar(&c.measure, "measure", 0, "objects of the picture left out that measure, drawn once; 0: all")
	f.IntVar(&c.synthetic, "synthetic", 2, "synthetic slides for forgetting; 0: none")
	f.IntVar(&c.m.Clicks, "clicks", 12, "clicks at most; 0: none are counted")
	f.IntVar(&c.m.ClickObjects, "click-objects", 40, "objects that are clicked at; 0: all")
	f.IntVar(&c.o.Steps, "steps", 40, "steps at most")
	f.IntVar(&c.o.Objects, "objects", 8, "objects of a step")
	f.IntVar(&c.o.Corrections, "corrections", 2, "corrections after the first prompt; -1: none")
	f.IntVar(&c.o.Turns, "turns", 4, "ways in which each picture is turned and mirrored, 1 to 8")
	f.IntVar(&c.o.Every, "every", 10, "steps between measurements on objects held back")
	f.IntVar(&c.o.Patience, "patience", 5, "measurements without a gain after which to stop; -1: never")
	f.IntVar(&c.o.LoRA, "lora", 0, "rank of low-rank matrices in the image encoder's last blocks")
	f.Float64Var(&c.o.Rate, "rate", 2e-4, "learning rate")
	f.Float64Var(&c.o.HeldBack, "held-back", 0.2, "share of the learned pictures' objects that choose the weights; -1: none, the last weights count")
	f.StringVar(&c.loss, "loss", "sam", "sam, micro-sam or bce")
	if err := cli.Parse(f, args); err != nil {
		return nil, err
	}
	var err error
	if c.o.Loss, err = cli.Loss(c.loss); err != nil {
		return nil, &cli.UsageError{Err: err}
	}
	for _, s := range strings.Split(*train, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 {
			return nil, cli.Usagef("-train %q: want numbers of pictures, such as 1,3", *train)
		}
		c.train = append(c.train, n)
	}
	switch {
	case f.NArg() > 0:
		return nil, cli.Usagef("%q is not a flag", f.Arg(0))
	case len(c.data) == 0:
		return nil, cli.Usagef("-data is missing: pictures and their masks")
	case c.seeds < 1 || c.measure < 0 || c.synthetic < 0 || c.m.Clicks < 0 || c.m.ClickObjects < 0:
		return nil, cli.Usagef("-seeds want at least 1, -measure, -synthetic, -clicks and -click-objects at least 0")
	}
	c.m.Seed = 1
	return c, nil
}

// same is what figures in one file must have in common.
func (c *config) same(print [16]byte) string {
	return fmt.Sprintf("data %q, model %x, %d of each picture and %d synthetic slides measure, %+v, %+v", c.data, print, c.measure, c.synthetic, c.m, c.o)
}

// open opens the model to begin with.
func (c *config) open() (*weights.Checkpoint, *sam.Model, error) {
	if c.model == "" {
		ck, err := bundled.Checkpoint()
		if err != nil {
			return nil, nil, err
		}
		m, err := sam.Bundled()
		return ck, m, err
	}
	ck, err := weights.Open(c.model)
	if err != nil {
		return nil, nil, err
	}
	m, err := sam.Load(c.model)
	return ck, m, err
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	c, err := parse(args, progress)
	if err != nil {
		return err
	}
	ck, model, err := c.open()
	if err != nil {
		return err
	}
	defer ck.Close()
	var sets []eval.Dataset
	for _, a := range c.data {
		d, err := cli.OpenPictures(a)
		if err != nil {
			return fmt.Errorf("-data %w", err)
		}
		sets = append(sets, d)
	}
	s := &study{config: c, from: ck, model: model, log: progress}
	if s.all, err = fewshot.Load(ctx, "pictures", sets...); err != nil {
		return err
	}
	for _, n := range c.train {
		if n >= len(s.all.Pictures) {
			return cli.Usagef("-train %d: there are %d pictures, of which one is left out", n, len(s.all.Pictures))
		}
	}
	if s.old, err = fewshot.Load(ctx, "synthetic", fewshot.Synthetic(fewshot.HE, fewshot.FirstSlide+20, c.synthetic)); err != nil {
		return err
	}
	if err := s.open(c.same(model.Fingerprint())); err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	return s.table(out)
}

// file is what is kept.
type file struct {
	Same    string
	Records []record
}

// open reads what is done.
func (s *study) open(same string) error {
	s.done.Same = same
	b, err := os.ReadFile(s.file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var f file
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("%s is not what a study keeps: %w", s.file, err)
	}
	if f.Same != same {
		return fmt.Errorf("%s holds another study, give another -out:\n%s\nthis one is\n%s", s.file, f.Same, same)
	}
	s.done = f
	return nil
}
