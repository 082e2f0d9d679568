package main

import (
	"context"
	"fmt"
	"image"
	"slices"
	"time"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/eval"
	"github.com/slidesam/sam/eval/report"
)

// job is a fine-tuning and what it gave.
type job struct {
	config
	learn   *pictures
	tests   *pictures // nil: what was held back
	fields  []sam.TrainingField
	ids     [][]int32 // of each field's objects in its truth
	objects int
	tuned   *sam.FineTuned
	took    time.Duration

	rows   []row
	shows  []show
	prints [2][16]byte // of the models before and after
}

// row compares the two models on one data set with one kind of prompt.
type row struct {
	Data, Prompt          string
	DiceBefore, DiceAfter float64
	Before, After, Gain   eval.Summary // IoU of each object with the mask for its own prompt
}

// show is a picture of the gallery.
type show struct {
	Title         string
	Before, After image.Image
}

// prompts are a point and a box for each object.
func prompts() []eval.Setting {
	all := eval.PaperSettings(false, 2)
	return all[len(all)-2:]
}

// measure compares the models on the test pictures and, so that forgetting is
// seen, on synthetic H&E.
func (j *job) measure(ctx context.Context) error {
	was, err := j.before()
	if err != nil {
		return err
	}
	fresh, err := j.tuned.Model()
	if err != nil {
		return err
	}
	j.prints = [2][16]byte{was.Fingerprint(), fresh.Fingerprint()}
	tests := j.tests
	if tests == nil {
		tests = j.heldBack()
	}
	sets := []*pictures{tests}
	if j.known {
		known, err := load(ctx, "synthetic H&E", []eval.Dataset{old()})
		if err != nil {
			return err
		}
		sets = append(sets, known)
	}
	for _, d := range sets {
		if len(d.list) == 0 {
			continue
		}
		plan, err := j.compare(ctx, d, was, fresh)
		if err != nil {
			return err
		}
		if d == tests {
			if err := j.gallery(ctx, d, plan, was, fresh); err != nil {
				return err
			}
		}
	}
	return nil
}

// before is the model as it was.
func (j *job) before() (*sam.Model, error) {
	if j.model == "" {
		return sam.Bundled()
	}
	return sam.Load(j.model)
}

// compare adds rows and returns the plan of the measurements.
func (j *job) compare(ctx context.Context, d *pictures, was, fresh *sam.Model) (eval.Plan, error) {
	o := eval.Options{Settings: prompts(), Seed: j.o.Seed}
	a, err := eval.Run(ctx, was, d, o)
	if err != nil {
		return eval.Plan{}, err
	}
	b, err := eval.Run(ctx, fresh, d, o)
	if err != nil {
		return eval.Plan{}, err
	}
	for _, s := range o.Settings {
		ra, rb := a.Select("", s.Name), b.Select("", s.Name)
		r := row{Data: d.name, Prompt: s.Name, DiceBefore: eval.Pool(ra).Pixels.Dice(eval.EmptyNaN), DiceAfter: eval.Pool(rb).Pixels.Dice(eval.EmptyNaN)}
		va, groups := ious(ra)
		vb, _ := ious(rb)
		gain := make([]float64, len(va))
		for i := range gain {
			gain[i] = vb[i] - va[i]
		}
		for _, x := range []struct {
			to     *eval.Summary
			values []float64
		}{{&r.Before, va}, {&r.After, vb}, {&r.Gain, gain}} {
			if *x.to, err = eval.Summarise(x.values, groups, eval.Bootstrap{Seed: j.o.Seed}); err != nil {
				return eval.Plan{}, err
			}
		}
		j.rows = append(j.rows, r)
	}
	return a.Plan, nil
}

// ious are the IoU of all prompts' masks. With one picture each object is
// resampled by itself, otherwise whole pictures are.
func ious(records []eval.Record) (values []float64, groups []string) {
	for _, r := range records {
		for _, p := range r.Predicted {
			values, groups = append(values, float64(p.IoU)), append(groups, r.ID)
		}
	}
	if len(slices.Compact(slices.Clone(groups))) < 2 {
		groups = nil
	}
	return values, groups
}

// gallery draws the first pictures with a point for each object.
func (j *job) gallery(ctx context.Context, d *pictures, plan eval.Plan, was, fresh *sam.Model) error {
	s := prompts()[0]
	for _, p := range d.list[:min(3, len(d.list))] {
		out := show{Title: p.ID}
		for _, m := range []struct {
			model *sam.Model
			to    *image.Image
		}{{was, &out.Before}, {fresh, &out.After}} {
			o, err := eval.NewViewer(m.model, d, plan).Show(ctx, p.ID, s, 0)
			if err != nil {
				return fmt.Errorf("gallery: %w", err)
			}
			if *m.to, err = report.DrawOverlay(o); err != nil {
				return fmt.Errorf("gallery: %w", err)
			}
		}
		j.shows = append(j.shows, out)
	}
	return nil
}
