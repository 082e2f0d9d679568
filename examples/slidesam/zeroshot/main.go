// Package zeroshot is the command that runs the zero-shot evaluation of Deng et al. (arXiv
// 2304.04155) and prints the paper's table: tumour, tissue and nuclei against
// one point, 20 points, a point for every object and a box for every object.
//
//	go run ./examples/slidesam zeroshot
//	go run ./examples/slidesam zeroshot -model sam_vit_h_4b8939.pth -data monuseg=MoNuSegTestData -out results
package zeroshot

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/dataset"
	"github.com/slidesam/sam/eval/report"
	"github.com/slidesam/sam/internal/cli"
)

// config is what the flags say.
type config struct {
	model, out, metric string
	data               []string
	seed               uint64
	joint, quiet       bool
	erode, clicks      int
	limit, workers     int
	pictures           int
	magnifications     []float64
	empty              eval.Empty
	choice             string
	local, mirror      bool
	precision          sam.Precision
	maxPixels          int64
}

// Command is zeroshot.
func Command() cli.Command {
	return cli.Command{
		Name: "zeroshot", Usage: "the zero-shot evaluation of arXiv 2304.04155 on your data or on synthetic slides",
		Flags: func() *flag.FlagSet { return new(config).flags() },
		Run: func(ctx context.Context, args []string, stdio cli.IO) error {
			return run(ctx, args, stdio.Stdout, stdio.Stderr)
		},
	}
}

func (c *config) flags() *flag.FlagSet {
	f := flag.NewFlagSet("zeroshot", flag.ContinueOnError)
	f.StringVar(&c.model, "model", "", "checkpoint file (.pth, .safetensors, .npz)")
	f.Func("data", dataHelp, func(s string) error { c.data = append(c.data, s); return nil })
	f.StringVar(&c.out, "out", "", "folder for table, CSV, JSON, plots and gallery; a run that was stopped goes on from there")
	f.Uint64Var(&c.seed, "seed", 1, "seed of the simulated prompts and of the bootstrap")
	f.BoolVar(&c.joint, "joint", false, "put all points of a picture to the model as one prompt, instead of one mask per point and their union")
	f.IntVar(&c.erode, "erode", 2, "pixels by which an object is eroded before a point is drawn from it")
	f.IntVar(&c.clicks, "clicks", 0, "also correct every object with this many clicks")
	f.IntVar(&c.limit, "limit", 0, "pictures of each data set, 0 for all")
	f.IntVar(&c.pictures, "pictures", 4, "synthetic pictures of each task")
	f.IntVar(&c.workers, "workers", 1, "pictures in work at once")
	f.StringVar(&c.metric, "metric", "dice", "what the table shows")
	f.StringVar(&c.choice, "masks", "auto", "which of a prompt's masks counts: auto, predicted, single, oracle")
	f.BoolVar(&c.local, "local", false, "keep of each mask what lies in its box, and the pieces that its foreground points are on; the paper's masks are whole")
	f.BoolVar(&c.mirror, "mirror", false, "show the model each picture turned over as well, four views in all, and take the mean; four times the time")
	f.TextVar(&c.precision, "precision", sam.FP32, "multiply in `precision`: fp32; int8, which is faster; or fp16weights, in half the memory")
	f.Int64Var(&c.maxPixels, "max-pixels", 0, "most pixels of a picture or mask that is read; 0: 134 million")
	f.BoolVar(&c.quiet, "quiet", false, "draw no progress bar")
	f.Func("magnifications", "magnifications at which each picture is shown, with commas, such as 5,10,40 (default: as it is)", func(s string) error {
		for _, part := range strings.Split(s, ",") {
			v, err := strconv.ParseFloat(part, 64)
			if err != nil || !(v > 0) {
				return fmt.Errorf("%q is no magnification", part)
			}
			c.magnifications = append(c.magnifications, eval.MagnificationMPP(v))
		}
		return nil
	})
	f.Func("empty", "the score of a picture with neither truth nor prediction: nan (left out), one, zero", func(s string) (err error) {
		c.empty, err = eval.ParseEmpty(s)
		return err
	})
	return f
}

func parse(args []string, help io.Writer) (config, error) {
	var c config
	f := c.flags()
	f.SetOutput(help)
	f.Usage = func() {
		fmt.Fprint(help, "usage: zeroshot [flags]\n\nWithout -data: the synthetic sets. Without -model: the bundled model.\n\nflags:\n")
		f.PrintDefaults()
		fmt.Fprint(help, "\n"+layouts)
	}
	if err := cli.Parse(f, args); err != nil {
		return c, err
	}
	if f.NArg() > 0 {
		return c, cli.Usagef("%q is not a flag", f.Arg(0))
	}
	if c.pictures < 1 || c.limit < 0 || c.erode < 0 || c.clicks < 0 {
		return c, cli.Usagef("-pictures must be at least 1; -limit, -erode and -clicks at least 0")
	}
	if _, err := eval.MetricNamed(c.metric); err != nil {
		return c, cli.Usagef("-metric: %w", err)
	}
	switch eval.Choice(c.choice) {
	case eval.ChooseAuto, eval.ChoosePredicted, eval.ChooseSingle, eval.ChooseOracle:
	default:
		return c, cli.Usagef("-masks %q, want auto, predicted, single or oracle", c.choice)
	}
	for _, d := range c.data {
		if err := checkData(d); err != nil {
			return c, err
		}
	}
	return c, nil
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	c, err := parse(args, progress)
	if err != nil {
		return err
	}
	begin := time.Now()
	m, name, err := c.load()
	if err != nil {
		return err
	}
	dataset.SetMaxPixels(c.maxPixels)
	sets, err := c.sets()
	if err != nil {
		return err
	}
	var sources []report.Source
	for _, d := range sets {
		r, err := eval.Run(ctx, m, d, c.options(d, progress))
		if err != nil {
			return err
		}
		sources = append(sources, report.Source{Results: r, Data: d, Model: m, Embeddings: c.embeddings()})
	}
	o := report.Options{Metric: c.metric, Empty: c.empty, Bootstrap: eval.Bootstrap{Seed: c.seed}, Model: name}
	if err := c.print(out, sources, o); err != nil {
		return err
	}
	if c.out != "" {
		if !c.quiet {
			var bar *progressbar.ProgressBar
			o.Progress = func(done, total int) {
				if bar == nil {
					bar = newBar(progress, total, "gallery")
				}
				_ = bar.Set(done)
			}
		}
		names, err := report.Save(ctx, c.out, sources, o)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%d files in %s; open %s\n", len(names), c.out, filepath.Join(c.out, names[len(names)-1]))
	}
	fmt.Fprintf(progress, "%.1f s\n", time.Since(begin).Seconds())
	return nil
}

func (c config) load() (m *sam.Model, name string, err error) {
	if c.model == "" {
		m, err = sam.Bundled()
		name = "bundled"
	} else {
		m, err = sam.Load(c.model)
		name = strings.TrimSuffix(filepath.Base(c.model), filepath.Ext(c.model))
	}
	if err != nil {
		return nil, "", err
	}
	if c.precision != sam.FP32 {
		if m, err = m.On(sam.CPU, c.precision); err != nil {
			return nil, "", err
		}
		name += ", " + c.precision.String()
	}
	if !c.mirror {
		return m, name, nil
	}
	return m.Mirrored(), name + ", mirrored", nil
}

func (c config) sets() ([]eval.Dataset, error) {
	var out []eval.Dataset
	if len(c.data) == 0 {
		for _, s := range syntheticSets(c.pictures) {
			out = append(out, s)
		}
	}
	for _, arg := range c.data {
		d, err := openData(arg)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	if c.limit > 0 {
		for i, d := range out {
			out[i] = firstOf{d, c.limit}
		}
	}
	return out, nil
}

func (c config) embeddings() string {
	if c.out == "" {
		return ""
	}
	return filepath.Join(c.out, "embeddings")
}

func (c config) options(d eval.Dataset, progress io.Writer) eval.Options {
	o := eval.Options{
		Settings: eval.PaperSettings(c.joint, c.erode), Seed: c.seed, MPP: c.magnifications, Workers: c.workers, Choice: eval.Choice(c.choice), Local: c.local,
	}
	if c.clicks > 0 {
		o.Settings = append(o.Settings, eval.Setting{Name: fmt.Sprintf("%d clicks", c.clicks), Prompting: eval.PromptClicks, Clicks: c.clicks})
	}
	if c.out != "" {
		o.Dir = filepath.Join(c.out, "run", strings.ReplaceAll(d.Name(), " ", "_"))
		o.Embeddings = c.embeddings()
	}
	if !c.quiet {
		bar := newBar(progress, d.Len(), d.Name())
		o.Progress = func(p eval.Progress) { _ = bar.Set(p.Done) }
	}
	return o
}

func newBar(w io.Writer, total int, what string) *progressbar.ProgressBar {
	return progressbar.NewOptions(total, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionOnCompletion(func() { fmt.Fprintln(w) }))
}

func (c config) print(out io.Writer, sources []report.Source, o report.Options) error {
	var results []*eval.Results
	for _, s := range sources {
		results = append(results, s.Results)
	}
	t, err := report.NewTable(results, o)
	if err != nil {
		return err
	}
	return t.WriteText(out)
}
