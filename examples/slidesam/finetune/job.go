package finetune

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/dataset"
	"github.com/slidesam/sam/eval/fewshot"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/weights"
	"github.com/slidesam/sam/weights/bundled"
)

// job is a fine-tuning and what it gave.
type job struct {
	config
	from   *weights.Checkpoint
	was    *sam.Model
	learn  *fewshot.Set
	tests  *fewshot.Set // nil: what was held back
	fields []sam.TrainingField
	tuned  *sam.FineTuned
	page   fewshot.Report
}

// Files of the folder.
const (
	modelFile  = "model.safetensors"
	reportFile = "report.html"
	stateFile  = "state"
)

func (j *job) file(name string) string { return filepath.Join(j.out, name) }

// open opens the model to begin with.
func (j *job) open() (err error) {
	open, load := bundled.Checkpoint, sam.Bundled
	if j.model != "" {
		open = func() (*weights.Checkpoint, error) { return weights.Open(j.model) }
		load = func() (*sam.Model, error) { return sam.Load(j.model) }
	}
	if j.from, err = open(); err != nil {
		return err
	}
	if j.was, err = load(); err == nil {
		j.was, err = j.was.On(j.o.Device, sam.FP32)
	}
	return err
}

// read fills the fields to learn from and what is measured on.
func (j *job) read(ctx context.Context) error {
	open := func(flag string, args []string) (sets []eval.Dataset, err error) {
		for _, a := range args {
			d, err := cli.OpenPictures(a)
			if err != nil {
				return nil, fmt.Errorf("-%s %w", flag, err)
			}
			sets = append(sets, d)
		}
		return sets, nil
	}
	learn, err := open("data", j.data)
	if err != nil {
		return err
	}
	test, err := open("test", j.test)
	if err != nil {
		return err
	}
	if j.slide != "" {
		d, err := j.openSlide()
		if err != nil {
			return err
		}
		learn = append(learn, d)
	}
	if len(learn) == 0 {
		learn = append(learn, fewshot.Synthetic(fewshot.Fluorescence, fewshot.FirstSlide, 3))
		test = append(test, fewshot.Synthetic(fewshot.Fluorescence, fewshot.FirstSlide+10, 2))
	}
	if j.learn, err = fewshot.Load(ctx, "fields", learn...); err != nil {
		return err
	}
	if j.fields, err = j.learn.Fields(); err != nil {
		return err
	}
	if len(test) > 0 {
		j.tests, err = fewshot.Load(ctx, "test", test...)
	}
	return err
}

// openSlide opens what is annotated on the slide, at the scale at which the
// model works on it.
func (j *job) openSlide() (eval.Dataset, error) {
	o := dataset.SlideOptions{QuPathOptions: dataset.QuPathOptions{MPP: j.mpp, Classes: j.classes, Nucleus: j.nucleus}}
	if o.MPP == 0 {
		s, err := sam.OpenSlide(j.slide)
		if err != nil {
			return nil, err
		}
		own, _ := s.MPP()
		o.MPP = j.was.Defaults().Resolution(own)
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	return dataset.QuPathSlide("slide", j.slide, j.annotations, o)
}

// tune fine-tunes and writes the checkpoint, also after an error: the best
// weights until then are worth keeping.
func (j *job) tune(ctx context.Context, progress func(sam.FineTuneProgress)) error {
	if err := os.MkdirAll(j.out, 0o777); err != nil {
		return err
	}
	o := j.o
	o.State, o.Progress = j.file(stateFile), progress
	if j.restart {
		if err := os.Remove(o.State); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	var failed error
	j.tuned, failed = sam.FineTune(ctx, j.from, j.fields, o)
	if errors.Is(failed, sam.ErrTrainingState) {
		failed = fmt.Errorf("%w; give another -out, or -restart to throw that state away", failed)
	}
	if j.tuned == nil {
		return failed
	}
	saved, err := j.tuned.Checkpoint()
	if j.adapter {
		saved, err = j.tuned.Adapted()
	}
	if err == nil {
		err = saved.Save(context.WithoutCancel(ctx), j.file(modelFile), weights.ConvertOptions{})
	}
	if failed != nil && err == nil {
		return fmt.Errorf("%w (the best weights until then are in %s)", failed, j.file(modelFile))
	}
	return errors.Join(failed, err)
}

// measure compares the models on the test pictures and, so that forgetting is
// seen, on synthetic H&E.
func (j *job) measure(ctx context.Context) error {
	fresh, err := j.tuned.Model()
	if err == nil {
		fresh, err = fresh.On(j.o.Device, sam.FP32)
	}
	if err != nil {
		return err
	}
	r := &j.page
	r.Before, r.After = j.was.Fingerprint(), fresh.Fingerprint()
	tests := j.tests
	if tests == nil {
		tests = j.learn.Only("held back", j.tuned.HeldBack)
	}
	sets := []*fewshot.Set{tests}
	if j.known {
		known, err := fewshot.Load(ctx, "synthetic H&E", fewshot.Synthetic(fewshot.HE, fewshot.FirstSlide+20, 2))
		if err != nil {
			return err
		}
		sets = append(sets, known)
	}
	o := fewshot.Options{Seed: j.o.Seed, Clicks: j.clicks}
	for _, d := range sets {
		if len(d.Pictures) == 0 {
			continue
		}
		before, err := fewshot.Measure(ctx, j.was, d, o)
		if err != nil {
			return err
		}
		after, err := fewshot.Measure(ctx, fresh, d, o)
		if err != nil {
			return err
		}
		c, err := fewshot.Compare(before, after, o.Seed)
		if err != nil {
			return err
		}
		r.Changes = append(r.Changes, c...)
		if d == tests {
			if r.Shows, err = fewshot.Gallery(ctx, d, before.Plan, j.was, fresh, 3); err != nil {
				return err
			}
		}
	}
	r.Notes = j.notes(tests)
	return nil
}

// notes are what a reader must know before the figures.
func (j *job) notes(tests *fewshot.Set) (out []string) {
	if j.page.Before == j.page.After {
		out = append(out, "The weights are those that it began with: on the objects held back nothing measured better.")
	}
	switch {
	case len(tests.Pictures) == 0:
		out = append(out, "Nothing was held back and no -test given: that the model became better is not shown.")
	case j.tests == nil:
		out = append(out, "The objects held back lie on the fields that were learned from, and chose the weights: their figures flatter. Other slides in -test say more.")
	}
	return out
}

// report writes the page.
func (j *job) report(ctx context.Context, took time.Duration) error {
	r := &j.page
	r.Command, r.Tuned, r.Took = j.command, j.tuned, took
	r.Fields, r.Objects = len(j.fields), j.learn.Objects()
	return r.WriteFile(ctx, j.file(reportFile))
}
