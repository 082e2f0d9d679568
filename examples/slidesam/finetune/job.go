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
		draw := fewshot.Synthetic
		if j.train == trainInstances { // what a slide is searched in
			draw = func(s fewshot.Stain, first uint64, n int) eval.Dataset {
				return fewshot.SyntheticFields(s, first, n, fieldSide)
			}
		}
		learn = append(learn, draw(fewshot.Fluorescence, fewshot.FirstSlide, 3))
		test = append(test, draw(fewshot.Fluorescence, fewshot.FirstSlide+10, 2))
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
	o := dataset.SlideOptions{QuPathOptions: dataset.QuPathOptions{MPP: j.mpp, Classes: j.classes, Nucleus: j.nucleus}, Regions: j.region}
	if o.MPP == 0 && j.was != nil {
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

// options are those of the fine-tuning, with the folder's state.
func (j *job) options(progress func(sam.FineTuneProgress)) (sam.FineTuneOptions, error) {
	o := j.o
	o.State, o.Progress = j.file(stateFile), progress
	if err := os.MkdirAll(j.out, 0o777); err != nil {
		return o, err
	}
	if j.restart {
		if err := os.Remove(o.State); err != nil && !errors.Is(err, os.ErrNotExist) {
			return o, err
		}
	}
	return o, nil
}

// save writes what was best until a fine-tuning ended, if there is any, and
// returns the error that it ended with.
func (j *job) save(ctx context.Context, failed error, any bool, name string, best func() (*weights.Checkpoint, error)) error {
	if errors.Is(failed, sam.ErrTrainingState) {
		failed = fmt.Errorf("%w; give another -out, or -restart to throw that state away", failed)
	}
	if !any {
		return failed
	}
	saved, err := best()
	if err == nil {
		err = saved.Save(context.WithoutCancel(ctx), j.file(name), weights.ConvertOptions{})
	}
	if failed != nil && err == nil {
		return fmt.Errorf("%w (the best weights until then are in %s)", failed, j.file(name))
	}
	return errors.Join(failed, err)
}

// tune fine-tunes and writes the checkpoint, also after an error: the best
// weights until then are worth keeping.
func (j *job) tune(ctx context.Context, progress func(sam.FineTuneProgress)) error {
	o, err := j.options(progress)
	if err != nil {
		return err
	}
	var failed error
	j.tuned, failed = sam.FineTune(ctx, j.from, j.fields, o)
	best := func() (*weights.Checkpoint, error) { return j.tuned.Checkpoint() }
	if j.adapter {
		best = func() (*weights.Checkpoint, error) { return j.tuned.Adapted() }
	}
	return j.save(ctx, failed, j.tuned != nil, modelFile, best)
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
	r.Tuned = j.tuned
	r.Notes = j.notes(tests, r.Before == r.After, "The objects held back lie on the fields that were learned from, and chose the weights: their figures flatter. Other slides in -test say more.")
	return nil
}

// notes are what a reader must know before the figures.
func (j *job) notes(tests *fewshot.Set, same bool, flatter string) (out []string) {
	if same {
		out = append(out, "The weights are those that it began with: on the objects held back nothing measured better.")
	}
	switch {
	case len(tests.Pictures) == 0:
		out = append(out, "Nothing was held back and no -test given: that the model became better is not shown.")
	case j.tests == nil:
		out = append(out, flatter)
	}
	return out
}

// report writes the page.
func (j *job) report(ctx context.Context, took time.Duration) error {
	r := &j.page
	r.Command, r.Took = j.command, took
	r.Fields, r.Objects = len(j.fields), j.learn.Objects()
	return r.WriteFile(ctx, j.file(reportFile))
}
