// Package convert is the command that turns a Segment Anything checkpoint of any format and layout
// into .safetensors, .npz or a plain .pth.
//
//	go run ./examples/slidesam convert sam_vit_b_01ec64.pth sam_vit_b.safetensors
package convert

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/weights"
)

// Command is convert.
func Command() cli.Command {
	return cli.Command{
		Name: "convert", Usage: "any checkpoint to .safetensors, .npz or .pth", Args: "FROM TO",
		Flags: func() *flag.FlagSet { return new(job).flags() },
		Run: func(ctx context.Context, args []string, stdio cli.IO) error {
			return run(ctx, args, stdio.Stdout, stdio.Stderr)
		},
	}
}

// job is what the flags ask for.
type job struct {
	half, quiet bool
	adapters    string
	side        int
}

func (j *job) flags() *flag.FlagSet {
	fs := flag.NewFlagSet("convert", flag.ContinueOnError)
	fs.BoolVar(&j.half, "float16", false, "round the weights to float16: half the size")
	fs.BoolVar(&j.quiet, "quiet", false, "draw no progress bar")
	fs.StringVar(&j.adapters, "adapters", "", "`file` of CellSeg1's adapters to merge into FROM, the SAM that was adapted")
	fs.IntVar(&j.side, "side", 512, "with -adapters, side of the pictures that the model is to see, in `pixels`")
	return fs
}

// convert writes the checkpoint, with the adapters merged.
func (j *job) convert(ctx context.Context, src, dst string, o weights.ConvertOptions) error {
	if j.adapters == "" {
		return weights.Convert(ctx, src, dst, o)
	}
	base, err := weights.Open(src)
	if err != nil {
		return err
	}
	defer base.Close()
	c, err := weights.OpenCellSeg1(base, j.adapters, j.side)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Save(ctx, dst, o)
}

// run converts as args say, reports on out and draws its progress on progress.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	var j job
	flags := j.flags()
	flags.SetOutput(progress)
	flags.Usage = func() {
		fmt.Fprintln(progress, "usage: convert [flags] FROM TO\n\nTO ends in .safetensors, .npz, .pth or .pt.\n\nflags:")
		flags.PrintDefaults()
	}
	if err := cli.Parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() != 2 {
		flags.Usage()
		return cli.Usagef("%d files, want FROM and TO", flags.NArg())
	}
	src, dst := flags.Arg(0), flags.Arg(1)

	o := weights.ConvertOptions{}
	if j.half {
		o.DType = weights.Float16
	}
	if !j.quiet {
		bar := progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(progress),
			progressbar.OptionSetDescription("converting"),
			progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish())
		o.Progress = func(done, total int64) {
			bar.ChangeMax64(total)
			_ = bar.Set64(done) // a terminal that is gone is no reason to stop
		}
		defer func() { _ = bar.Finish() }()
	}
	for _, from := range []string{src, j.adapters} {
		if a, err := os.Stat(from); err == nil {
			if b, err := os.Stat(dst); err == nil && os.SameFile(a, b) {
				return cli.Usagef("%s and %s are one file: give the new one another name", from, dst)
			}
		}
	}
	if err := j.convert(ctx, src, dst, o); err != nil {
		return err
	}
	return report(dst, out)
}

// report reads the new file and says what is in it.
func report(path string, out io.Writer) error {
	c, err := weights.Open(path)
	if err != nil {
		return err
	}
	defer c.Close()
	values := 0
	for _, name := range c.Names() {
		t, err := c.Tensor(name)
		if err != nil {
			return err
		}
		values += t.Len()
	}
	sum, err := c.Fingerprint()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "%s: %d tensors, %d values, fingerprint %x\n", path, len(c.Names()), values, sum)
	return err
}
