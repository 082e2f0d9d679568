package finetune

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/cli"
)

// config is what the flags say.
type config struct {
	model, out         string
	train, decoder     string
	region             string
	slide, annotations string
	mpp                float64
	classes            []string
	nucleus            bool
	data, test         []string
	restart, quiet     bool
	adapter, known     bool
	clicks             int
	loss               string
	o                  sam.FineTuneOptions
	command            string
}

func (c *config) flags() *flag.FlagSet {
	f := flag.NewFlagSet("finetune", flag.ContinueOnError)
	f.StringVar(&c.model, "model", "", "checkpoint `file` to begin with; default: the bundled model")
	f.StringVar(&c.train, "train", trainPrompts, "what learns: prompts (points and boxes), or instances (the decoder that finds all objects without a prompt)")
	f.StringVar(&c.decoder, "decoder", "", "for -train instances: the model's instance decoder, if it is a `file` of its own; default: the bundled model's, or that in -model")
	f.StringVar(&c.region, "region", "", "for -train instances: QuPath's `class` of annotations that outline where every object is annotated; the rest of a field does not count")
	f.IntVar(&c.o.Crop, "crop", 512, "for -train instances: pixels of the network's input that a step sees of a field along a side; 1024 or more: all")
	f.StringVar(&c.o.Device, "device", sam.Auto, "embed and measure on `device`: cpu, cuda:0, cuda:1, ..., or auto, a GPU if there is one; steps run on the processor")
	f.StringVar(&c.slide, "slide", "", "slide `file` that -annotations belong to")
	f.StringVar(&c.annotations, "annotations", "", "QuPath's GeoJSON `file` of the slide")
	f.Float64Var(&c.mpp, "mpp", 0, "micrometres per pixel at which fields of the slide are read; 0: those at which the model works on it")
	f.Func("classes", "QuPath's `classes` to learn from, with commas; default: all", func(s string) error {
		for _, part := range strings.Split(s, ",") {
			c.classes = append(c.classes, strings.TrimSpace(part))
		}
		return nil
	})
	f.BoolVar(&c.nucleus, "nucleus", false, "learn the nuclei of QuPath's cells instead of the cells")
	f.Func("data", "annotated pictures, "+cli.DataHelp, func(s string) error { c.data = append(c.data, s); return nil })
	f.Func("test", "pictures that only measure, as -data; default: the objects held back", func(s string) error { c.test = append(c.test, s); return nil })
	f.StringVar(&c.out, "out", "finetuned", "`folder` for the checkpoint, the report and the state; a run that was stopped goes on from there")
	f.BoolVar(&c.restart, "restart", false, "throw away the state in the folder")
	f.BoolVar(&c.adapter, "adapter", false, "keep the low-rank matrices of -lora apart in the checkpoint, as micro-sam does; merged into the weights otherwise")
	f.BoolVar(&c.known, "known", true, "measure on synthetic H&E as well, to see what is forgotten")
	f.IntVar(&c.clicks, "clicks", 0, "also count the clicks that correct each object to an IoU of 0.90, at most this many")
	f.BoolVar(&c.quiet, "quiet", false, "print no progress")
	f.IntVar(&c.o.Steps, "steps", 40, "steps at most; for -train instances default 100")
	f.IntVar(&c.o.Objects, "objects", 6, "objects of a step; for -train instances fields, default 2")
	f.IntVar(&c.o.Corrections, "corrections", 2, "corrections after the first prompt")
	f.IntVar(&c.o.Turns, "turns", 4, "ways in which each picture is turned and mirrored, 1 to 8")
	f.IntVar(&c.o.Every, "every", 10, "steps between measurements on the objects held back; at each the state is kept")
	f.IntVar(&c.o.Patience, "patience", 5, "measurements without a gain after which to stop; 0: never")
	f.IntVar(&c.o.LoRA, "lora", 0, "rank of low-rank matrices in the image encoder's last blocks; 0: the encoder stays as it is")
	f.IntVar(&c.o.LoRABlocks, "lora-blocks", 3, "blocks that have them")
	f.Float64Var(&c.o.Rate, "rate", 2e-4, "learning rate; for -train instances default 5e-4")
	f.Float64Var(&c.o.HeldBack, "held-back", 0.2, "share of the objects that only measure, for -train instances of the fields, at least one of two; 0: none, and the last weights count")
	f.StringVar(&c.loss, "loss", "sam", "sam (focal 20, dice 1, IoU 1), micro-sam (squared dice, IoU) or bce")
	f.Uint64Var(&c.o.Seed, "seed", 1, "seed of the prompts, of what is held back and of the intervals")
	return f
}

func parse(args []string, help io.Writer) (config, error) {
	c := config{command: cli.Line("slidesam", append([]string{"finetune"}, args...)...)}
	f := c.flags()
	f.SetOutput(help)
	f.Usage = func() {
		fmt.Fprint(help, "usage: finetune [flags]\n\nWithout -data and -slide: synthetic nuclei in another stain. Without -model: the bundled model.\n\nflags:\n")
		f.PrintDefaults()
	}
	if err := cli.Parse(f, args); err != nil {
		return c, err
	}
	if err := c.check(f); err != nil {
		return c, &cli.UsageError{Err: err}
	}
	// In the library zero means the default, and less means none.
	if c.o.Patience == 0 {
		c.o.Patience = -1
	}
	if c.o.Corrections == 0 && c.train == trainPrompts {
		c.o.Corrections = -1
	}
	if c.o.HeldBack == 0 {
		c.o.HeldBack = -1
	}
	return c, nil
}

// check says what is wrong with the flags.
func (c *config) check(f *flag.FlagSet) error {
	if f.NArg() > 0 {
		return fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	if err := c.instances(f); err != nil {
		return err
	}
	var err error
	if c.o.Loss, err = cli.Loss(c.loss); err != nil {
		return err
	}
	for _, n := range []struct {
		name       string
		value, min int
	}{
		{"steps", c.o.Steps, 1}, {"objects", c.o.Objects, 1}, {"every", c.o.Every, 1}, {"turns", c.o.Turns, 1}, {"lora-blocks", c.o.LoRABlocks, 1},
		{"corrections", c.o.Corrections, 0}, {"patience", c.o.Patience, 0}, {"lora", c.o.LoRA, 0}, {"clicks", c.clicks, 0},
	} {
		if n.value < n.min {
			return fmt.Errorf("-%s %d, want %d or more", n.name, n.value, n.min)
		}
	}
	switch {
	case c.o.Turns > 8:
		return fmt.Errorf("-turns %d, want 1 to 8", c.o.Turns)
	case !(c.o.Rate > 0) || math.IsInf(c.o.Rate, 0):
		return fmt.Errorf("-rate %g, want more than 0", c.o.Rate)
	case !(c.o.HeldBack >= 0 && c.o.HeldBack < 1):
		return fmt.Errorf("-held-back %g, want 0 or more and less than 1", c.o.HeldBack)
	case !(c.mpp >= 0) || math.IsInf(c.mpp, 0):
		return fmt.Errorf("-mpp %g, want micrometres per pixel", c.mpp)
	case (c.slide == "") != (c.annotations == ""):
		return errors.New("-slide and -annotations go together")
	case c.slide == "" && (c.mpp != 0 || c.classes != nil || c.nucleus):
		return errors.New("-mpp, -classes and -nucleus go with -slide; pictures have their scale in -data")
	case c.adapter && c.o.LoRA == 0:
		return errors.New("-adapter keeps the matrices of -lora apart: give their rank, such as -lora 4")
	case c.out == "":
		return errors.New("-out: want a folder")
	}
	return nil
}
