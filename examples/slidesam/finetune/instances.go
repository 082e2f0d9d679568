package finetune

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval/fewshot"
	"github.com/slidesam/sam/weights"
)

// What can learn.
const (
	trainPrompts   = "prompts"
	trainInstances = "instances"
)

// instances are the flags' defaults for an instance decoder: a step is of whole
// fields, and there are no prompts.
func (c *config) instances(f *flag.FlagSet) error {
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	switch c.train {
	case trainInstances:
	case trainPrompts:
		for _, name := range []string{"decoder", "region", "crop"} {
			if given[name] {
				return fmt.Errorf("-%s goes with -train instances", name)
			}
		}
		c.o.Crop = 0
		return nil
	default:
		return fmt.Errorf("-train %q: want %s or %s", c.train, trainPrompts, trainInstances)
	}
	for _, name := range []string{"loss", "corrections", "lora", "lora-blocks", "adapter", "clicks"} {
		if given[name] {
			return fmt.Errorf("-%s is of prompts: it does not go with -train instances", name)
		}
	}
	switch {
	case c.o.Crop < 1:
		return fmt.Errorf("-crop %d, want pixels", c.o.Crop)
	case c.slide != "" && c.region == "":
		return errors.New("-train instances takes what is not annotated for background: outline in QuPath where every object is annotated, give these outlines a class of their own, such as Region, and name it, -region Region")
	case c.slide == "" && c.region != "":
		return errors.New("-region goes with -slide; on pictures of -data everything must be annotated")
	case c.region != "" && slices.Contains(c.classes, c.region):
		return fmt.Errorf("-classes and -region both have %q: is it of objects, or of areas", c.region)
	}
	c.o.Corrections = 0
	for name, set := range map[string]func(){
		"objects": func() { c.o.Objects = 2 }, "steps": func() { c.o.Steps = 100 }, "rate": func() { c.o.Rate = 5e-4 },
	} {
		if !given[name] {
			set()
		}
	}
	return nil
}

// decoderJob is the fine-tuning of an instance decoder, and what it gave.
type decoderJob struct {
	job
	model *sam.InstanceModel
	tuned *sam.InstanceTuned
}

// decoderFile is the decoder's file in the folder; its model's stays what it is.
const decoderFile = "decoder.safetensors"

func runInstances(ctx context.Context, c config, out, stderr io.Writer, took func() time.Duration) error {
	j := decoderJob{job: job{config: c}}
	if err := j.open(); err != nil {
		return err
	}
	if err := j.read(ctx); err != nil {
		return err
	}
	if err := j.tune(ctx, progress(stderr, c.quiet)); err != nil {
		if ctx.Err() != nil && j.tuned != nil {
			fmt.Fprintf(stderr, "finetune: the best decoder so far is in %s; the same command goes on\n", j.file(decoderFile))
		}
		return err
	}
	return j.finish(ctx, out, took)
}

// open loads the model to begin with.
func (j *decoderJob) open() (err error) {
	switch {
	case j.decoder != "":
		j.model, err = sam.LoadInstances(j.config.model, j.decoder)
	case j.config.model == "":
		j.model, err = sam.BundledInstances()
	default:
		j.model, err = sam.LoadInstances(j.config.model)
	}
	if err != nil {
		return err
	}
	if n := j.model.Maps(); n != 3 {
		return fmt.Errorf("a decoder of %d classes: want one of instances", n)
	}
	if j.model, err = j.model.On(j.o.Device, sam.FP32); err != nil {
		return err
	}
	if j.was, err = j.model.Model(); errors.Is(err, sam.ErrNoPrompts) {
		j.was, err = nil, nil // an encoder alone works at the slide's own scale
	}
	return err
}

// tune fine-tunes and writes the decoder, also after an error: the best weights
// until then are worth keeping.
func (j *decoderJob) tune(ctx context.Context, progress func(sam.FineTuneProgress)) error {
	o, err := j.options(progress)
	if err != nil {
		return err
	}
	var failed error
	j.tuned, failed = j.model.FineTune(ctx, j.fields, o)
	return j.save(ctx, failed, j.tuned != nil, decoderFile, func() (*weights.Checkpoint, error) { return j.tuned.Checkpoint(), nil })
}

// finish measures both decoders, and writes and prints the report.
func (j *decoderJob) finish(ctx context.Context, out io.Writer, took func() time.Duration) error {
	fresh, err := j.tuned.Model()
	if err != nil {
		return err
	}
	r := &j.page
	r.Decoder, r.Before, r.After = j.tuned, j.model.Fingerprint(), fresh.Fingerprint()
	tests := j.tests
	if tests == nil {
		tests = j.learn.At("held back", j.tuned.HeldBack)
	}
	sets := []*fewshot.Set{tests}
	if j.known {
		known, err := fewshot.Load(ctx, "synthetic H&E", fewshot.SyntheticFields(fewshot.HE, fewshot.FirstSlide+20, 2, fieldSide))
		if err != nil {
			return err
		}
		sets = append(sets, known)
	}
	for _, d := range sets {
		if len(d.Pictures) == 0 {
			continue
		}
		before, err := fewshot.Find(ctx, j.model, d)
		if err != nil {
			return err
		}
		after, err := fewshot.Find(ctx, fresh, d)
		if err != nil {
			return err
		}
		change, err := fewshot.CompareFound(before, after, j.o.Seed)
		if err != nil {
			return err
		}
		r.Found = append(r.Found, change)
		if d == tests {
			if r.Shows, err = fewshot.FoundGallery(d, before, after, 3); err != nil {
				return err
			}
		}
	}
	r.Notes = append(j.notes(tests, j.same(), "The fields held back chose the weights: their figures flatter. Other slides in -test say more."), j.scales()...)
	if err := j.report(ctx, took()); err != nil {
		return err
	}
	return j.print(out, decoderFile)
}

// same reports whether no measurement was better than the first. The file has
// other tensors beside the weights, so that fingerprints do not tell.
func (j *decoderJob) same() bool {
	for _, s := range j.tuned.Scores {
		if s.PQ > j.tuned.Scores[0].PQ {
			return false
		}
	}
	return len(j.tuned.Scores) > 0
}

// scales says which fields the network sees at another scale than that at which
// slides are searched.
func (j *decoderJob) scales() (out []string) {
	side := 0
	for _, p := range j.learn.Pictures {
		if long := max(p.Truth.H, p.Truth.W); side == 0 || long < side {
			side = long
		}
	}
	if 4*side < 3*fieldSide {
		out = append(out, fmt.Sprintf("Fields of %d pixels are enlarged for the network: the decoder learned objects %.1f times as large as it sees on slides, which are searched in tiles of %d pixels. Learn from fields of that size.", side, float64(fieldSide)/float64(side), fieldSide))
	}
	return out
}

// fieldSide is the side of the fields that are laid on slides.
const fieldSide = 1024
