// Package benchmark is the command that measures a model's speed and memory on this machine.
package benchmark

import (
	"context"
	"encoding/json"
	"flag"
	"image"
	"io"
	"runtime"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/weights/bundled"
)

type options struct {
	model, random, picture, json string
	precision                    sam.Precision
	runs, side                   int
	prompts, everything, scaling bool
	pass, iou, stability         float64
}

// Command is benchmark.
func Command() cli.Command {
	return cli.Command{
		Name: "benchmark", Usage: "speed and memory on this machine",
		Flags: func() *flag.FlagSet { return new(options).flags() },
		Run:   func(ctx context.Context, args []string, stdio cli.IO) error { return run(ctx, args, stdio.Stdout) },
	}
}

func (o *options) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("benchmark", flag.ContinueOnError)
	fs.StringVar(&o.model, "model", "", "checkpoint `file`; default: the bundled model")
	fs.StringVar(&o.random, "random", "", "counter-based weights in the shape `vit_b`, vit_l or vit_h")
	fs.StringVar(&o.picture, "picture", "", "PNG or JPEG `file`; default: the bundled picture")
	fs.StringVar(&o.json, "json", "", "`file` for the figures as JSON")
	fs.TextVar(&o.precision, "precision", sam.FP32, "compute in `precision`: fp32, int8 or fp16weights")
	fs.IntVar(&o.runs, "runs", 5, "measured runs of each")
	fs.BoolVar(&o.prompts, "prompts", true, "measure one point and 64 points")
	fs.BoolVar(&o.scaling, "scaling", false, "measure encodes on one thread and on all in turn")
	fs.BoolVar(&o.everything, "everything", false, "measure automatic masks from a grid of points, once")
	fs.IntVar(&o.side, "points-per-side", 32, "side of the grid for -everything")
	fs.Float64Var(&o.iou, "pred-iou-thresh", 0.88, "least predicted IoU of automatic masks, 0: all pass")
	fs.Float64Var(&o.stability, "stability-score-thresh", 0.95, "least stability of automatic masks, 0: all pass")
	fs.Float64Var(&o.pass, "pass", 0, "choose both thresholds so that about this share of the masks passes, in (0, 1]")
	return fs
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var o options
	fs := o.flags()
	if err := cli.Parse(fs, args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return cli.Usagef("unknown argument %q: checkpoints are given with -model, pictures with -picture", fs.Arg(0))
	}
	if o.runs < 1 {
		return cli.Usagef("-runs %d: want at least 1", o.runs)
	}
	if !(o.pass >= 0 && o.pass <= 1) {
		return cli.Usagef("-pass %g: want a share in (0, 1]", o.pass)
	}
	if o.side < 1 {
		return cli.Usagef("-points-per-side %d: want at least 1", o.side)
	}
	if o.random != "" && shapes[o.random] == nil {
		return cli.Usagef("-random %q, want vit_b, vit_l or vit_h", o.random)
	}
	if o.scaling && runtime.GOMAXPROCS(0) == 1 {
		return cli.Usagef("-scaling: there is one thread only")
	}
	r, err := o.measure(ctx)
	if err != nil {
		return err
	}
	if err := r.print(stdout); err != nil {
		return err
	}
	if o.json == "" {
		return nil
	}
	return atomicfile.Write(o.json, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(r)
	})
}

func (o options) open() (image.Image, error) {
	if o.picture == "" {
		return bundled.Picture(), nil
	}
	return sam.OpenPicture(o.picture)
}

// shapes are those of -random.
var shapes = map[string]func() sam.Config{"vit_b": sam.ViTB, "vit_l": sam.ViTL, "vit_h": sam.ViTH}

func (o options) load() (m *sam.Model, name string, err error) {
	switch {
	case o.random != "":
		m, err = sam.NewRandom(shapes[o.random](), 1)
		name = o.random + ", counter-based weights"
	case o.model != "":
		m, err = sam.LoadIn(o.model, o.precision)
		name = o.model
	default:
		m, err = sam.Bundled()
		name = "bundled"
	}
	if err != nil || o.precision == sam.FP32 {
		return m, name, err
	}
	m, err = m.On(sam.CPU, o.precision)
	return m, name + ", " + o.precision.String(), err
}
