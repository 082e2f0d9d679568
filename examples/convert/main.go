// Command convert turns a Segment Anything checkpoint of any format and layout
// into .safetensors, .npz or a plain .pth.
//
//	go run ./examples/convert sam_vit_b_01ec64.pth sam_vit_b.safetensors
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/slidesam/sam/weights"
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
		fmt.Fprintln(os.Stderr, "convert:", err)
		os.Exit(1)
	}
}

// run converts as args say, reports on out and draws its progress on progress.
func run(ctx context.Context, args []string, out, progress io.Writer) error {
	flags := flag.NewFlagSet("convert", flag.ContinueOnError)
	flags.SetOutput(progress)
	flags.Usage = func() {
		fmt.Fprintln(progress, "usage: convert [flags] FROM TO\n\nTO ends in .safetensors, .npz, .pth or .pt.\n\nflags:")
		flags.PrintDefaults()
	}
	half := flags.Bool("float16", false, "round the weights to float16: half the size")
	quiet := flags.Bool("quiet", false, "draw no progress bar")
	if err := flags.Parse(args); err != nil {
		return flag.ErrHelp
	}
	if flags.NArg() != 2 {
		flags.Usage()
		return flag.ErrHelp
	}
	src, dst := flags.Arg(0), flags.Arg(1)

	o := weights.ConvertOptions{}
	if *half {
		o.DType = weights.Float16
	}
	if !*quiet {
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
	if err := weights.Convert(ctx, src, dst, o); err != nil {
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
