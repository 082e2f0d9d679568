// Command finetune shows how a program teaches a model the objects of a few
// annotated fields: nuclei in a stain that the bundled model has never seen. It
// measures on other slides, and on the stain that the model knew.
//
//	go run ./examples/finetune
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval/fewshot"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	o := sam.FineTuneOptions{Steps: 40, Objects: 6, Turns: 4, Rate: 2e-4, Seed: 1}
	if err := run(ctx, 3, 2, o, "tuned.safetensors", os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// run learns from some fields, saves the model and measures it on others.
func run(ctx context.Context, learn, test int, o sam.FineTuneOptions, path string, out io.Writer) error {
	// Pictures with the outlines of their objects; package eval/dataset reads yours.
	set, err := fewshot.Load(ctx, "fields", fewshot.Synthetic(fewshot.Fluorescence, fewshot.FirstSlide, learn))
	if err != nil {
		return err
	}
	fields, err := set.Fields()
	if err != nil {
		return err
	}

	// The model to begin with; weights.Open opens a file.
	ck, err := bundled.Checkpoint()
	if err != nil {
		return err
	}
	defer ck.Close()
	before, err := sam.Bundled()
	if err != nil {
		return err
	}

	// Minutes on a laptop: with a State file a program that is stopped goes on.
	o.Progress = func(p sam.FineTuneProgress) {
		fmt.Fprintf(out, "\r%d of %d pictures embedded, step %d of %d", p.Embedded, p.Embeddings, p.Step, p.Steps)
	}
	tuned, err := sam.FineTune(ctx, ck, fields, o)
	if err != nil {
		return err
	}
	fmt.Fprintln(out)
	saved, err := tuned.Checkpoint()
	if err != nil {
		return err
	}
	if err := saved.Save(ctx, path, weights.ConvertOptions{}); err != nil {
		return err
	}

	// Has it learned anything, and what has it forgotten?
	after, err := sam.Load(path)
	if err != nil {
		return err
	}
	for _, stain := range []fewshot.Stain{fewshot.Fluorescence, fewshot.HE} {
		d, err := fewshot.Load(ctx, string(stain), fewshot.Synthetic(stain, fewshot.FirstSlide+10, test))
		if err != nil {
			return err
		}
		a, err := fewshot.Measure(ctx, before, d, fewshot.Options{})
		if err != nil {
			return err
		}
		b, err := fewshot.Measure(ctx, after, d, fewshot.Options{})
		if err != nil {
			return err
		}
		changes, err := fewshot.Compare(a, b, 1)
		if err != nil {
			return err
		}
		if err = fewshot.WriteTable(out, changes); err != nil {
			return err
		}
	}
	return nil
}
